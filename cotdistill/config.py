"""One frozen configuration per command: what the options mean, checked once, recorded in every result.

`--config FILE` reads the same fields from YAML (or from a run.json); options given on the command line win.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from cotdistill.errors import UsageError, did_you_mean
from cotdistill.evaluation.answers import AnswerStyle

Dtype = Literal["float32", "bfloat16", "float16"]
DEMO = "demo"


class Config(BaseModel):
    """Options every command has. Unknown keys are refused, never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    data_seed: int = 0
    limit: int | None = Field(default=None, gt=0)
    plugin: tuple[Path, ...] = ()
    device: str = "auto"
    dtype: Dtype = "float32"
    trust_remote_code: bool = False

    @classmethod
    def build(cls, file: Path | None = None, **given: Any) -> Self:
        """The configuration from `--config FILE` and the options that were given (None: not given)."""
        values = {**(_read_yaml(file, cls) if file else {}), **{k: v for k, v in given.items() if v is not None}}
        try:
            return cls(**values)
        except ValidationError as error:
            raise UsageError(_explain(error, cls)) from None


class ElicitConfig(Config):
    """`cotdistill elicit`: question rows in, teacher rationales out."""

    teacher: str = DEMO
    data: str = DEMO
    split: str | None = None
    hint: Literal["none", "gold"] | None = None
    decode: Literal["greedy", "sample", "contrastive", "rerank"] = "greedy"
    contrast: Literal["wrong", "empty"] = "wrong"
    lambda_: float = Field(default=0.5, ge=0)
    plausibility: float | None = Field(default=None, gt=0, le=1)
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    counterfactual: bool = False
    wrong: Literal["random", "hardest", "all"] = "random"
    for_: str | None = None
    samples: int = Field(default=1, gt=0)
    shots: int | None = Field(default=None, ge=0)
    prompt: Path | None = None
    max_new_tokens: int = Field(default=128, gt=0)
    batch_size: int = Field(default=16, gt=0)
    chat: Literal["auto", "on", "off"] = "auto"
    reasoning: Literal["drop", "rationale"] = "drop"
    base_url: str | None = None
    endpoint: Literal["chat", "completion"] = "chat"
    concurrency: int = Field(default=8, gt=0)
    retries: int = Field(default=6, ge=0)
    timeout: float = Field(default=120.0, gt=0)
    price_in: float | None = Field(default=None, ge=0)
    price_out: float | None = Field(default=None, ge=0)
    map: str | None = None
    keep: Literal["right", "all"] = "right"
    mix: bool = False
    retry_failed: bool = False
    shard: str | None = None
    out: Path | None = None

    @property
    def hinted(self) -> bool:
        """Whether the teacher is told the answer it explains; contrasting two answers implies the gold hint."""
        return self.hint == "gold" or (self.hint is None and self.contrasts)

    @property
    def contrasts(self) -> bool:
        """Whether a second prompt, with another answer, takes part."""
        return self.decode in ("contrastive", "rerank")


