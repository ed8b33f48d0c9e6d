"""What a grid would take is said by --dry-run, and what does not fit or cannot be honoured is refused before a cell."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import pytest

from tests.grids import question_files
from tests.in_process import Done, run
from tests.models import student

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("room")
    student("llama").save(made / "llama")
    student("t5").save(made / "t5")
    return made


def grid(folder: Path, *options: str, name: str = "llama") -> Done:
    data = [f"--data={path}" for path in question_files(folder)]
    return run(
        "ablate",
        "--student",
        str(folder / name),
        "--strategies",
        "cot,post-cot",
        "--no-controls",
        "--limit",
        "8",
        "--batch-size",
        "4",
        "--device",
        "cpu",
        "--out",
        str(folder / "grid"),
        *data,
        *options,
    )


def test_a_dry_run_says_memory_disk_power_and_measured_time(folder: Path) -> None:
    done = grid(folder, "--dry-run", "--measure", "--vary", "lora=none,r=2", "--seeds", "0..1")
    assert done.code == 0, done.err
    whole, adapters = (line.split() for line in done.err.splitlines() if "MiB" in line and "lora" in line)
    count = student("llama").model.num_parameters()
    assert f"{count:,}" in whole
    assert whole.count(f"{count:,}") == 2  # all are trained
    assert adapters.count(f"{count:,}") == 1
    assert "would be found with 80 % power (6 questions, 2 seeds, 5 % over 3 comparisons" in done.err
    assert "of training with" in done.err
    assert "of disk" in done.err
    assert not (folder / "grid").exists()


def test_measuring_is_for_dry_runs(folder: Path) -> None:
    done = grid(folder, "--measure")
    assert (done.code, done.errors) == (2, ["error: --measure changes nothing without --dry-run"])


@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["run", "dry run"])
def test_a_grid_that_the_disk_cannot_hold_is_refused(
    dry: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 4 * student("llama").model.num_parameters()
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(0, 0, 4 * size))
    done = grid(folder, "--keep-students", "all", "--jobs", "1", *dry)
    assert done.code == 2
    (line,) = done.errors
    assert "would take 1.4 MiB of disk, and 0.8 MiB are free; use --keep-students none" in line
    assert not (folder / "grid").exists()
    if dry:
        assert grid(folder, "--jobs", "1", *dry).code == 0


@pytest.mark.parametrize(
    ("free", "remedy"),
    [(25, "--checkpoint-activations"), (10, "--token-budget 64"), (0.2, "a smaller --student, or a machine with more")],
)
def test_a_grid_that_memory_cannot_hold_is_refused(
    free: float, remedy: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cotdistill.grid import room

    monkeypatch.setattr(room, "free_memory", lambda device: int(free * (1 << 20)))
    done = grid(folder, "--jobs", "1")
    assert done.code == 2
    (line,) = done.errors
    assert line.startswith("error: cot: training takes ")
    assert line.endswith(f"are free; use {remedy}")


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("t5", ("--dtype", "float16"), "cot, post-cot: float16 gives NaN on T5"),
        ("llama", ("--chat",), "cot, post-cot: the student's tokenizer has no chat template"),
        ("llama", ("--vary", "lora=none,r=2,target=nose", "--vary", "answers=text"), "has no module 'nose'"),
    ],
)
def test_what_a_student_cannot_honour_is_said_for_all_arms_before_anything_is_loaded(
    name: str, options: tuple[str, ...], said: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr("cotdistill.students.load._model", refuse)
    options = tuple(one.replace("none,r=2,target", "none;r=2,target") for one in options)
    done = grid(folder, *options, name=name)
    assert done.code == 2, done.err
    (line,) = done.errors
    assert said in line
    assert not (folder / "grid").exists()
