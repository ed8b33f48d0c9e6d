"""ablate: which arms stand in the table, what a second run does, what a failure leaves."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cotdistill.console import console
from cotdistill.errors import UsageError
from cotdistill.escaping import markdown
from cotdistill.plugins.files import load_plugin
from cotdistill.plugins.kinds import STRATEGIES
from cotdistill.verify import verify
from tests import warm
from tests.grids import options, printed, run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ablate")
    run(folder)
    return folder


@pytest.fixture
def grid(finished: Path, tmp_path: Path) -> Path:
    """A folder with a finished grid of its own."""
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


def cells(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "cells.jsonl").read_text().splitlines()]


def test_teacher_untrained_student_and_controls_stand_in_every_table(grid: Path) -> None:
    arms = list(dict.fromkeys((cell["arm"], cell["role"]) for cell in cells(grid / "grid")))
    assert arms == [
        ("teacher", "teacher"),
        ("untrained student", "untrained"),
        ("cot", "strategy"),
        ("post-cot", "strategy"),
        ("answer-only", "control"),
        ("cot [swapped rationales]", "control"),
        ("cot [random words]", "control"),
        ("cot [shuffled labels]", "control"),
    ]
    page = (grid / "grid" / "report.md").read_text()
    assert all(f"| {markdown(str(arm))} |" in page for arm, _ in arms)
    assert "\n## Verdict on id, in domain\n\n- post-cot is" in page  # and not on the other set


def test_without_controls_the_report_says_so(grid: Path) -> None:
    records = run(grid, controls=False, seeds=(0,), out=grid / "bare")
    assert {record["role"] for record in records} == {"teacher", "untrained", "strategy"}
    assert "No controls were run" in (grid / "bare" / "report.md").read_text()


def test_every_number_names_its_cell(grid: Path) -> None:
    page = (grid / "grid" / "report.html").read_text()
    table = page[page.index('<section id="results">') : page.index('<section id="figures">')]
    numbers = re.findall(r"<td([^>]*)>\d[^<]*</td>", table)
    assert len(numbers) >= 8 * 3  # two sets and a cost for each of eight arms
    assert all("seed-" in attributes or "teacher" in attributes or "untrained" in attributes for attributes in numbers)
    for line in (grid / "grid" / "comparisons.jsonl").read_text().splitlines():
        found = json.loads(line)
        assert found["cells"] == [f"{found['name']}/seed-0", f"{found['name']}/seed-1"]


def test_running_again_runs_nothing_and_prints_the_same(
    grid: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = printed(grid / "grid")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a finished cell was run again")

    monkeypatch.setattr("cotdistill.grid.tasks.distill_items", refuse)
    monkeypatch.setattr("cotdistill.grid.tasks.elicit", refuse)
    records = run(grid, data=options(finished)["data"])
    assert not any("error" in record for record in records)
    assert printed(grid / "grid") == before


def test_a_changed_setting_runs_only_what_it_touches_and_explains_why(grid: Path) -> None:
    with console.capture() as said:
        run(grid, seeds=(0, 1, 2), explain=True)
    lines = said.get().splitlines()
    assert sum(": done (" in line for line in lines) == 12
    assert sum("to be run, it is new" in line for line in lines) == 6
    with console.capture() as said:
        run(grid, lr=1e-3, explain=True)
    assert "cot/seed-0: to be run, training.config.lr was 0.002, is 0.001" in said.get()


def test_new_rows_are_elicited_where_the_limit_changed(grid: Path) -> None:
    records = run(grid, limit=6, controls=False, seeds=(0,), strategies=("cot",))
    assert records[-1]["rows"] == 6
    assert run(grid)[-1]["rows"] == 8


def test_a_failed_cell_is_recorded_the_others_go_on_and_it_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(STRATEGIES, "_entries", dict(STRATEGIES._entries))  # what is loaded here stays here
    broken = tmp_path / "broken.py"
    text = """
from cotdistill.strategies.forms import Form, Strategy, learn
from cotdistill.strategies.registry import strategy

def fill(draft, context):
    {what}
    return {{"rationale": draft.rationale, "answer": draft.answer}}

@strategy("breaks")
def breaks() -> Strategy:
    return Strategy("breaks", "none", (Form("a", "{{question}} A:", (learn(" {{answer}}"),)),), plan=("a",), fill=fill)
