"""What training a student takes, known from its configuration alone: bytes of memory and of disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from cotdistill.config import DistillConfig
from cotdistill.students.accelerators import check_able
from cotdistill.students.devices import device_of
from cotdistill.students.load import outline_student
from cotdistill.students.lora import attach, parse_lora
from cotdistill.students.memory import WIDTHS_KEPT, default_budget

FLOAT, HALF = 4, 2  # bytes; training keeps float32 weights and computes in --dtype
QUANTISED = {"8bit": 1.0, "4bit": 0.55}  # bytes per weight, scales included
SAVED = {"float32": FLOAT, "bfloat16": HALF, "float16": HALF}


@dataclass(frozen=True)
class Footprint:
    """Bytes, but for the two counts of parameters. `saved`: the student on the disk; `checkpoint`: one checkpoint."""

    parameters: int
    trainable: int
    weights: int
    gradients: int
    optimizer: int
    activations: int
    saved: int
    checkpoint: int

    @property
    def memory(self) -> int:
        """Everything that is in memory at once."""
        return self.weights + self.gradients + self.optimizer + self.activations


def footprint(config: DistillConfig) -> Footprint:
    """The footprint of a run; nothing is loaded. Raises `UsageError` for what the student cannot be trained with."""
    student = outline_student(config.student, config.trust_remote_code)
    check_able(config, student)
    model = student.model
    parameters = model.num_parameters()
    tokens = config.token_budget or default_budget(torch.device(device_of(config.device).partition(":")[0]), model)
    activations = _activations(model.config.get_text_config(), tokens, config)
    if config.lora is not None:
        with torch.device("meta"):
            attach(student, parse_lora(config.lora), config.seed)
    trained = [one for one in student.model.parameters() if one.requires_grad]
    trainable = sum(one.numel() for one in trained)
    added = trainable if config.lora is not None else 0
    each = QUANTISED[config.quantize] if config.quantize else FLOAT
    if config.dtype != "float32":
        activations += HALF * parameters  # autocast's copy
    saved = SAVED[config.dtype if config.save_dtype == "auto" else config.save_dtype]
    state = sum(_factored(one) if config.optimizer == "adafactor" else 2 * FLOAT * one.numel() for one in trained)
    return Footprint(
        parameters, trainable, int(each * parameters) + FLOAT * added, FLOAT * trainable, state, activations,
        saved * (added if config.lora is not None and not config.merge_lora else parameters),
        FLOAT * trainable + state)


def _factored(weight: Any) -> int:
    """Adafactor keeps a matrix's second moments by row and column."""
    if weight.ndim < 2:
        return FLOAT * int(weight.numel())
    rows, columns = weight.shape[-2:]
    return FLOAT * int(weight.numel() // (rows * columns)) * int(rows + columns)


def _activations(shape: Any, tokens: int, config: DistillConfig) -> int:
    """What the layers keep of a micro-batch of `tokens` for the backward pass, about."""
    layers = shape.num_hidden_layers + (getattr(shape, "num_decoder_layers", None) or 0)
    width = (FLOAT if config.dtype == "float32" else HALF) * shape.hidden_size * tokens
    return int(width * (layers + WIDTHS_KEPT if config.checkpoint_activations else layers * WIDTHS_KEPT))


def changed(config: DistillConfig, **values: Any) -> Footprint:
    """The footprint if these options were given."""
    return footprint(config.model_copy(update=values))
