"""What accelerate is told of a run: precision, device, trackers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.tracking import GeneralTracker
from accelerate.utils import InitProcessGroupKwargs

from cotdistill.config import DistillConfig
from cotdistill.errors import UsageError, missing_extra
from cotdistill.plugins.guard import plugin_code
from cotdistill.plugins.kinds import TRACKERS
from cotdistill.students.devices import device_of
from cotdistill.students.load import quantization
from cotdistill.students.places import locate
from cotdistill.students.student import Student
from cotdistill.students.tokens import SegmentTokenizer
from cotdistill.training.run_trackers import start_trackers

PATIENCE = timedelta(days=1)  # the other processes wait while the first answers dev rows
HEADS = ("summary", "classifier")  # dropout of heads that no language model has


def check_able(config: DistillConfig, student: Student) -> None:
    """Complain about what a student or this machine cannot honour; its weights are not needed to know that."""
    if config.dtype == "float16" and student.model.config.model_type in ("t5", "mt5", "umt5"):
        raise UsageError("float16 gives NaN on T5 (its activations overflow); use --dtype bfloat16")
    if config.dtype == "float16" and device_of(config.device) == "cpu":
        raise UsageError("--dtype float16: trains on a GPU only; on a CPU use --dtype bfloat16")
    if config.checkpoint_activations and not student.model.supports_gradient_checkpointing:
        raise UsageError(
            f"--checkpoint-activations: {student.model.config.model_type} models cannot recompute theirs; use a "
            "smaller --token-budget"
        )
    if config.chat:
        SegmentTokenizer(student.tokenizer, student.encoder_decoder, chat=True)  # complains about its template
    if config.max_length and student.rope_switch and config.max_length > student.rope_switch:
        student.encoder(max_length=config.max_length)  # says so
    if config.quantize is not None:
        quantization(locate(config.student), config.student, config.quantize)
    check_trackers(config.track)


def check_trackers(names: Sequence[str]) -> None:
    """Complain about a tracker that nobody brings, or that is not installed: accelerate would go on without it."""
    for tracker in names:
        if tracker not in TRACKERS.reserved:
            TRACKERS.get(tracker, "--track")
        elif find_spec(tracker) is None:
            raise missing_extra(tracker, f"--track {tracker}")


def accelerator_for(student: Student, config: DistillConfig, folder: Path) -> Accelerator:
    """The accelerator of a run. `UsageError` for a precision or a way of sharing that it cannot be trained in."""
    check_able(config, student)
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true":
        raise UsageError(
            "accelerate launch requests its own FSDP, whose runs cannot be resumed; use "
            "--parallel fsdp and omit --use_fsdp"
        )
    precision = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}[config.dtype]
    launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if launched not in ("no", precision):
        wanted = {"bf16": "give --dtype bfloat16 and ", "fp16": "give --dtype float16 and "}.get(launched, "")
        raise UsageError(
            f"accelerate launch requests mixed precision {launched}, the run for --dtype {config.dtype}, "
            f"which is part of its key; {wanted}omit --mixed_precision"
        )
    AcceleratorState._reset_state()  # a process may train several students, each in its own precision
    try:
        accelerator = Accelerator(
            cpu=device_of(config.device) == "cpu",
            mixed_precision=precision,
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
            log_with=[tracker_of(name, folder) for name in config.track] or None,
            project_dir=folder / "track" if config.track else None,
        )
    except ValueError as error:
        raise UsageError(f"--dtype {config.dtype}: {error}") from error
    start_trackers(accelerator, config.track, config.model_dump(mode="json"))
    return accelerator


def tracker_of(name: str, folder: Path) -> str | GeneralTracker:
    """What accelerate logs with: one of its own trackers by name, or what a plug-in makes for a run's folder."""
    if name in TRACKERS.reserved:
        return name
    entry = TRACKERS.get(name, "--track")
    make, where = entry.value, f"tracker {name!r} of {entry.origin}"
    assert make is not None
    with plugin_code(where):
        made = make(folder)
    if not isinstance(made, GeneralTracker):
        raise UsageError(f"{where}: returned a {type(made).__name__}, not an accelerate.tracking.GeneralTracker")
    return made


def has_dropout(model: Any) -> bool:
    """Whether training drops anything: by a module, or by a rate in the configuration that attention is given."""
    rates = [
        rate
        for name, rate in model.config.to_dict().items()
        if "drop" in name and not name.startswith(HEADS) and isinstance(rate, (int, float))
    ]
    return any(rates) or any(module.p > 0 for module in model.modules() if isinstance(module, torch.nn.Dropout))
