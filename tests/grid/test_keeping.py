"""Which students a grid keeps: none of a pretrained model by default, and nothing later needs them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cotdistill import ablating
from cotdistill.ablating import ablate
from cotdistill.config import AblateConfig
from cotdistill.grid.keeping import drop_student
from cotdistill.training.train import Loop
from cotdistill.verify import verify
from tests.grids import options, printed
from tests.models import student


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("keeping")
    student("llama").save(made / "base")
    grid(made)
    return made


def grid(folder: Path, out: str = "grid", **changes: Any) -> list[dict[str, Any]]:
    given = {"strategies": ("cot",), "controls": False, "student": str(folder / "base"), "lr": 1e-2, **changes}
    return list(ablate(AblateConfig.build(None, **options(folder, **given, out=folder / out)), None))


def students(out: Path) -> list[str]:
    return sorted(path.parent.name for path in out.glob("runs/*/student"))


def cells(out: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (out / "cells.jsonl").read_text().splitlines()]
    return [cell for cell in found if cell["role"] in ("strategy", "control")]


def test_a_pretrained_student_goes_once_it_has_answered_and_is_not_needed_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    grid(tmp_path)
    out = tmp_path / "grid"
    assert students(out) == []
    for cell in cells(out):
        assert not any("/student/" in name for name in cell["files"])
        assert any(name.endswith("student/model.safetensors") for name in cell["dropped"])
    assert verify(out)["cells"] == 4
    before = printed(out)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a finished cell was run again")

    monkeypatch.setattr("cotdistill.grid.tasks.distill_items", refuse)
    assert not any("error" in record for record in grid(tmp_path))
    assert printed(out) == before


def test_a_student_that_was_dropped_on_purpose_is_told_from_one_that_is_lost(folder: Path, tmp_path: Path) -> None:
    grid(folder, "all", keep_students="all")
    assert len(students(folder / "all")) == 2
    assert [one["accuracy"] for cell in cells(folder / "all") for one in cell["sets"].values()] == [
        one["accuracy"] for cell in cells(folder / "grid") for one in cell["sets"].values()
    ]
    shutil.rmtree(folder / "all" / "runs" / students(folder / "all")[0] / "student")
    with pytest.raises(Exception, match=r"student.*is missing"):
        verify(folder / "all")
    grid(folder, "all", keep_students="none")  # thought better of
    assert students(folder / "all") == []
    assert verify(folder / "all")["cells"] == 4


def test_best_keeps_one_seed_of_each_arm(folder: Path) -> None:
    grid(folder, "best", keep_students="best", strategies=("cot", "post-cot"))
    kept = students(folder / "best")
    assert len(kept) == 2
    for cell in cells(folder / "best"):
        run = next(iter(cell["sets"].values()))["predictions"].split("/")[1]
        assert (run in kept) == (cell["seed"] == 0) == ("dropped" not in cell)
    verify(folder / "best")


def test_questions_asked_later_train_the_dropped_student_again(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "grid", folder / "later")
    first = options(folder)["data"][0]
    more = folder / "more.jsonl"
    more.write_text("".join(Path(first).read_text().splitlines(keepends=True)[:3]))
    records = grid(folder, "later", data=(first, f"more={more}"))
    assert not any("error" in record for record in records)
    assert students(folder / "later") == []
    assert list((folder / "later" / "runs").glob(".again/*")) == []
    verify(folder / "later")


def test_a_sweep_leaves_no_students_and_trains_none_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cotdistill.grid import tasks as state

    made: list[str] = []
    real = state.distill_items

    def counted(*given: Any, **more: Any) -> Any:
        if more.get("student") is not None:
            made.append(str(more["folder"]))
        return real(*given, **more)

    monkeypatch.setattr(state, "distill_items", counted)
    grid(folder, "sweep", sweep={"lr": ("0.01", "0.02")}, dev=str(options(folder)["data"][0]))
    assert students(folder / "sweep") == []
    assert len(made) == 3  # two candidates, and the other seed
    verify(folder / "sweep")


def test_of_adapters_nothing_but_the_adapter_is_kept_and_evaluate_says_the_same(folder: Path) -> None:
    from cotdistill.config import EvaluateConfig
    from cotdistill.evaluating import evaluate

    grid(folder, "lora", lora="r=4", seeds=(0,))
    (run,) = (folder / "lora").glob("runs/*")
    assert (run / "student" / "adapter_model.safetensors").is_file()
    assert not (run / "student" / "model.safetensors").exists()
    verify(folder / "lora")
    answers = run / "predictions" / "id.jsonl"
    in_the_grid = answers.read_bytes()
    answers.unlink()
    data = str(options(folder)["data"][0])
    list(evaluate(EvaluateConfig(data=(f"id={data}",), device="cpu", calibrate=False), [str(run)]))
    assert said(answers.read_bytes()) == said(in_the_grid)


@pytest.mark.parametrize(
    ("given", "held"),
    [
        ({}, "F32"),
        ({"save_dtype": "bfloat16"}, "BF16"),
        ({"dtype": "bfloat16"}, "BF16"),
        ({"dtype": "bfloat16", "save_dtype": "float32"}, "F32"),
    ],
    ids=str,
)
def test_weights_are_saved_as_they_were_trained_and_evaluated_as_they_were_saved(
    given: dict[str, str], held: str, folder: Path, request: pytest.FixtureRequest
) -> None:
    from safetensors import safe_open

    from cotdistill.config import EvaluateConfig
    from cotdistill.evaluating import evaluate

    name = "-".join(["saved", *given, *given.values()])
    grid(folder, name, keep_students="all", seeds=(0,), **given)
    (run,) = (folder / name).glob("runs/*")
    with safe_open(run / "student" / "model.safetensors", framework="pt") as stored:
        assert {stored.get_slice(key).get_dtype() for key in stored.keys()} == {held}  # noqa: SIM118  # not a mapping
    answers = run / "predictions" / "id.jsonl"
    in_the_grid = answers.read_bytes()
    answers.unlink()
    data = str(options(folder)["data"][0])
    asked = EvaluateConfig(data=(f"id={data}",), device="cpu", calibrate=False, dtype=given.get("dtype", "float32"))
    list(evaluate(asked, [str(run)]))
    assert said(answers.read_bytes()) == said(in_the_grid)


def said(predictions: bytes) -> list[tuple[str, str]]:
    lines = [json.loads(line) for line in predictions.splitlines()]
    return [(line["rationale"], line["output"]) for line in lines if "output" in line]


class Killed(BaseException):
    """What ends a grid here as a signal would: no `except` of the code stops it."""


@pytest.mark.parametrize("after", [False, True], ids=["before the student goes", "after it has gone"])
def test_a_grid_killed_while_it_drops_a_student_ends_as_one_that_was_not(
    after: bool, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder / "base", tmp_path / "base")
    grid(tmp_path, "whole", keep_students="none", seeds=(0,))

    def kill(run: Path) -> None:
        if after:
            drop_student(run)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(ablating, "drop_student", kill)
        with pytest.raises(Killed):
            grid(tmp_path, "killed", keep_students="none", seeds=(0,))
    assert len(students(tmp_path / "killed")) == (0 if after else 1)
    grid(tmp_path, "killed", keep_students="none", seeds=(0,))
    assert students(tmp_path / "killed") == []
    assert printed(tmp_path / "killed") == printed(tmp_path / "whole")
    verify(tmp_path / "killed")


def test_a_cell_killed_after_a_checkpoint_goes_on_and_leaves_neither_student_nor_checkpoint(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder / "base", tmp_path / "base")
    given: dict[str, Any] = {"keep_students": "none", "steps": 4, "checkpoint_every": 2, "seeds": (0,)}
    grid(tmp_path, "whole", **given)

    def save_and_die(loop: Loop) -> None:
        real(loop)
        raise Killed

    real = Loop._save
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_save", save_and_die)
        with pytest.raises(Killed):
            grid(tmp_path, "killed", **given)
    (checkpoint,) = (tmp_path / "killed" / "runs").glob("*/checkpoints/step-2")
    grid(tmp_path, "killed", **given)
    assert not checkpoint.parent.exists()
    assert students(tmp_path / "killed") == []
    assert printed(tmp_path / "killed") == printed(tmp_path / "whole")
    verify(tmp_path / "killed")
