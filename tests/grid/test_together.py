"""Several processes train one cell; a cell whose worker is killed goes on from its checkpoint."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from cotdistill.ablating import ablate
from cotdistill.config import AblateConfig
from cotdistill.errors import UsageError
from cotdistill.grid.executors import ProcessExecutor, Task
from tests import in_process
from tests.grids import options, printed
from tests.models import items, student

STEPS, EVERY = 40, 5


def rank_of(state: list[int], value: int) -> tuple[int, int]:
    """What the processes of a worker add up to, and where this one stands."""
    import torch
    from torch import distributed

    found = torch.tensor([value + distributed.get_rank()])
    distributed.all_reduce(found)
    return int(found), int(os.environ["RANK"])


def second_fails(state: list[int]) -> None:
    """The second process fails while the first waits for it."""
    from torch import distributed

    if distributed.get_rank() == 1:
        raise UsageError("--x: no")
    distributed.barrier()


def alone(state: list[int]) -> str:
    return os.environ["RANK"]


@pytest.mark.slow
def test_processes_of_a_worker_meet_fail_together_and_are_replaced() -> None:
    executor = ProcessExecutor(list, 1, per_cell=2)
    executor.submit(
        [
            Task("sum", rank_of, (10,), together=True),
            Task("alone", alone),
            Task("refused", second_fails, together=True),
            Task("again", rank_of, (1,), together=True),
        ]
    )
    found = {outcome.about: outcome for outcome in executor.outcomes()}
    executor.close()
    assert found["sum"].value == (21, 0)
    assert found["alone"].value == "0"
    assert (found["refused"].error, found["refused"].refused) == ("--x: no", True)
    assert found["again"].value == (3, 0)


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A grid of one arm and two seeds with a tiny student that keeps all of its checkpoints."""
    folder = tmp_path_factory.mktemp("given")
    student("gpt2", width=16, layers=1).save(folder / "base")
    (folder / "rows.jsonl").write_text("".join(item.line() + "\n" for item in items(8)))
    (folder / "questions.jsonl").write_text("".join(item.example().line() + "\n" for item in items(4)))
    given = options(
        folder,
        strategies=("cot",),
        controls=False,
        student=(str(folder / "base"),),
        lr=1e-3,
        data=(str(folder / "questions.jsonl"),),
        steps=STEPS,
        checkpoint_every=EVERY,
        keep_checkpoints=99,
        keep_students="all",
        evaluate={"max_new_tokens": 4},
        allow_divergence=True,
    )
    return {name: value for name, value in given.items() if name not in ("train", "teacher", "limit")}


def ran(grid: dict[str, Any], **changes: Any) -> list[dict[str, Any]]:
    rows = str(Path(grid["data"][0]).with_name("rows.jsonl"))
    return list(ablate(AblateConfig.build(**{**grid, **changes}), rows))


@pytest.fixture(scope="module")
def whole(grid: dict[str, Any]) -> Path:
    ran(grid)
    out: Path = grid["out"]
    return out


def losses(out: Path) -> dict[str, list[float]]:
    return {
        path.parent.name: [json.loads(line)["loss"] for line in path.read_text().splitlines()]
        for path in out.glob("runs/*/metrics.jsonl")
    }


def agrees(out: Path, whole: Path) -> None:
    """The figures of one process, within rounding."""
    cells = [list(map(json.loads, (place / "cells.jsonl").read_text().splitlines())) for place in (out, whole)]
    accuracies = [
        {one["cell"]: {name: found["accuracy"] for name, found in one["sets"].items()} for one in place}
        for place in cells
    ]
    assert accuracies[0].items() <= accuracies[1].items()
    others = losses(whole)
    for run, curve in losses(out).items():
        assert curve == pytest.approx(others[run], abs=1e-4)


@pytest.mark.slow
def test_two_processes_per_cell_give_the_figures_of_one(grid: dict[str, Any], whole: Path, tmp_path: Path) -> None:
    records = ran(grid, gpus_per_cell=2, out=tmp_path / "grid")
    assert not any("error" in record for record in records)
    for path in (tmp_path / "grid").glob("runs/*/run.json"):
        assert json.loads(path.read_text())["trained"]["processes"] == 2
    agrees(tmp_path / "grid", whole)


def kill_workers_at(out: Path, name: str) -> None:
    """As soon as some cell has that checkpoint."""
    until = time.monotonic() + 120
    while not list(out.glob(f"runs/*/checkpoints/{name}")) and time.monotonic() < until:
        time.sleep(0.002)
    for child in multiprocessing.active_children():
        child.kill()


@pytest.mark.slow
@pytest.mark.parametrize(
    "running", [{"jobs": 2}, {"gpus_per_cell": 2, "parallel": "fsdp", "seeds": (0,)}], ids=["one", "fsdp"]
)
def test_a_cell_whose_worker_is_killed_goes_on_from_its_checkpoint(
    running: dict[str, Any], grid: dict[str, Any], whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "grid"
    killer = Thread(target=kill_workers_at, args=(out, f"step-{EVERY}"))
    killer.start()
    failed = [one["error"] for one in ran(grid, **running, out=out) if "error" in one]
    killer.join()
    assert failed
    assert all("its worker died (exit code -9)" in error for error in failed)
    left = {path: path.stat().st_ino for path in out.glob("runs/*/checkpoints/step-*")}
    unfinished = [path for path in out.glob("runs/*") if not (path / "run.json").exists()]
    assert unfinished
    again = {**running, "jobs": 1}
    assert not any("error" in one for one in ran(grid, **again, out=out))
    # What had been done was not done again: a checkpoint that is written anew is another folder.
    assert all(path.stat().st_ino == inode for path, inode in left.items())
    assert any(run in path.parents for path in left for run in unfinished)
    for run in unfinished:
        assert sorted(path.name for path in run.glob("checkpoints/step-*")) == sorted(
            f"step-{step}" for step in range(EVERY, STEPS + 1, EVERY)
        )
    if "gpus_per_cell" in running:
        agrees(out, whole)
    else:
        assert printed(out) == printed(whole)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("1.5", "--gpus-per-cell: must be below 1 or a whole number, not 1.5"),
        ("0", "--gpus-per-cell: input should be greater than 0, not 0.0"),
    ],
)
def test_a_cell_takes_whole_gpus_or_a_share_of_one(value: str, said: str) -> None:
    done = in_process.run("ablate", "--gpus-per-cell", value)
    assert (done.code, done.errors) == (2, [f"error: {said}"])
