"""What training a student takes, known from its configuration alone: bytes of memory and of disk.

Weights, gradients and optimizer are exact. Activations are an estimate: of what autograd saved in real steps of small
models (4 layers 128 wide, micro-batches of 1,400 to 1,900 positions on a CPU) it was 93 % on Llama, 104 % on GPT-2 and
84 % on T5, whose attention keeps its scores; with LoRA 86, 104 and 71 %; in bfloat16 91, 130 and 62 %. Below a width
of about 100 what every position keeps beside its widths counts: 60 % on the embedded student.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from cotdistill.config import DistillConfig
from cotdistill.students.devices import device_of
from cotdistill.students.load import outline_student
from cotdistill.students.places import teacher_model
from cotdistill.training.accelerators import check_able
from cotdistill.training.activations import kept_by_token
from cotdistill.training.lora import attach, parse_lora
from cotdistill.training.loss import CHUNK_BYTES
from cotdistill.training.memory import default_budget, layers_of

FLOAT, HALF = 4, 2  # bytes; training keeps float32 weights and computes in --dtype
QUANTISED = {"8bit": 1.0, "4bit": 0.55}  # bytes per weight, scales included
HALVED = 0.7  # of activations under autocast: what its 16-bit products read, beside float32 norms and sums
SAVED = {"float32": FLOAT, "bfloat16": HALF, "float16": HALF}


@dataclass(frozen=True)
class Footprint:
    """Bytes, but for the two counts of parameters. `saved`: the student on the disk; `checkpoints`: all that lie there
    at once."""

    parameters: int
    trainable: int
    weights: int
    gradients: int
    optimizer: int
    activations: int
    saved: int
    checkpoints: int

    @property
    def states(self) -> int:
        """What stays from step to step: FSDP shares it out over the processes."""
        return self.weights + self.gradients + self.optimizer

    @property
    def memory(self) -> int:
        """Everything that is in memory at once."""
        return self.states + self.activations

    @property
    def disk(self) -> int:
        """Everything that is written."""
        return self.saved + self.checkpoints


def trained_outline(config: DistillConfig) -> Any:
    """The model that a run trains, adapters attached, on the meta device.

    Raises `UsageError` for what the student cannot be trained with.
    """
    student = outline_student(config.student, config.trust_remote_code)
    check_able(config, student)
    if config.lora is not None:
        with torch.device("meta"):
            attach(student, parse_lora(config.lora), config.seed)
    return student.model.train()


def footprint(config: DistillConfig) -> Footprint:
    """The footprint of a run; nothing is loaded. Raises `UsageError` as `trained_outline`."""
    model = trained_outline(config)
    trained = [one for one in model.parameters() if one.requires_grad]
    trainable = sum(one.numel() for one in trained)
    added = trainable if config.lora is not None else 0
    parameters = model.num_parameters() - added
    each = QUANTISED[config.quantize] if config.quantize else FLOAT
    if config.dtype != "float32":
        each += HALF  # autocast's copy
    saved = SAVED[config.saved_dtype]
    kept = config.keep_checkpoints + 1 if config.checkpoint_every else 0  # one more is being written
    beside = FLOAT * added if config.keep_adapter else 0
    state = sum(_factored(one) if config.optimizer == "adafactor" else 2 * FLOAT * one.numel() for one in trained)
    return Footprint(
        parameters,
        trainable,
        int(each * parameters)
        + FLOAT * added
        + SAVED[config.dtype] * teacher_parameters(config.scored_by, config.trust_remote_code),
        FLOAT * trainable,
        state,
        _activations(model, config),
        saved * (added if config.lora is not None and not config.merge_lora else parameters) + beside,
        kept * (FLOAT * trainable + state),
    )


def teacher_parameters(scored_by: str | None, trust_remote_code: bool) -> int:
    """Of the model that scores what the student writes, without gradients; 0 where none does. No weight is loaded."""
    if scored_by is None:
        return 0
    return int(outline_student(teacher_model(scored_by), trust_remote_code).model.num_parameters())


def _factored(weight: Any) -> int:
    """Adafactor keeps a matrix's second moments by row and column."""
    if weight.ndim < 2:
        return FLOAT * int(weight.numel())
    rows, columns = weight.shape[-2:]
    return FLOAT * int(weight.numel() // (rows * columns)) * int(rows + columns)


def _activations(model: Any, config: DistillConfig) -> int:
    """What a micro-batch keeps for the backward pass, and its chunk of logits."""
    shape, device = model.config.get_text_config(), device_of(config.device).partition(":")[0]
    tokens = config.token_budget or default_budget(torch.device(device), model)
    kept = kept_by_token(model)
    if config.checkpoint_activations:  # each layer's input, and one layer as it is computed again
        kept = FLOAT * shape.hidden_size * layers_of(shape) + kept / layers_of(shape)
    if config.dtype != "float32":
        kept *= HALVED
    logits = min(FLOAT * int(shape.vocab_size) * tokens, CHUNK_BYTES.get(device, CHUNK_BYTES["cuda"]))
    return int(kept * tokens) + logits