class DistillConfig(Config):
    """`cotdistill distill`: rationales in, a student out."""

    strategy: str = "cot"
    param: dict[str, str] = Field(default_factory=dict)
    scores: Path | None = None  # importance of each word of the rationales, where the strategy keeps key words
    student: str = DEMO
    answers: AnswerStyle = "text"
    steps: int | None = Field(default=None, gt=0)
    epochs: float | None = Field(default=None, gt=0)
    batch_size: int = Field(default=16, gt=0)
    lr: float = Field(default=2e-3, gt=0)
    optimizer: Literal["adamw", "adafactor"] = "adamw"
    weight_decay: float = Field(default=0.01, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: Literal["linear", "cosine", "constant"] = "cosine"
    warmup: float = Field(default=0.06, ge=0, lt=1)
    clip: float = Field(default=1.0, gt=0)
    recipe: Literal["scott", "cascod", "mysteries", "step-by-step"] | None = None
    token_budget: int | None = Field(default=None, gt=0)  # positions of a micro-batch; None: what suits the device
    max_memory: float | None = Field(default=None, gt=0)  # GiB
    checkpoint_activations: bool = False
    compile: bool = False
    lora: str | None = None
    merge_lora: bool = True
    quantize: Literal["8bit", "4bit"] | None = None
    chat: bool = False
    max_length: int | None = Field(default=None, gt=0)
    max_dropped: float = Field(default=0.02, ge=0, le=1)
    dev: str | None = None
    dev_every: int | None = Field(default=None, gt=0)  # optimizer steps; None: an epoch
    patience: int | None = Field(default=None, gt=0)  # evaluations without a better one
    track: tuple[Literal["trackio", "wandb", "tensorboard", "mlflow"], ...] = ()
    checkpoint_every: int | None = Field(default=None, gt=0)
    keep_checkpoints: int = Field(default=2, gt=0)
    allow_partial: bool = False
    out: Path | None = None


class EvaluateConfig(Config):
    """`cotdistill evaluate`: runs, models or predictions in, figures out."""

    data: tuple[str, ...] = ()  # FILE or NAME=FILE
    split: str | None = None
    in_domain: tuple[str, ...] = ()  # names of sets; none named: the first
    train: str | None = None  # training rows, for the overlap; None: where the run card says they are
    strategy: str | None = None  # how a plain model is walked; runs know theirs
    param: dict[str, str] = Field(default_factory=dict)
    answers: AnswerStyle = "text"
    score: Literal["walk", "choices"] = "walk"
    connectors: Literal["forced", "free"] = "forced"
    extractor: Literal["answers", "math-verify"] = "answers"
    samples: int | None = Field(default=None, gt=1)
    temperature: float = Field(default=0.7, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    calibrate: bool = True
    probe: tuple[str, ...] = ()
    rationales: str | None = None  # elicited rows of the questions: for oracle and counterfactual
    ratios: tuple[Annotated[float, Field(ge=0, le=1)], ...] = (0.5,)  # of corrupted tokens
    simulator: tuple[Literal["tfidf", "transformer"], ...] = ("tfidf",)
    simulator_model: str | None = None  # what the transformer starts from; None: what the student started from
    batch_size: int = Field(default=32, gt=0)
    max_new_tokens: int = Field(default=160, gt=0)
    flip_rate: int | None = Field(default=None, gt=0)  # another batch size to compare with
    from_predictions: bool = False
    html: Path | None = None
    export: tuple[Literal["lm-eval"], Path] | None = None
    model_card: bool = False
    out: Path | None = None  # where predictions of a plain model go


class AblateConfig(Config):
    """`cotdistill ablate`: a grid of strategies, parameters, rows, students and seeds, compared."""

    study: str | None = None
    strategies: tuple[str, ...] = ()
    param: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    placement: tuple[Literal["before", "after"], ...] = ()
    permute_tokens: bool = False
    permute_level: tuple[Literal["word", "token", "sentence"], ...] = ("word",)
    mask_tokens: tuple[float, ...] = ()
    key_tokens: tuple[int, ...] = ()
    key_by: tuple[Literal["tfidf", "integrated-gradients", "gradient-input", "random"], ...] = ("tfidf",)
    key_from: Literal["student", "teacher"] = "student"  # whose gradients
    exclude_label: bool = False
    tags: tuple[Literal["none", "input", "both"], ...] = ()
    controls: bool = True
    baseline: str | None = None
    teacher: str | None = None
    train: str | None = None  # question rows to elicit on; None: the embedded world, unless rows are given
    teacher_decoding: tuple[Literal["greedy", "contrastive"], ...] = ()
    match_lengths: bool = False
    train_size: tuple[float, ...] = (1.0,)
    student: tuple[str, ...] = (DEMO,)
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)
    data: tuple[str, ...] = ()
    dev: str | None = None  # question rows on which the sweep chooses; None: the world's dev split, or held-out rows
    probe: tuple[str, ...] = ()
    budget: Literal["examples", "steps", "learned-tokens", "flops"] = "examples"
    sweep: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    steps: int | None = Field(default=None, gt=0)
    epochs: float | None = Field(default=None, gt=0)
    batch_size: int = Field(default=16, gt=0)
    lr: float = Field(default=2e-3, gt=0)
    jobs: int | None = Field(default=None, gt=0)  # None: one a GPU, or one a core for small students
    ray: str | None = None
    gpus_per_cell: float = Field(default=1.0, gt=0)
    explain: bool = False
    out: Path | None = None

    @field_validator("student", mode="before")
    @classmethod
    def _one_student(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("train_size")
    @classmethod
    def _shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or not all(0 < share <= 1 for share in value):
            raise ValueError("shares of the rows lie above 0 and at most at 1")
        return value

    @field_validator("sweep")
    @classmethod
    def _rates(cls, value: dict[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
        if set(value) - {"lr"} or any(not rates or min(rates) <= 0 for rates in value.values()):
            raise ValueError("a sweep is lr=V1,V2,... with rates above 0")
        return value


def parse_params(pairs: list[str] | None) -> dict[str, str] | None:
    """`["alpha=0.3", ...]` of repeated `--param NAME=VALUE` as a mapping."""
    if not pairs:
        return None
    for pair in pairs:
        if "=" not in pair or pair.startswith("="):
            raise UsageError(f"--param takes NAME=VALUE, not {pair!r}")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def split_list(text: str | None) -> list[str] | None:
    """`"a,b,c"` as a list; seeds may be a range, `"0..4"`."""
    if text is None:
        return None
    first, dots, last = text.partition("..")
    if dots and first.strip().isdigit() and last.strip().isdigit():
        return [str(n) for n in range(int(first), int(last) + 1)]
    return [piece.strip() for piece in text.split(",") if piece.strip()]


def _read_yaml(file: Path, cls: type[Config]) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--config {file}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {file}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UsageError(f"--config {file}: holds no mapping of option names to values")
    if isinstance(values.get("config"), dict):  # a run.json works as one
        values = values["config"]
    for key in values:
        if key not in cls.model_fields:
            raise UsageError(f"--config {file}: unknown key {key!r}{did_you_mean(str(key), cls.model_fields)}")
    return dict(values)


def _explain(error: ValidationError, cls: type[Config]) -> str:
    first = error.errors()[0]
    where = str(first["loc"][0]) if first["loc"] else "configuration"
    option = "--" + where.rstrip("_").replace("_", "-")
    if first["type"] == "extra_forbidden":
        return f"unknown option {option}{did_you_mean(where, cls.model_fields)}"
    return f"{option}: {first['msg'][0].lower() + first['msg'][1:]}, not {first['input']!r}"
