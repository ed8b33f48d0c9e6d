"""Chooses where a grid's tasks run: in this process, in worker processes, or on a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from cotdistill.config import DEMO, AblateConfig
from cotdistill.errors import UsageError
from cotdistill.grid.arms import base_students
from cotdistill.grid.executors import Executor, InProcessExecutor, MakeState, ProcessExecutor, together
from cotdistill.students.devices import device_of

SMALL = 64 << 20  # bytes of weights: students this small leave room for one worker per core


def executor_for(config: AblateConfig, make: MakeState, cells: int) -> Executor:
    """The executor that `--ray`, `--jobs` and `--gpus-per-cell` ask for."""
    if config.ray is not None:
        from cotdistill.grid.ray_executor import RayExecutor

        return RayExecutor(make, config.ray, config.gpus_per_cell, config.jobs)
    gpus, processes = _gpus(config.device), together(config.gpus_per_cell)
    count = workers_of(config, cells)
    if count <= 1 and processes == 1:
        return InProcessExecutor(make)
    return ProcessExecutor(make, count, gpus, config.gpus_per_cell)


def workers_of(config: AblateConfig, cells: int) -> int:
    """How many cells are trained at once on this machine."""
    gpus, processes = _gpus(config.device), together(config.gpus_per_cell)
    if processes > 1 and ":" in config.device:
        raise UsageError(f"--gpus-per-cell {processes}: --device {config.device} is one device; use cuda, cpu or auto")
    if 0 < gpus < processes:
        raise UsageError(f"--gpus-per-cell {processes}: this machine has {gpus}")
    side_by_side = (
        _is_small(config.student) and device_of(config.device) != "mps"
    )  # mps is a single GPU, and one worker keeps it busy
    at_once = int(gpus / config.gpus_per_cell) if gpus else _cores() // processes if side_by_side else 1
    return min(cells, config.jobs or max(1, at_once))


def _gpus(device: str) -> int:
    if device not in ("auto", "cuda"):
        return 0
    import torch

    return torch.cuda.device_count()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _is_small(students: Sequence[str]) -> bool:
    """Whether every student is the embedded one or a local model of few weights."""
    return all(
        name == DEMO or 0 < sum(file.stat().st_size for file in Path(name).glob("*.safetensors")) <= SMALL
        for name in base_students(students)
    )
