"""--mix: shares hold to the row, no question comes twice, and the choice depends on nothing but (seed, id)."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotdistill.data.mixture import draw, mixed, parse_mix
from cotdistill.data.records import Item
from cotdistill.errors import CotdistillError
from tests.in_process import run
from tests.models import items, student


def by(teacher: str, rows: list[Item]) -> list[Item]:
    """The same questions with rationales of another teacher, whose words name it."""
    return [
        row.model_copy(
            update={
                "rationales": tuple(
                    one.model_copy(update={"teacher": teacher, "text": f"{teacher}: {one.text}"})
                    for one in row.rationales
                )
            }
        )
        for row in rows
    ]


def write(path: Path, rows: list[Item]) -> str:
    path.write_text("".join(row.line() + "\n" for row in rows))
    return str(path)


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(0, 20),
    st.sampled_from([0.1, 0.25, 0.5, 0.7]),
    st.integers(0, 9),
)
def test_shares_hold_and_no_question_comes_twice(long: int, short: int, common: int, share: float, seed: int) -> None:
    both = [f"b{at}" for at in range(common)]
    having = {"long": [*both, *(f"l{at}" for at in range(long))], "short": [*both, *(f"s{at}" for at in range(short))]}
    taken = draw({"long": share, "short": 1 - share}, having, seed)
    counts, total = Counter(taken.values()), len(taken)
    assert all(row in having[name] for row, name in taken.items())
    assert abs(counts["long"] - share * total) <= 1
    turned = {name: rows[::-1] for name, rows in reversed(having.items())}
    assert draw({"short": 1 - share, "long": share}, turned, seed) == taken
    # No larger mixture is possible: a source has given all that it has, or all questions are taken.
    most = min(len(having["long"]) / share, len(having["short"]) / (1 - share), common + long + short)
    assert total >= most - 2


def test_files_teachers_and_tags(tmp_path: Path) -> None:
    long, short = by("long", items(8)), by("short", items(8))
    files = (write(tmp_path / "long.jsonl", long), write(tmp_path / "short.jsonl", short))
    from_files = mixed([], (f"{files[0]}:0.25", f"{files[1]}:0.75"), 0)
    assert Counter(row.rationales[0].teacher for row in from_files) == {"long": 2, "short": 6}
    assert len({row.id for row in from_files}) == 8
    together = [
        one.model_copy(update={"rationales": (*one.rationales, *other.rationales)})
        for one, other in zip(long, short, strict=True)
    ]
    by_teacher = mixed(together, ("long:0.25", "short:0.75"), 0)
    assert Counter(row.rationales[0].teacher for row in by_teacher) == {"long": 2, "short": 6}
    assert all(len({one.teacher for one in row.rationales}) == 1 for row in by_teacher)
    tagged = [row.model_copy(update={"extra": {"tag": "ab"[at % 2]}}) for at, row in enumerate(items(8))]
    by_tag = mixed(tagged, ("a:0.5", "b:0.5"), 0)
    assert Counter((row.extra or {})["tag"] for row in by_tag) == {"a": 4, "b": 4}
    own = mixed(items(8), ("rows:0.5", f"{files[0]}:0.5"), 1)
    assert Counter(row.rationales[0].teacher == "long" for row in own) == {True: 4, False: 4}


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        (("a",), "is not NAME:SHARE"),
        (("a:0",), "is not NAME:SHARE"),
        (("rows:0.5", "rows:0.5"), "named twice"),
        (("rows:0.5", "b:0.2"), "must sum to 1, not 0.7"),
        (("nobody:1",), "neither a file nor a teacher or tag"),
    ],
)
def test_wrong_mixtures_are_one_line(mix: tuple[str, ...], message: str) -> None:
    with pytest.raises(CotdistillError, match=message):
        mixed(items(4), mix, 0)
    assert parse_mix(("C:/a:b.jsonl:0.5", "rows:0.5")) == {"C:/a:b.jsonl": 0.5, "rows": 0.5}


def test_one_id_is_one_question(tmp_path: Path) -> None:
    other = [row.model_copy(update={"question": "Something else?"}) for row in items(4)]
    path = write(tmp_path / "other.jsonl", other)
    with pytest.raises(CotdistillError, match="'row-0' is another question in"):
        mixed(items(4), ("rows:0.5", f"{path}:0.5"), 0)


def test_a_changed_file_is_another_run_and_mixtures_are_arms_of_a_grid(tmp_path: Path) -> None:
    student("llama").save(tmp_path / "base")
    rows, other = write(tmp_path / "rows.jsonl", items(8)), write(tmp_path / "other.jsonl", by("other", items(8)))
    options = ("--student", str(tmp_path / "base"), "--steps", "2", "--device", "cpu", "--max-unknown", "1")
    command = ("distill", rows, "--mix", f"rows:0.5,{other}:0.5", *options, "-o", str(tmp_path / "run"))
    done = run(*command)
    assert done.code == 0, done.err
    assert json.loads(done.out)["trained_on"] == 8
    assert run(*command).code == 0
    write(tmp_path / "other.jsonl", by("another", items(8)))
    changed = run(*command)
    assert changed.code == 2
    assert "holds another run" in changed.err
    asked = tmp_path / "asked.jsonl"
    asked.write_text("".join(row.example().line().replace('"row-', '"asked-') + "\n" for row in items(4)))
    vary = ("--vary", f"mix=none;rows:0.5+{other}:0.5")
    grid = ("ablate", rows, "--strategies", "cot", "--no-controls", "--seeds", "0", "--jobs", "1", "--data", str(asked))
    done = run(*grid, *vary, *options, "--out", str(tmp_path / "grid"))
    assert done.code == 0, done.err
    arms = [json.loads(line)["arm"] for line in done.out.splitlines()]
    assert len(arms) == 3
    assert run("verify", str(tmp_path / "grid")).code == 0
