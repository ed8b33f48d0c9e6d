"""The Python door: the commands as functions, whose results are those of the command line."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

import cotdistill as cd
from cotdistill.api import Ablation, Predictions, Result, Rows, Run
from cotdistill.errors import DataError, UsageError
from tests.in_process import run as call
from tests.models import items, student

ROWS = items(8)
EXAMPLE = Path(__file__).parents[1] / "examples" / "python_door.py"


def asked() -> list[dict[str, Any]]:
    return [{"id": row.id, "question": row.question, "choices": list(row.choices or ())} for row in ROWS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("door")
    student("gpt2", width=64).save(made / "base")
    (made / "rows.jsonl").write_text("".join(row.line() + "\n" for row in ROWS))
    (made / "gold.jsonl").write_text("".join(row.example().line() + "\n" for row in ROWS))
    (made / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked()))
    return made


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    rows = [json.loads(row.line()) for row in ROWS]
    return cd.distill(
        rows, strategy="cot", student=str(folder / "base"), steps=120, batch_size=8, lr=3e-3, device="cpu",
        out=folder / "cot",
    )  # fmt: skip


def test_importing_the_package_loads_no_torch() -> None:
    code = (
        "import cotdistill as cd, sys; dir(cd); cd.evaluate; print(sorted({'torch', 'transformers'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "[]\n"


def test_no_module_has_the_name_of_a_function() -> None:
    modules = {module.name for module in pkgutil.iter_modules(cd.__path__)}
    for name in cd.__all__[1:]:
        assert isinstance(getattr(cd, name), FunctionType), name
        assert name in dir(cd)
        assert name not in modules
    with pytest.raises(AttributeError, match="has no attribute 'distil'"):
        cd.distil  # noqa: B018


def test_a_run_trained_from_objects_is_the_run_of_the_command_line(folder: Path, run: Run) -> None:
    done = call(
        *("distill", str(folder / "rows.jsonl"), "--strategy", "cot", "--student", str(folder / "base"), "--steps"),
        *("120", "--batch-size", "8", "--lr", "3e-3", "--device", "cpu", "--quiet", "-o", str(folder / "other")),
    )
    assert done.code == 0, done.err
    summary = json.loads(done.out)
    assert {**summary, "run": run.figures["run"]} == run.figures
    weights = "student/model.safetensors"
    assert (folder / "other" / weights).read_bytes() == (folder / "cot" / weights).read_bytes()
    assert [row["loss"] for row in run if "loss" in row]


def test_answers_and_figures_are_those_of_the_commands(folder: Path, run: Run) -> None:
    said = call("predict", str(run.path), "--data", str(folder / "asked.jsonl"), "--device", "cpu", "--quiet")
    found = run.predict(asked(), device="cpu")
    assert isinstance(found, Predictions)
    assert list(found) == [json.loads(line) for line in said.out.splitlines()]
    assert found.figures == {"n": 8, "answered": 8, "finished": 8}
    table = found.to_pandas()
    assert list(table["id"]) == [row.id for row in ROWS]
    assert cd.predict(run, table.assign(question=[row.question for row in ROWS])[["id", "question"]], prompts=True)
    evaluation = run.evaluate(data=folder / "gold.jsonl", device="cpu")
    printed = call("evaluate", str(run.path), "--data", str(folder / "gold.jsonl"), "--device", "cpu", "--quiet")
    assert evaluation.figures == [json.loads(printed.out)]
    assert list(evaluation.to_pandas()["accuracy"]) == [1.0]


def test_what_a_command_left_is_loaded_by_its_path(folder: Path, run: Run) -> None:
    again = cd.load(folder / "cot")
    assert isinstance(again, Run)
    assert (again.rows, again.path, again.figures["key"]) == (run.rows, run.path, run.figures["key"])
    rows = cd.load(folder / "rows.jsonl")
    assert isinstance(rows, Rows)
    assert rows.figures == {"rows": 8, "rationales": 16, "labels": {"keep": 16}}
    grid = folder / "grid"
    grid.mkdir()
    (grid / "cells.jsonl").write_text('{"cell": "cot/seed-0", "accuracy": 0.5}\n')
    (grid / "comparisons.jsonl").write_text('{"name": "cot"}\n')
    found = cd.load(grid)
    assert isinstance(found, Ablation)
    assert (len(found), found.figures) == (1, [{"name": "cot"}])
    assert type(cd.load(folder / "gold.jsonl")) is Result
    with pytest.raises(DataError, match="holds neither a run nor an ablation"):
        cd.load(folder)


def test_one_call_may_be_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{**json.loads(row.example().line()), "rationale": f"It is {row.answer}."} for row in ROWS]
    said = []
    for quiet in (True, False):
        assert len(cd.elicit(rows, teacher="rows", quiet=quiet)) == 8
        said.append(capsys.readouterr().err)
    assert said[0] == ""
    assert "Yield" in said[1]


def test_a_wrong_option_is_said_as_on_the_command_line(run: Run) -> None:
    with pytest.raises(UsageError, match=r"unknown option 'step' \(did you mean"):
        cd.distill([], step=3)
    with pytest.raises(UsageError, match="rows are a file, a result, a DataFrame or a list of objects, not int"):
        run.predict(3)


def test_the_example_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), str(tmp_path), "2"], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("{'rows': 128")
    assert done.stdout.count(" -> ") == 3
