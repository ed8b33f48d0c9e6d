"""Checkpoints of a training run: model and optimizer state as safetensors, written aside and renamed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from cotdistill.console import say


def save(folder: Path, step: int, model: Any, optimizer: Any, keep: int) -> None:
    """Write `step-N/` atomically and drop all but the last `keep`."""
    temporary = folder / f".step-{step}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_file(_own(model.state_dict()), temporary / "model.safetensors")
    save_file(_flatten(optimizer.state_dict()["state"]), temporary / "optimizer.safetensors")
    os.replace(temporary, folder / f"step-{step}")
    for old in _steps(folder)[:-keep]:
        shutil.rmtree(folder / f"step-{old}")


def restore(folder: Path, model: Any, optimizer: torch.optim.Optimizer) -> int:
    """Load the newest checkpoint into model and optimizer; the number of steps done (0: none)."""
    steps = _steps(folder)
    if not steps:
        return 0
    newest = folder / f"step-{steps[-1]}"
    model.load_state_dict(load_file(newest / "model.safetensors"), strict=False)
    groups = optimizer.state_dict()["param_groups"]
    state = _unflatten(load_file(newest / "optimizer.safetensors"))
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    say(f"resuming after step {steps[-1]}")
    return steps[-1]


def _steps(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in folder.glob("step-*"))


def _own(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tied weights share storage, which safetensors refuses: each name gets a copy of its own."""
    return {name: value.detach().clone().contiguous() for name, value in state.items()}


def _flatten(state: dict[int, dict[str, Any]]) -> dict[str, Tensor]:
    return {f"{at}.{name}": torch.as_tensor(value).clone().contiguous()
            for at, values in state.items() for name, value in values.items() if value is not None}


def _unflatten(flat: dict[str, Tensor]) -> dict[int, dict[str, Any]]:
    state: dict[int, dict[str, Any]] = {}
    for key, value in flat.items():
        at, _, name = key.partition(".")
        state.setdefault(int(at), {})[name] = value
    return state
