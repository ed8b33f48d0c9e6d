"""`cotdistill ablate`: what is compared, and how the grid is run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from cotdistill.config.asking import AskingOptions
from cotdistill.config.common import DEMO, BadRows, Config, ForeignRows
from cotdistill.config.option import Most, Proportion, option, section
from cotdistill.config.training import TrainingOptions
from cotdistill.config.walking import WalkingOptions

COMPARED, REWRITES, ROWS = "What is compared", "Rewritten rationales", "Rows and questions"
FAIRNESS, RUNNING = "Fairness", "Running"
Fraction = Annotated[float, Field(gt=0, le=1)]
Words = Annotated[int, Field(gt=0, le=Most)]
Count = Annotated[int, Field(ge=0, le=Most)]


class AblateConfig(TrainingOptions, ForeignRows, BadRows, Config):
    """`cotdistill ablate`: a grid of strategies, parameters, rows, students and seeds, compared.

    It takes the whole of the other three commands: every training option as its own (YAML: also under `distill:`), how
    cells are evaluated under `evaluate:`, and how rows are elicited under `elicit:`.
    """

    own_sections: ClassVar[tuple[str, ...]] = ("distill",)

    study: (
        Literal[
            "scott", "mysteries", "cascod", "rewrites", "distributions", "on-policy", "budget", "schedules", "selection"
        ]
        | None
    ) = option(None, "Preset grid with a paper's claims", COMPARED)
    strategies: tuple[str, ...] = option((), "Comma-separated names (see cotdistill strategies)", COMPARED)
    param: dict[str, tuple[str, ...]] = option(
        {}, "NAME=V1,V2 for all strategies with that parameter, or STRATEGY.NAME=V1,V2 (repeatable)", COMPARED
    )
    vary: dict[str, tuple[str, ...]] = option(
        {}, "NAME=V1,V2: one arm per value of a training option (repeatable; V1;V2 if values contain commas)", COMPARED
    )
    student: tuple[str, ...] = option(
        (DEMO,),
        "Comma-separated: demo, local paths or hub names; arm:LABEL to begin from the student of another arm",
        COMPARED,
        files=True,
    )
    seeds: tuple[Count, ...] = option((0, 1, 2), "Seeds of every arm, e.g. 0,1,2 or 0..4", COMPARED, min_length=1)
    controls: bool = option(True, "Add answer-only, swapped rationales, random words and shuffled labels", COMPARED)
    baseline: str | None = option(None, "Label of the arm that the others are compared with", COMPARED)
    placement: tuple[Literal["before", "after"], ...] = option((), "Rationale before or after the label", REWRITES)
    rewrite: tuple[str, ...] = option(
        (),
        "Add every strategy with rewritten rationales, e.g. permute:step, truncate:0.5, delete:0.3:step, and the "
        "size-matched controls of these",
        REWRITES,
    )
    permute_tokens: bool = option(False, "Add post-cot with a shuffled rationale", REWRITES)
    permute_level: tuple[Literal["word", "token", "sentence", "step"], ...] = option(
        ("word",), "What is shuffled", REWRITES, needs="permute_tokens study"
    )
    mask_tokens: tuple[Proportion, ...] = option((), "Shares of words to mask, e.g. 0.25,0.5", REWRITES)
    key_tokens: tuple[Words, ...] = option((), "Numbers of key words to keep, e.g. 1,3,5", REWRITES)
    key_by: tuple[Literal["tfidf", "integrated-gradients", "gradient-input", "random"], ...] = option(
        ("tfidf",), "Method that scores key words", REWRITES, needs="key_tokens study"
    )
    key_from: Literal["student", "teacher"] = option(
        "student",
        "Model whose gradients score them: a rationale-first student or the teacher",
        REWRITES,
        needs="key_tokens study",
    )
    exclude_label: bool = option(
        False, "Never keep words of the label as key words", REWRITES, needs="key_tokens study"
    )
    tags: tuple[Literal["none", "input", "both"], ...] = option((), "Where SCOTT's tags are placed", REWRITES)
    teacher: str | None = option(
        None, "As in elicit; it is evaluated on the question sets too", ROWS, shown="demo", files=True
    )
    train: str | None = option(None, "Question rows to elicit on", ROWS, shown="demo", files=True)
    teacher_decoding: tuple[Literal["greedy", "contrastive"], ...] = option(
        (), "Decoding of the teacher's rationales", ROWS, shown="greedy"
    )
    match_lengths: bool = option(
        False,
        "Keep only rows whose rationales have similar lengths under every decoding",
        ROWS,
        needs="teacher_decoding",
    )
    rows_: Literal["common", "own"] = option(
        "common", "common: all arms train on the rows usable by every arm; own: each arm on all rows it can use", ROWS
    )
    train_size: tuple[Fraction, ...] = option((1.0,), "Shares of the training rows, e.g. 0.1,0.5,1", ROWS, min_length=1)
    data: tuple[str, ...] = option(
        (), "Question rows to evaluate on (repeatable; in-domain first)", ROWS, key=False, repeated=True, files=True
    )
    split: str | None = option(None, "Split of the --data sets", ROWS, shown="test or validation")
    dev: str | None = option(
        None,
        "Question rows for choosing --sweep values and each cell's checkpoint",
        ROWS,
        shown="held-out rows, for --sweep alone",
        files=True,
    )
    budget: Literal["examples", "steps", "learned-tokens", "flops"] = option(
        "examples", "What is held equal across arms", FAIRNESS
    )
    sweep: dict[str, tuple[float, ...]] = option(
        {}, "NAME=V1,V2 of a numeric training option: the best is chosen per arm on dev rows (repeatable)", FAIRNESS
    )
    evaluate: WalkingOptions = section(WalkingOptions.model_construct(calibrate=False), "Evaluation", "eval-")
    elicit: AskingOptions = section(AskingOptions.model_construct(hint="gold"), "Teacher", "teacher-")
    measure: bool = option(
        False, "With --dry-run: estimate the time from two training steps per training setting", RUNNING, key=False
    )
    keep_students: Literal["all", "best", "none"] | None = option(
        None,
        "Students kept on disk after evaluation; best: one seed per arm",
        RUNNING,
        key=False,
        shown="the embedded ones, and LoRA's adapters",
    )
    jobs: int | None = option(None, "Worker processes", RUNNING, shown="one per GPU, or per core", gt=0, le=10_000)
    ray: str | None = option(None, "Run the cells on a Ray cluster: its address, or auto", RUNNING)
    gpus_per_cell: float = option(
        1.0,
        "GPUs per cell: 2 or more train it together (on a CPU: processes); below 1, cells share a GPU",
        RUNNING,
        gt=0,
        le=1024,
    )
    shard: str | None = option(
        None,
        "I/N: run the I-th of N parts of the cells, alongside other processes in the same --out (array jobs); "
        "the same command without it writes the report",
        RUNNING,
    )
    explain: bool = option(False, "Explain for each cell why it runs or is skipped", RUNNING)
    out: Path | None = option(
        None, "Output directory; the same command resumes it", RUNNING, names=("--out", "-o"), shown="runs/ablation"
    )

    @field_validator("gpus_per_cell")
    @classmethod
    def _is_whole(cls, value: float) -> float:
        if value > 1 and not value.is_integer():
            raise ValueError("must be below 1 or a whole number")
        return value

    @field_validator("shard")
    @classmethod
    def _is_shard(cls, value: str | None) -> str | None:
        at, slash, of = ("1/1" if value is None else value).partition("/")
        if not (slash and at.isdecimal() and of.isdecimal() and 1 <= int(at) <= int(of) <= Most):
            raise ValueError("must be I/N, with I from 1 to N")
        return value