"""
    broken.write_text(text.format(what="raise RuntimeError('no fill today')"))
    load_plugin(broken)
    given = {"strategies": ("breaks", "cot"), "plugin": (broken,), "seeds": (0,), "controls": False}
    records = run(tmp_path, **given)
    assert [record["cell"] for record in records if "error" in record] == ["breaks/seed-0"]
    assert "no fill today" in next(record["error"] for record in records if "error" in record)
    assert "breaks/seed-0 failed" in (tmp_path / "grid" / "report.md").read_text()
    broken.write_text(text.format(what="pass"))
    load_plugin(broken)
    assert not any("error" in record for record in run(tmp_path, **given))


def test_the_command_exits_5_when_a_cell_failed(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text(
        "from cotdistill.strategies.forms import Form, Strategy, learn\n"
        "from cotdistill.strategies.registry import strategy\n\n\n"
        'def fill(draft, context):\n    raise RuntimeError("no")\n\n\n'
        '@strategy("breaks")\ndef breaks() -> Strategy:\n'
        '    return Strategy("breaks", "none", (Form("a", "{question} A:", (learn(" {answer}"),)),),\n'
        '                    plan=("a",), fill=fill)\n'
    )
    data = [f"--data={path}" for path in options(tmp_path)["data"]]
    done = subprocess.run(
        [
            *warm.command(),
            "ablate",
            "--strategies",
            "breaks,answer-only",
            "--plugin",
            str(broken),
            "--seeds",
            "0",
            "--limit",
            "6",
            "--steps",
            "2",
            "--no-controls",
            "--jobs",
            "1",
            *data,
            "--out",
            str(tmp_path / "grid"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 5, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert sum("error" in line for line in lines) == 1
    assert "cells failed" in done.stderr


def test_rows_given_are_used_and_need_named_sets(tmp_path: Path, grid: Path) -> None:
    rows = str(grid / "grid" / "rows" / "greedy.jsonl")
    from cotdistill.ablating import ablate
    from cotdistill.config import AblateConfig

    given = {**options(tmp_path), "train": None, "teacher": None, "seeds": (0,), "controls": False}
    records = list(ablate(AblateConfig.build(**given), rows))
    assert {record["role"] for record in records} == {"untrained", "strategy"}  # nobody named a teacher
    with pytest.raises(UsageError, match="--data"):
        list(ablate(AblateConfig.build(**{**given, "data": ()}), rows))


def test_two_workers_give_what_one_gives(tmp_path: Path, grid: Path) -> None:
    run(tmp_path, jobs=2)
    one, two = ({cell["cell"]: cell["sets"] for cell in cells(out)} for out in (grid / "grid", tmp_path / "grid"))
    assert two == one


def test_sweep_chooses_on_dev_rows_and_prints_what_it_saw(tmp_path: Path) -> None:
    from cotdistill.ablating import ablate
    from cotdistill.config import AblateConfig

    run(tmp_path, seeds=(0,), controls=False, strategies=("answer-only",))
    rows = str(tmp_path / "grid" / "rows" / "greedy.jsonl")
    given = {
        **options(tmp_path),
        "train": None,
        "teacher": None,
        "seeds": (0,),
        "controls": False,
        "sweep": {"lr": (1e-3, 1e-2)},
        "out": tmp_path / "swept",
    }
    list(ablate(AblateConfig.build(**given), rows))
    described = json.loads((tmp_path / "swept" / "ablation.json").read_text())
    chosen = json.loads((tmp_path / "swept" / "rows" / "common.json").read_text())
    assert len(chosen["held_out"]) == 1
    assert not set(chosen["held_out"]) & set(chosen["common"])
    assert {arm: set(found) for arm, found in described["swept"].items()} == {
        "cot": {"lr 0.001", "lr 0.01"},
        "post-cot": {"lr 0.001", "lr 0.01"},
    }
    for arm, found in described["swept"].items():
        best = max(found.values())
        assert found[described["chosen"][arm]] == best
    assert "held-out rows" in (tmp_path / "swept" / "report.md").read_text()


def test_dry_run_spells_the_product_and_trains_nothing(tmp_path: Path) -> None:
    from cotdistill.ablating import ablate
    from cotdistill.config import AblateConfig

    with console.capture() as said:
        assert list(ablate(AblateConfig.build(**options(tmp_path)), None, dry_run=True)) == []
    assert "cot [swapped rationales]" in said.get()
    assert "training FLOPs in total" in said.get()
    assert not (tmp_path / "grid").exists()


@pytest.mark.parametrize(
    ("by", "whose", "budget"),
    [("integrated-gradients", "student", "examples"), ("gradient-input", "teacher", "learned-tokens")],
)
def test_key_words_wait_for_their_scores_and_everything_verifies(
    tmp_path: Path, by: str, whose: str, budget: str
) -> None:
    given = {
        "strategies": ("cot",),
        "key_tokens": (2,),
        "key_by": (by,),
        "key_from": whose,
        "budget": budget,
        "controls": False,
        "limit": 5,
        "steps": 6,
        "seeds": (0, 1),
    }
    records = run(tmp_path, **given)
    assert not any("error" in record for record in records)
    (sidecar,) = (tmp_path / "grid" / "scores").glob("*.jsonl")
    header, *lines = [json.loads(line) for line in sidecar.read_text().splitlines()]
    assert header["by"] == by
    assert header["of"] == ("teacher" if whose == "teacher" else "cot")
    assert 0 <= header["leakage"] <= 1
    assert (header["completeness_error"] is None) == (by == "gradient-input")
    assert len(lines) == 5
    assert "label words in" in (tmp_path / "grid" / "report.md").read_text()
    spent = {record["arm"]: record["learned_tokens"] for record in records if "learned_tokens" in record}
    if budget == "learned-tokens":
        assert max(spent.values()) / min(spent.values()) < 1.35  # six steps are a coarse grain
    assert {"post-cot-random-k(k=2)", f"post-cot-key(k=2, by={by})"} <= set(spent)
    pairs = {
        (one["name"], one["baseline"])
        for one in map(json.loads, (tmp_path / "grid" / "comparisons.jsonl").read_text().splitlines())
    }
    assert (f"post-cot-key(k=2, by={by})", "post-cot-random-k(k=2)") in pairs
    verify(tmp_path / "grid")
    monitored = [record["cell"] for record in run(tmp_path, **given) if "seconds" in record]
    assert monitored == []  # nothing was done again
