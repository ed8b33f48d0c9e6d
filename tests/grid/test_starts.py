"""Arms that begin from another arm's student: key, order, what is kept meanwhile, resuming, verify, refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cotdistill.ablating import ablate
from cotdistill.config import AblateConfig
from cotdistill.errors import CotdistillError, UsageError
from cotdistill.grid.arms import arms
from cotdistill.verify import verify
from tests.grids import options, printed, question_files
from tests.in_process import run

CHAIN = ("demo", "arm:cot", "arm:cot [from cot]")


def grid(folder: Path, **changes: Any) -> list[dict[str, Any]]:
    small = {"strategies": ("cot",), "controls": False, "seeds": (0,), "keep_students": "none", "student": CHAIN}
    given = {**small, "data": question_files(folder, 2)[:1], "eval_max_new_tokens": 8, **changes}
    given["evaluate.max_new_tokens"] = given.pop("eval_max_new_tokens")
    return list(ablate(AblateConfig.build(None, **options(folder, **given)), None))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("starts")
    grid(made)
    return made


def cells(out: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(line) for line in (out / "cells.jsonl").read_text().splitlines()]
    return {cell["arm"]: cell for cell in found if cell["role"] == "strategy"}


def run_of(out: Path, arm: str) -> Path:
    (stored,) = cells(out)[arm]["sets"].values()
    return out / Path(stored["predictions"]).parent.parent


def test_a_chain_of_arms_each_goes_on_from_the_last(folder: Path) -> None:
    out, made = folder / "grid", cells(folder / "grid")
    first, second, third = "cot", "cot [from cot]", "cot [from cot [from cot]]"
    assert list(made) == [first, second, third]
    cards = {arm: json.loads((run_of(out, arm) / "run.json").read_text()) for arm in made}
    assert cards[first]["data"]["start"] is None
    assert cards[second]["data"]["start"] == cards[first]["key"] == made[first]["run_key"]
    assert cards[third]["data"]["start"] == cards[second]["key"]
    # The same rows in the same order: what differs is what has been learned before.
    losses = [json.loads((run_of(out, arm) / "metrics.jsonl").read_text().splitlines()[0])["loss"] for arm in made]
    assert losses[0] > losses[1] > losses[2]
    assert {cell["student"] for cell in made.values()} == {"demo"}
    assert not list(out.glob("runs/*/student"))
    assert all(cell["dropped"] for cell in made.values())
    assert verify(out)["cells"] == 5


@pytest.mark.slow
def test_a_missing_cell_begins_again_from_a_student_made_again(folder: Path) -> None:
    out, third = folder / "grid", "cot [from cot [from cot]]"
    before, run_dir = printed(out), run_of(out, third)
    (out / "cells" / f"{cells(out)[third]['key'][:16]}.json").unlink()
    shutil.rmtree(run_dir)
    grid(folder)
    assert printed(out) == before
    assert not list(out.glob("runs/*/student"))
    verify(out)
    # A run that began elsewhere is another one.
    honest = (run_dir / "run.json").read_text()
    card = json.loads(honest)
    card["data"]["start"] = cells(out)["cot"]["run_key"]
    (run_dir / "run.json").write_text(json.dumps(card))
    with pytest.raises(CotdistillError, match=r"run\.json"):
        verify(out)
    (run_dir / "run.json").write_text(honest)  # other tests read the same grid


def test_a_student_that_was_not_made_is_nothing_to_begin_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cotdistill.grid import tasks

    def broken(*given: Any, **more: Any) -> Any:
        raise CotdistillError("no room")

    monkeypatch.setattr(tasks, "distill_items", broken)
    found = {record["arm"]: record.get("error") for record in grid(tmp_path) if record["role"] == "strategy"}
    assert found["cot"] == "no room"
    assert found["cot [from cot]"] == "cot/seed-0, from whose student it begins, failed"
    assert found["cot [from cot [from cot]]"] == "cot [from cot]/seed-0, from whose student it begins, failed"


def test_every_arm_of_a_start_has_its_label_and_floors() -> None:
    config = AblateConfig.build(strategies=["cot", "edit-krsl"], student=["demo", "arm:cot"])
    found = [arm.label for arm in arms(config)]
    assert [label for label in found if "from" in label] == [
        "cot [from cot]",
        "edit-krsl [from cot]",
        "answer-only [from cot]",
        *(f"cot [{what}, from cot]" for what in ("swapped rationales", "random words", "shuffled labels")),
    ]


@pytest.mark.parametrize(
    ("student", "said"),
    [
        (["arm:cot"], "no arm of that label is made before it; there are none"),
        (["demo", "arm:cott"], 'no arm of that label is made before it (did you mean "cot"?)'),
        (["demo", "arm:cot [from cot]", "arm:cot"], "no arm of that label is made before it"),
        (["arm:cot", "demo"], "there are none"),
    ],
)
def test_what_no_arm_makes_is_refused(student: list[str], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        arms(AblateConfig.build(strategies=["cot"], student=student, controls=False))
    assert said in str(refused.value)


@pytest.mark.parametrize("more", [{"sweep": {"lr": ("0.1",)}}, {"shard": "1/2"}])
def test_what_does_not_go_with_an_order_is_refused(more: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"do not go with --{next(iter(more))}"):
        grid(tmp_path, **more)
    assert not (tmp_path / "grid").exists()


def test_distill_goes_on_from_a_run(tmp_path: Path) -> None:
    rows, first = tmp_path / "rows.jsonl", tmp_path / "first"
    assert run("elicit", "--limit", "8", "-o", str(rows)).code == 0
    command = ("distill", str(rows), "--steps", "2", "--batch-size", "4")
    assert run(*command, "--out", str(first)).code == 0
    done = run(*command, "--start", str(first), "--out", str(tmp_path / "second"))
    assert done.code == 0, done.err
    losses = [
        json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[at])["loss"]
        for name, at in (("first", 0), ("second", 0))
    ]
    assert losses[1] < losses[0]
    other = run(*command, "--start", str(first), "--student", "elsewhere", "--out", str(tmp_path / "third"))
    assert other.code in (2, 6)
    shutil.rmtree(first / "student")
    gone = run(*command, "--start", str(first), "--out", str(tmp_path / "third"))
    assert (gone.code, len(gone.errors)) == (6, 1)
    assert "the student of this run was not kept" in gone.err
