"""Checkpoints of a training run: weights, optimizer state and progress, written aside and renamed.

Random draws are functions of (seed, step), so no generator state is kept. Weights and optimizer tensors are
safetensors, the rest is JSON: nothing is unpickled. Every file is sealed by a digest of its content: one that is
damaged is told from a good one, and the run goes on from the newest checkpoint that is whole.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from cotdistill.console import say, warn
from cotdistill.data.files import json_digest, new_folder, remove
from cotdistill.data.seal import seal
from cotdistill.errors import DataError, UsageError
from cotdistill.training.sharding import gathered, like

WEIGHTS, OPTIMIZER, PROGRESS = "model.safetensors", "optimizer.safetensors", "progress.json"
BEST, STAGE = "best", "stage"
SEAL = "seal"


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


@dataclass(frozen=True)
class _Checkpoint:
    """What one whole checkpoint holds."""

    progress: Progress
    weights: dict[str, Tensor]
    optimizer: dict[int, dict[str, Any]]


def save(
    folder: Path, model: Any, optimizer: torch.optim.Optimizer, progress: Progress, keep: int, write: bool = True
) -> None:
    """Write `step-N/` atomically and drop all but the last `keep`; `OutputError` where it cannot be written.

    Every process of a run calls it, one with `write`: what is shared out is gathered.
    """
    weights = trained_weights(model, write)
    tensors, scalars = _split(optimizer.state_dict()["state"], write)
    if not write:
        return
    with new_folder(folder / f"step-{progress.step}") as aside:
        _write(aside / WEIGHTS, weights, progress.step)
        _write(aside / OPTIMIZER, tensors, progress.step)
        _write_progress(aside, {**asdict(progress), "optimizer": scalars})
    steps = _steps(folder)
    earlier = [step for step in steps if step <= progress.step]
    # Checkpoints of later steps are damaged, or this run would have gone on from them.
    for old in {*steps} - {*earlier[-keep:]}:
        remove(folder / f"step-{old}")


def restore(folder: Path, model: Any, optimizer: torch.optim.Optimizer, key: str = "") -> Progress:
    """Load the newest whole checkpoint into model and optimizer; a fresh `Progress` where there is none.

    Damaged ones are named and passed over. Raises `UsageError` where they are not those of the run `key`.
    """
    refuse_other(folder, key)
    for step in reversed(_steps(folder)):
        try:
            checkpoint = _read_checkpoint(folder, step, model)
        except Exception as error:  # whatever damage makes of its readers
            warn(f"{folder / f'step-{step}'} cannot be used ({_line(error)}); falling back to the previous checkpoint")
            continue
        _copy(checkpoint.weights, model)
        groups = optimizer.state_dict()["param_groups"]
        state = _shared_out(
            checkpoint.optimizer, [parameter for group in optimizer.param_groups for parameter in group["params"]]
        )
        optimizer.load_state_dict({"state": state, "param_groups": groups})
        say(f"resuming after step {step}")
        return checkpoint.progress
    return Progress(key=key)


def owner_beside(folder: Path, key: str) -> str | None:
    """The key of another run that checkpoints are of; None where all are this run's.

    A checkpoint that is damaged says nothing here; `restore` passes it over.
    """
    for path in sorted(folder.glob(f"*/{PROGRESS}")):
        try:
            owner = str(_read_progress(path.parent)["key"])
        except Exception:  # whatever damage makes of its readers
            continue
        if owner != key:
            return owner
    return None


def refuse_other(folder: Path, key: str) -> None:
    """Complain about checkpoints of another run: its weights must not go on under this run's key."""
    owner = owner_beside(folder, key)
    if owner is not None:
        raise UsageError(
            f"{folder.parent} holds checkpoints of another run (key {owner[:8]}, not {key[:8]}): its rows, student "
            f"or settings differ; give another --out, or remove {folder}"
        )


def clean(folder: Path) -> None:
    """Remove what a kill left of a checkpoint that was being written."""
    for aside in folder.glob(".*.tmp"):
        shutil.rmtree(aside, ignore_errors=True)


def save_best(folder: Path, model: Any, progress: Progress, write: bool = True) -> None:
    """Keep the weights of the best evaluation beside the checkpoints; every process calls it, as `save`."""
    weights = trained_weights(model, write)
    if not write:
        return
    with new_folder(folder / BEST) as aside:
        _write(aside / WEIGHTS, weights, progress.step)
        _write_progress(aside, asdict(progress))


def load_best(folder: Path, model: Any, step: int) -> None:
    """Copy the weights of the best evaluation, made after `step`, into the model."""
    try:
        _copy(_read_weights(folder / BEST / WEIGHTS, model, step), model)
    except Exception as error:  # whatever damage makes of its readers
        raise DataError.at(
            str(folder / BEST),
            None,
            f"cannot be used ({_line(error)})",
            "run the same command again; training continues from before the damage",
        ) from error


def save_stage(folder: Path, model: Any, steps: int, key: str, write: bool = True) -> None:
    """Keep the weights with which a stage of the run `key` ended; every process calls it, as `save`."""
    save_best(folder / STAGE, model, Progress(step=steps, key=key, stopped=True), write)


