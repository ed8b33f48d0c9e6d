"""`cotdistill distill`: how a student is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from cotdistill.config.common import DEMO, BadRows, Config, Options
from cotdistill.config.option import Most, option
from cotdistill.evaluation.answers import AnswerStyle

STRATEGY, STUDENT, TRAINING = "Strategy and rows", "Student", "Training"
MEMORY, PROGRESS = "Memory and speed", "Dev set, checkpoints, output"
MAX_RATE = 10.0  # of learning: above, no optimizer here ends anywhere but in NaN
Beta = Annotated[float, Field(ge=0, lt=1)]


class TrainingOptions(Options):
    """Everything about training that is not the strategy, the student or the seed."""

    answers: AnswerStyle = option("text", "How {answer} is written in the training text", STRATEGY)
    chat: bool = option(False, "Wrap sources in the student's chat template", STUDENT)
    lora: str | None = option(None, "r=64,alpha=32[,target=...]: train low-rank adapters", STUDENT)
    merge_lora: bool = option(True, "Merge the LoRA adapters into the weights when saving", STUDENT, needs="lora")
    quantize: Literal["8bit", "4bit"] | None = option(None, "Quantize the base model under --lora", STUDENT,
                                                      needs="lora")
    steps: int | None = option(None, "Optimizer steps", TRAINING, gt=0, le=Most)
    epochs: float | None = option(None, "Passes over the rows", TRAINING, shown="3; 10 for the embedded student", gt=0,
                                  le=Most)
    batch_size: int = option(16, "Examples per optimizer step", TRAINING, gt=0, le=Most)
    lr: float = option(2e-3, "Peak learning rate", TRAINING, gt=0, le=MAX_RATE,
                       shown="5e-5; from 1 B parameters 2e-5; LoRA 2e-4; the embedded student 2e-3")
    optimizer: Literal["adamw", "adafactor"] = option("adamw", "Optimizer", TRAINING)
    weight_decay: float = option(0.01, "Weight decay, on matrices only", TRAINING, ge=0, le=Most)
    betas: tuple[Beta, Beta] = option((0.9, 0.999), "AdamW's decay rates of its two moments", TRAINING)
    schedule: Literal["linear", "cosine", "constant", "step"] = option(
        "cosine", "Learning rate after the warm-up", TRAINING)
    step_decay: float = option(0.95, "Factor per epoch under --schedule step", TRAINING, gt=0, le=1)
    warmup: float = option(0.06, "Share of the steps over which the learning rate rises", TRAINING, ge=0, lt=1)
    clip: float = option(1.0, "Clip gradients to this norm; 0: do not clip", TRAINING, ge=0, le=Most)
    allow_divergence: bool = option(False, "Go on although the loss says that training diverges", TRAINING, key=False)
    recipe: Literal["scott", "cascod", "weighted-cot", "edit-krsl", "step-by-step", "mysteries"] | None = option(
        None, "Published hyper-parameters, where you give none", TRAINING)
    token_budget: int | None = option(None, "Maximum tokens per micro-batch", MEMORY, shown="chosen for the model",
                                      gt=0, le=Most)
    max_memory: float | None = option(None, "GiB of memory; --token-budget is halved to stay below", MEMORY, gt=0,
                                      le=Most)
    save_dtype: Literal["auto", "float32", "bfloat16", "float16"] = option(
        "auto", "Precision of the saved weights; auto: that of --dtype", MEMORY)
    checkpoint_activations: bool = option(
        False, "Gradient checkpointing: recompute activations, less memory, slower", MEMORY)
    compile: bool = option(False, "torch.compile the student", MEMORY)
    parallel: Literal["ddp", "fsdp"] = option(
        "ddp", "How several processes train one student: each holds all of it, or its share (FSDP)", MEMORY, key=False)
    max_length: int | None = option(None, "Drop longer samples", MEMORY, shown="the model's context", gt=0, le=Most)
    max_dropped: float = option(0.02, "Fail if a larger share of the samples is dropped", MEMORY, ge=0, le=1)
    max_unknown: float = option(0.02, "Fail if the student's tokenizer knows less: largest share of unknown tokens",
                                MEMORY, key=False, ge=0, le=1)
    dev_every: int | None = option(None, "Evaluate on --dev every N optimizer steps", PROGRESS, shown="an epoch",
                                   gt=0, le=Most, needs="dev")
    patience: int | None = option(None, "Early stopping: N dev evaluations without improvement", PROGRESS, gt=0,
                                  le=Most, needs="dev")
    track: tuple[Literal["trackio", "wandb", "tensorboard", "mlflow"], ...] = option(
        (), "Log the training curves to these trackers", PROGRESS)
    checkpoint_every: int | None = option(None, "Save a checkpoint every N optimizer steps", PROGRESS, key=False,
                                          gt=0, le=Most)
    keep_checkpoints: int = option(2, "Newest checkpoints kept", PROGRESS, key=False, gt=0, le=Most,
                                   needs="checkpoint_every")


class DistillConfig(TrainingOptions, BadRows, Config):
    """`cotdistill distill`: rationales in, a student out."""

    strategy: str = option("cot", "Name of a strategy (see cotdistill strategies)", STRATEGY)
    param: dict[str, str] = option({}, "NAME=VALUE: a parameter of the strategy (repeatable)", STRATEGY)
    scores: Path | None = option(None, "Word scores for post-cot-key, as made by an attribution", STRATEGY, key=False)
    allow_partial: bool = option(False, "Train on a stream that has no end line", STRATEGY, key=False)
    student: str = option(DEMO, "demo, a local path (folder, adapter, GGUF file) or hub name", STUDENT, files=True)
    revision: str | None = option(None, "Of a hub model: branch, tag or commit, short for NAME@REVISION", STUDENT,
                                  key=False)
    dev: str | None = option(None, "Question rows on which the best checkpoint is chosen", PROGRESS, key=False,
                             files=True)
    out: Path | None = option(None, "Run directory", PROGRESS, key=False, names=("--out", "-o"),
                              shown="runs/STRATEGY-KEY")
