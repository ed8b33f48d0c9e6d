"""`cotdistill distill`: how a student is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from cotdistill.answers.style import AnswerStyle
from cotdistill.config.common import DEMO, BadRows, Config, Dtype, Options
from cotdistill.config.option import Most, option
from cotdistill.plugins.kinds import TRACKERS

STRATEGY, STUDENT, TRAINING = "Strategy and rows", "Student", "Training"
ON_POLICY = "On-policy"
MEMORY, PROGRESS = "Memory and speed", "Dev set, checkpoints, output"
TAUGHT = "kd vary study"  # a grid may vary --kd
MAX_RATE = 10.0  # of learning: above, no optimizer here ends anywhere but in NaN
Beta = Annotated[float, Field(ge=0, lt=1)]


class TrainingOptions(Options):
    """Everything about training that is not the strategy, the student or the seed."""

    answers: AnswerStyle = option("text", "How {answer} is written in the training text", STRATEGY)
    select: Literal["right", "wrong", "rsr", "nll", "length", "random"] | None = option(
        None,
        "Train on a choice of the rows: right or wrong answers only, or the best under the untrained student by "
        "rank-surprisal ratio, likelihood or length, or random ones",
        STRATEGY,
    )
    select_share: float = option(
        0.5,
        "Share of the rows that --select keeps",
        STRATEGY,
        gt=0,
        le=1,
        needs="select=rsr|nll|length|random vary study",
    )
    mix: tuple[str, ...] = option(
        (),
        "NAME:SHARE,...: shares of questions by where their rationales are from; NAME: a file, a teacher, a tag, or "
        "rows (the command's own)",
        STRATEGY,
    )
    chat: bool = option(False, "Wrap sources in the student's chat template", STUDENT)
    lora: str | None = option(None, "r=64,alpha=32[,target=...]: train low-rank adapters", STUDENT)
    merge_lora: bool = option(True, "Merge the LoRA adapters into the weights when saving", STUDENT, needs="lora")
    keep_adapter: bool = option(
        False, "Keep the LoRA adapters beside the merged weights, in RUN/adapter", STUDENT, needs="lora"
    )
    quantize: Literal["8bit", "4bit"] | None = option(
        None, "Quantize the base model under --lora", STUDENT, needs="lora"
    )
    steps: int | None = option(None, "Optimizer steps", TRAINING, gt=0, le=Most)
    epochs: float | None = option(
        None, "Passes over the rows", TRAINING, shown="3; 10 for the embedded student", gt=0, le=Most
    )
    batch_size: int = option(16, "Examples per optimizer step", TRAINING, gt=0, le=Most)
    lr: float = option(
        2e-3,
        "Peak learning rate",
        TRAINING,
        gt=0,
        le=MAX_RATE,
        shown="5e-5; from 1 B parameters 2e-5; LoRA 2e-4; the embedded student 2e-3",
    )
    optimizer: Literal["adamw", "adafactor"] = option("adamw", "Optimizer", TRAINING)
    weight_decay: float = option(0.01, "Weight decay, on matrices only", TRAINING, ge=0, le=Most)
    betas: tuple[Beta, Beta] = option((0.9, 0.999), "AdamW's decay rates of the two moments", TRAINING)
    schedule: Literal["linear", "cosine", "constant", "step"] = option(
        "cosine", "Learning rate after the warm-up", TRAINING
    )
    step_decay: float = option(0.95, "Factor per epoch under --schedule step", TRAINING, gt=0, le=1)
    warmup: float = option(0.06, "Share of the steps over which the learning rate rises", TRAINING, ge=0, lt=1)
    clip: float = option(1.0, "Clip gradients to this norm; 0: do not clip", TRAINING, ge=0, le=Most)
    allow_divergence: bool = option(False, "Continue training even if the loss diverges", TRAINING, key=False)
    recipe: Literal["scott", "cascod", "weighted-cot", "edit-krsl", "step-by-step", "mysteries"] | None = option(
        None, "Published hyper-parameters for every option you do not give", TRAINING
    )
    on_policy: float | None = option(
        None,
        "Share of each step's examples that the student writes itself and the teacher scores (GKD)",
        ON_POLICY,
        gt=0,
        le=1,
    )
    on_policy_divergence: str = option(
        "reverse-kl", "Between teacher and student: kl, reverse-kl or jsd:B", ON_POLICY, needs="on_policy vary study"
    )
    on_policy_weight: float = option(
        1.0,
        "Weight of an example of the student's own beside one of the rows",
        ON_POLICY,
        gt=0,
        le=Most,
        needs="on_policy vary study",
    )
    on_policy_tokens: int = option(
        160,
        "Maximum tokens that the student writes into a slot",
        ON_POLICY,
        gt=0,
        le=Most,
        needs="on_policy vary study",
    )
    on_policy_signal: Literal["teacher", "constant", "other-row", "uniform"] = option(
        "teacher",
        "The teacher's signal, or a null control in its place: a constant negative advantage, another row's signal, a "
        "uniform distribution",
        ON_POLICY,
        needs="on_policy vary study",
    )
    # No colon behind B: --help would show ":B:" as an emoji.
    kd: str | None = option(None, "kl, reverse-kl or jsd:B, to learn the distributions of elicit --logprobs", TRAINING)
    kd_weight: float = option(
        1.0, "Weight of --kd's term beside the tokens' own loss", TRAINING, gt=0, le=Most, needs=TAUGHT
    )
    kd_temperature: float = option(1.0, "Temperature of both distributions", TRAINING, gt=0, le=1000, needs=TAUGHT)
    kd_top: int | None = option(
        None,
        "Learn only the K likeliest tokens of --kd's file",
        TRAINING,
        shown="all stored",
        gt=0,
        le=1000,
        needs=TAUGHT,
    )
    kd_file: Path | None = option(
        None, "File of distributions for --kd", TRAINING, key=False, shown="ROWS.logprobs.safetensors", needs=TAUGHT
    )
    token_budget: int | None = option(
        None, "Maximum tokens per micro-batch", MEMORY, shown="chosen for the model", gt=0, le=Most
    )
    max_memory: float | None = option(
        None, "Memory limit in GiB; --token-budget is halved until training fits", MEMORY, gt=0, le=Most
    )
    save_dtype: Literal["auto", "float32", "bfloat16", "float16"] = option(
        "auto", "Precision of the saved weights; auto: that of --dtype", MEMORY
    )
    checkpoint_activations: bool = option(
        False, "Gradient checkpointing: recompute activations, less memory, slower", MEMORY
    )
    compile: bool = option(False, "torch.compile the student", MEMORY)
    parallel: Literal["ddp", "fsdp"] = option(
        "ddp",
        "How several processes train one student: each holds a full copy (ddp) or a shard (fsdp)",
        MEMORY,
        key=False,
    )
    max_length: int | None = option(
        None, "Drop samples with more tokens than this", MEMORY, shown="the model's context", gt=0, le=Most
    )
    max_dropped: float = option(0.02, "Fail if more than this share of the samples is dropped", MEMORY, ge=0, le=1)
    max_unknown: float = option(
        0.02,
        "Fail if more than this share of the tokens is unknown to the student's tokenizer",
        MEMORY,
        key=False,
        ge=0,
        le=1,
    )
    dev_every: int | None = option(
        None, "Evaluate on --dev every N optimizer steps", PROGRESS, shown="an epoch", gt=0, le=Most, needs="dev"
    )
    patience: int | None = option(
        None, "Early stopping: N dev evaluations without improvement", PROGRESS, gt=0, le=Most, needs="dev"
    )
    track: tuple[str, ...] = option(
        (), "Log training curves, and the cells and comparison of a grid, to these trackers", PROGRESS, plugins=TRACKERS
    )
    checkpoint_every: int | None = option(
        None, "Save a checkpoint every N optimizer steps", PROGRESS, key=False, gt=0, le=Most
    )
    keep_checkpoints: int = option(
        2, "Number of checkpoints to keep", PROGRESS, key=False, gt=0, le=Most, needs="checkpoint_every"
    )


class DistillConfig(TrainingOptions, BadRows, Config):
    """`cotdistill distill`: rationales in, a student out."""

    strategy: str = option("cot", "Name of a strategy (see cotdistill strategies)", STRATEGY)
    param: dict[str, str] = option({}, "NAME=VALUE: a parameter of the strategy (repeatable)", STRATEGY)
    rewrite: str | None = option(
        None,
        "Rewrite the rationales: permute:step, mask:0.5, key:3, delete:0.3:step, truncate:0.5, drop-numbers",
        STRATEGY,
        key=False,
    )
    think: str | None = option(
        None, "Write rationales inside thinking markers: own (<think>+</think>), or OPEN+CLOSE", STRATEGY, key=False
    )
    after: str | None = option(
        None,
        "Train with this strategy first, then go on from its weights (cot:0.025: at that share of --lr)",
        STRATEGY,
        key=False,
    )
    teacher: str | None = option(
        None,
        "Local path or hub name of the model that scores what the student writes",
        ON_POLICY,
        key=False,
        files=True,
        needs="on_policy",
    )
    scores: Path | None = option(None, "Word scores for post-cot-key, as made by an attribution", STRATEGY, key=False)
    allow_partial: bool = option(False, "Accept an input stream without its end line", STRATEGY, key=False)
    student: str = option(DEMO, "demo, a local path (folder, adapter, GGUF file) or hub name", STUDENT, files=True)
    start: Path | None = option(
        None, "Run directory whose student, trained from --student, is trained further", STUDENT, key=False
    )
    revision: str | None = option(
        None, "Branch, tag or commit of a hub model; the same as NAME@REVISION", STUDENT, key=False
    )
    dev: str | None = option(None, "Question rows for choosing the best checkpoint", PROGRESS, key=False, files=True)
    map: str | None = option(
        None, "Columns of foreign --dev rows: question=COL,choices=A+B+C,answer=COL", PROGRESS, key=False, needs="dev"
    )
    out: Path | None = option(
        None, "Run directory", PROGRESS, key=False, names=("--out", "-o"), shown="runs/STRATEGY-KEY"
    )

    @property
    def scored_by(self) -> str | None:
        """The teacher that scores what the student writes; None where a null control asks none."""
        asked = self.on_policy is not None and self.on_policy_signal in ("teacher", "other-row")
        return self.teacher if asked else None

    @property
    def saved_dtype(self) -> Dtype:
        """The precision in which weights are saved: by default the one they were trained in."""
        return self.dtype if self.save_dtype == "auto" else self.save_dtype

    @property
    def params(self) -> dict[str, str]:
        """The strategy's parameters, those that have options of their own included."""
        own = {"rewrite": self.rewrite, "think": self.think, "after": self.after}
        return {**self.param, **{name: value for name, value in own.items() if value is not None}}
