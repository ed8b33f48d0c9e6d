"""Checkpoints of a training run: weights, optimizer state and progress, written aside and renamed.

Random draws are functions of (seed, step), so no generator state is kept. Weights and optimizer tensors are
safetensors, the rest is JSON: nothing is unpickled.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from cotdistill.console import say
from cotdistill.errors import UsageError

WEIGHTS, OPTIMIZER, PROGRESS = "model.safetensors", "optimizer.safetensors", "progress.json"
BEST = "best"


@dataclass
class Progress:
    """How far a run is, and which: `key` is the run's. `best` is the highest dev accuracy so far, `waited` the
    evaluations since.
    """

    step: int = 0
    token_budget: int = 0
    best: float = -1.0
    best_step: int = 0
    waited: int = 0
    stopped: bool = False
    key: str = ""


def save(folder: Path, model: Any, optimizer: torch.optim.Optimizer, progress: Progress, keep: int) -> None:
    """Write `step-N/` atomically and drop all but the last `keep`."""
    tensors, scalars = _split(optimizer.state_dict()["state"])
    with _Aside(folder, f"step-{progress.step}") as aside:
        save_file(trained_weights(model), aside / WEIGHTS)
        save_file(tensors, aside / OPTIMIZER)
        (aside / PROGRESS).write_text(json.dumps({**asdict(progress), "optimizer": scalars}, sort_keys=True))
    for old in _steps(folder)[:-keep]:
        shutil.rmtree(folder / f"step-{old}")


def restore(folder: Path, model: Any, optimizer: torch.optim.Optimizer, key: str = "") -> Progress:
    """Load the newest checkpoint into model and optimizer; a fresh `Progress` where there is none.

    Raises `UsageError` where the checkpoints are not those of the run `key`.
    """
    refuse_other(folder, key)
    steps = _steps(folder)
    if not steps:
        return Progress(key=key)
    newest = folder / f"step-{steps[-1]}"
    progress = json.loads((newest / PROGRESS).read_text())
    load_weights(model, newest)
    state = _joined(load_file(newest / OPTIMIZER), progress.pop("optimizer"))
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    say(f"resuming after step {steps[-1]}")
    return Progress(**progress)


def refuse_other(folder: Path, key: str) -> None:
    """Complain about checkpoints of another run: its weights must not go on under this run's key.

    A checkpoint that cannot be read says nothing here; `restore` deals with it.
    """
    for path in sorted(folder.glob(f"*/{PROGRESS}")):
        try:
            held = str(json.loads(path.read_text()).get("key", ""))
        except (OSError, ValueError, AttributeError):
            continue
        if held != key:
            whose = f"key {held[:8]}" if held else "made before checkpoints named their run"
            raise UsageError(
                f"{folder.parent} holds checkpoints of another run ({whose}, not {key[:8]}): its rows, student or "
                f"settings differ; give another --out, or remove {folder}"
            )


def save_best(folder: Path, model: Any, progress: Progress) -> None:
    """Keep the weights of the best evaluation beside the checkpoints."""
    with _Aside(folder, BEST) as aside:
        save_file(trained_weights(model), aside / WEIGHTS)
        (aside / PROGRESS).write_text(json.dumps(asdict(progress), sort_keys=True))


def load_weights(model: Any, folder: Path) -> None:
    """Copy the weights of a checkpoint into the parameters of the same name."""
    weights, own = load_file(folder / WEIGHTS), _trained(model)
    if set(weights) != set(own):
        raise ValueError(f"{folder} holds the weights of another model")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(weights[name])


def trained_weights(model: Any) -> dict[str, Tensor]:
    """Every trained parameter and buffer once (tied weights have one name), as tensors of their own."""
    return {name: value.detach().cpu().clone().contiguous() for name, value in _trained(model).items()}


def _trained(model: Any) -> dict[str, Tensor]:
    """Frozen weights (the base under LoRA) never change and are left out, as are buffers beside them."""
    named = dict(model.named_parameters())
    trained = {name: parameter for name, parameter in named.items() if parameter.requires_grad}
    if len(trained) < len(named):
        return trained
    persistent = set(model.state_dict())
    return trained | {name: buffer for name, buffer in model.named_buffers() if name in persistent}


class _Aside:
    """A folder that appears under its name only when the block ends well."""

    def __init__(self, folder: Path, name: str) -> None:
        self.final, self.aside = folder / name, folder / f".{name}.tmp"

    def __enter__(self) -> Path:
        shutil.rmtree(self.aside, ignore_errors=True)
        self.aside.mkdir(parents=True)
        return self.aside

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            return
        for path in self.aside.iterdir():
            with path.open("rb") as written:
                os.fsync(written.fileno())  # a rename must not survive a power cut that its content does not
        shutil.rmtree(self.final, ignore_errors=True)
        os.replace(self.aside, self.final)


def _steps(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in folder.glob("step-*"))


def _split(state: dict[int, dict[str, Any]]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's state as named tensors and named plain values (Adafactor counts steps in Python)."""
    flat = {f"{at}.{name}": value for at, values in state.items() for name, value in values.items()}
    tensors = {
        name: value.cpu().clone().contiguous() for name, value in flat.items() if isinstance(value, Tensor)
    }
    return tensors, {name: value for name, value in flat.items() if not isinstance(value, Tensor)}


def _joined(tensors: dict[str, Tensor], scalars: dict[str, Any]) -> dict[int, dict[str, Any]]:
    state: dict[int, dict[str, Any]] = {}
    for key, value in {**tensors, **scalars}.items():
        at, _, name = key.partition(".")
        state.setdefault(int(at), {})[name] = value
    return state
