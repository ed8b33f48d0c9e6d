"""A cell whose training diverges is recorded as that; the others go on, and it is not tried the same way again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cotdistill.verify import verify
from tests.grids import question_files
from tests.in_process import Done, run


def grid(folder: Path, *more: str) -> Done:
    data = [f"--data={path}" for path in question_files(folder)]
    return run(
        "ablate",
        "--strategies",
        "cot",
        "--vary",
        "lr=1e-3,10",
        "--vary",
        "clip=0",
        "--seeds",
        "0",
        "--limit",
        "8",
        "--steps",
        "16",
        "--batch-size",
        "4",
        "--no-controls",
        "--jobs",
        "1",
        "--device",
        "cpu",
        *data,
        "--out",
        str(folder / "grid"),
        *more,
    )


def test_a_diverged_cell_is_told_from_a_failed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = grid(tmp_path)
    assert done.code == 5, done.err
    lines = [json.loads(line) for line in done.out.splitlines()]
    good, lost = sorted((line for line in lines if line["role"] == "strategy"), key=lambda line: "error" in line)
    assert "error" not in good
    assert "lr 10" in lost["cell"]
    assert lost["diverged"] is True
    assert "diverge" in lost["error"] or "the loss is nan" in lost["error"]
    assert done.errors == [
        "error: 1 of 4 cells diverged; give another --lr or --clip, or continue anyway with --allow-divergence"
    ]
    page = (tmp_path / "grid" / "report.md").read_text()
    assert "/seed-0 diverged: " in page
    verify(tmp_path / "grid")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("run again")

    with monkeypatch.context() as held:
        held.setattr("cotdistill.grid.tasks.distill_items", refuse)
        again = grid(tmp_path)
    assert (again.code, again.errors) == (5, done.errors)
    assert '"diverged": true' in again.out
    gone_on = grid(tmp_path, "--allow-divergence")
    assert gone_on.code == 0, gone_on.err
    assert "diverged" not in gone_on.out
