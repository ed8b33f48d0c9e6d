"""The fields of a run card that other commands need; further ones are kept unchanged."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cotdistill.answers.answers import AnswerStyle
from cotdistill.data.records import RationaleKind

Count = Annotated[int, Field(ge=0)]
Fraction = tuple[float, float, float]  # from, to, factor: see `strategies.forms.Part`
Target = tuple[str, float] | tuple[str, float, list[Fraction]]  # text, weight and, where they differ, of its fractions


class Shape(BaseModel):
    """A mapping with at least these fields."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class FormShape(Shape):
    """A form as `strategies.description.dump_strategy` writes it, and nothing else: it becomes a `Form` again."""

    model_config = ConfigDict(extra="forbid")

    name: str
    source: str
    target: list[Target] = Field(min_length=1)
    share: float
    kind: RationaleKind
    eos: bool
    denominator: Literal["weights", "count"]
    source_weight: float = 0.0


class StrategyShape(Shape):
    """A strategy with at least one form."""

    name: str
    paper: str
    params: dict[str, Any]
    plan: list[str] = Field(min_length=1)
    explain: list[str] | None
    forms: list[FormShape] = Field(min_length=1)


class StudentShape(Shape):
    """What the run started from."""

    name: str
    family: str | None
    parameters: Count
    digest: str


class DataShape(Shape):
    """The rows it was trained on."""

    source: str
    digest: str
    rows: Count
    trained_on: Count
    world: dict[str, Any] | None


class ConfigShape(Shape):
    """The options that later commands read."""

    seed: int
    answers: AnswerStyle
    chat: bool = False
    batch_size: Annotated[int, Field(gt=0)]


class CountsShape(Shape):
    """Tokens of one pass over the rows."""

    learned_tokens: dict[str, Count]
    input_tokens: Count


class TrainedShape(Shape):
    """How far it was trained."""

    steps: Count


class CardShape(Shape):
    """The whole card; see `data.runcard.RunCard`."""

    strategy: StrategyShape
    student: StudentShape
    data: DataShape
    config: ConfigShape
    counts: CountsShape
    trained: TrainedShape