def load_stage(folder: Path, model: Any, key: str) -> int | None:
    """Copy the weights with which a stage ended into the model; the steps it took, None where it has not ended.

    A damaged stage is named and done again. Raises `UsageError` where it is one of another run than `key`.
    """
    if not (folder / STAGE / BEST).exists():
        return None
    refuse_other(folder / STAGE, key)
    try:
        steps = int(_read_progress(folder / STAGE / BEST)["step"])
        load_best(folder / STAGE, model, steps)
    except Exception as error:  # whatever damage makes of its readers
        warn(f"{folder / STAGE} cannot be used ({_line(error)}); its stage is done again")
        return None
    return steps


def _read_checkpoint(folder: Path, step: int, model: Any) -> _Checkpoint:
    """Everything is read and held against the model before anything is loaded into it."""
    here = folder / f"step-{step}"
    fields = _read_progress(here)
    if fields["step"] != step:
        raise ValueError(f"{PROGRESS} belongs to step {fields['step']}")
    weights = _read_weights(here / WEIGHTS, model, step)
    tensors, written = _read(here / OPTIMIZER)
    if written != step:
        raise ValueError(f"{OPTIMIZER} belongs to step {written}")
    state = _joined(tensors, fields.pop("optimizer"))
    progress = Progress(**fields)
    if progress.best_step:
        _, best = _read(folder / BEST / WEIGHTS)
        if best != progress.best_step and best <= step:  # a later best will be found again
            raise ValueError(f"{BEST}/{WEIGHTS} belongs to step {best}, not {progress.best_step}")
    return _Checkpoint(progress, weights, state)


def _read_weights(path: Path, model: Any, step: int) -> dict[str, Tensor]:
    """The weights made after `step`, one for every parameter of the model."""
    weights, written = _read(path)
    if written != step:
        raise ValueError(f"{WEIGHTS} belongs to step {written}")
    shapes = {name: parameter.shape for name, parameter in _trained(model).items()}
    if {name: weight.shape for name, weight in weights.items()} != shapes:
        raise ValueError(f"{WEIGHTS} contains the weights of another model")
    return weights


def _write_progress(folder: Path, fields: Mapping[str, Any]) -> None:
    (folder / PROGRESS).write_text(json.dumps({**fields, SEAL: json_digest(fields)}, sort_keys=True))


def _read_progress(folder: Path) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
    if fields.pop(SEAL, None) != json_digest(fields):
        raise ValueError(f"{PROGRESS} is not what was written")
    return fields


def _write(path: Path, tensors: Mapping[str, Tensor], step: int) -> None:
    # One entry: safetensors writes several in no fixed order, and the same run must give the same bytes.
    save_file(dict(tensors), path, {SEAL: json.dumps({"step": step, "sha256": _seal(tensors, step)})})


def _read(path: Path) -> tuple[dict[str, Tensor], int]:
    """Tensors and the step after which they were written; raises where they are not what was written."""
    with safe_open(path, framework="pt") as stored:
        about = json.loads(stored.metadata()[SEAL])
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  # not a mapping
    if about["sha256"] != _seal(tensors, about["step"]):
        raise ValueError(f"{path.name} is not what was written")
    return tensors, int(about["step"])


def _seal(tensors: Mapping[str, Tensor], step: int) -> str:
    return seal(
        (
            (name, str(tensor.dtype), tuple(tensor.shape), tensor.reshape(-1).view(torch.uint8).numpy())
            for name, tensor in tensors.items()
        ),
        step=step,
    )


def _copy(weights: Mapping[str, Tensor], model: Any) -> None:
    with torch.no_grad():
        for name, parameter in _trained(model).items():
            parameter.copy_(like(weights[name], parameter))


def trained_weights(model: Any, keep: bool = True) -> dict[str, Tensor]:
    """Every trained parameter and buffer once (tied weights have one name), whole, as tensors of their own."""
    return gathered(_trained(model), keep)


def _trained(model: Any) -> dict[str, Tensor]:
    """Frozen weights (the base under LoRA) never change and are left out, as are buffers beside them."""
    named = dict(model.named_parameters())
    trained = {name: parameter for name, parameter in named.items() if parameter.requires_grad}
    if len(trained) < len(named):
        return trained
    persistent = set(model.state_dict())
    return trained | {name: buffer for name, buffer in model.named_buffers() if name in persistent}


def _steps(folder: Path) -> list[int]:
    names = [re.fullmatch(r"step-(\d+)", path.name) for path in folder.glob("step-*")]
    return sorted(int(name[1]) for name in names if name)


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _split(state: dict[int, dict[str, Any]], keep: bool = True) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's state as named tensors and named plain values (Adafactor counts steps in Python)."""
    flat = {f"{at}.{name}": value for at, values in state.items() for name, value in values.items()}
    tensors = gathered({name: value for name, value in flat.items() if isinstance(value, Tensor)}, keep)
    return tensors, {name: value for name, value in flat.items() if not isinstance(value, Tensor)}


def _shared_out(state: Mapping[int, dict[str, Any]], parameters: Sequence[Tensor]) -> dict[int, dict[str, Any]]:
    """An optimizer's state, shared out as its parameters are."""
    return {
        at: {
            name: like(value, parameters[at]) if isinstance(value, Tensor) else value for name, value in values.items()
        }
        for at, values in state.items()
    }


def _joined(tensors: dict[str, Tensor], scalars: dict[str, Any]) -> dict[int, dict[str, Any]]:
    state: dict[int, dict[str, Any]] = {}
    for key, value in {**tensors, **scalars}.items():
        at, _, name = key.partition(".")
        state.setdefault(int(at), {})[name] = value
    return state
