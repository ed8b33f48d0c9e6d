"""A checkable task of a user's own, and the embedded world, through the same seam."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cotdistill.plugins.files import load_plugin
from cotdistill.plugins.kinds import check, checker_of
from cotdistill.testing import check_checker, check_data_set
from tests.in_process import run

PLUGIN = Path(__file__).parents[2] / "examples" / "checker_plugin.py"
QUESTION = "What is 2 + 3 + 4?"


def test_the_example_runs_as_its_head_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    commands = [line.strip() for line in (PLUGIN.read_text().splitlines()) if line.startswith("    cotdistill ")]
    few = {"elicit": ["--limit", "8"], "distill": ["--steps", "2", "--device", "cpu"], "evaluate": ["--limit", "4"]}
    done = None
    for command in commands:
        words = command.replace("examples/checker_plugin.py", str(PLUGIN)).split()[1:]
        done = run(*words, *few[words[0]])
        assert done.code == 0, done.err
    assert done is not None
    found = [json.loads(line) for line in done.out.splitlines()]
    assert [one["set"] for one in found] == ["sums-test", "sums-long"]
    assert all(0 <= one["steps_true"] <= 1 and 0 <= one["sound"] <= 1 for one in found)
    row = json.loads((tmp_path / "rows.jsonl").read_text().splitlines()[0])
    assert row["rationales"][0]["label"] == "keep"


def test_the_example_passes_the_kit() -> None:
    load_plugin(PLUGIN)
    assert check_data_set("sums") == 100 + 50 + 50 + 50
    assert check_checker("sums", "sums") == 200


@pytest.mark.parametrize("name", ["demo", "demo:kinds", "demo:clocks", "demo:stow"])
def test_the_embedded_world_passes_the_kit(name: str) -> None:
    assert check_data_set(name, 40) >= 120
    assert check_checker("demo", name, 40) == 80


def test_each_question_has_the_checker_of_its_task() -> None:
    load_plugin(PLUGIN)
    assert checker_of("Which way is up?") is None
    right, wrong = checker_of(QUESTION), check(QUESTION, None, "2 + 3 = 5. 5 + 4 = 8.")
    assert right is not None
    assert wrong is not None
    assert (wrong.share_true, wrong.supports, wrong.sound) == (0.5, "8", False)
    assert right.argue(QUESTION, "9") == "2 + 3 = 5. 5 + 4 = 9."
    assert right.argue(QUESTION, "8") == "2 + 3 = 5. 5 + 4 = 8."
    assert check(QUESTION, None, "2 + 3 = 5. 5 + 4 = 9.").sound  # type: ignore[union-attr]
    assert not check(QUESTION, None, "5 + 4 = 9.").complete  # type: ignore[union-attr]
    kinds = checker_of("Where would you find a drill?")
    assert kinds is not None
    assert kinds.check("Where would you find a drill?", None, "A drill is a tool. A tool is found in the workshop.")


def test_the_kit_finds_a_checker_that_believes_everything(tmp_path: Path) -> None:
    (tmp_path / "credulous.py").write_text(
        "from cotdistill.plugins import Checker, RationaleCheck, Step, checker\n\n\n"
        '@checker("credulous")\nclass Credulous(Checker):\n    def check(self, question, choices, rationale):\n'
        '        if not question.startswith("What is"):\n            return None\n'
        "        return RationaleCheck((Step(rationale, True),), None, True)\n"
    )
    load_plugin(PLUGIN)
    load_plugin(tmp_path / "credulous.py")
    with pytest.raises(AssertionError, match="an empty rationale is a proof"):
        check_checker("credulous", "sums")
