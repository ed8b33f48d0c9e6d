"""The records. A `Question` is what is asked, an `Example` a question row with its answer, a `Rationale` one chain,
an `Item` an example with its rationales.

The fields are a contract with scripts (`cotdistill schema` prints it as JSON Schema).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cotdistill.answers.answers import AnswerKind, answer_kind, letter

MOST_CHOICES = 26  # each has a letter
RationaleKind = Literal["factual", "counterfactual"]
KINDS: tuple[RationaleKind, ...] = ("factual", "counterfactual")
Label = Literal["keep", "wrong", "unparsed", "leaked", "repeated", "truncated"]


class Record(BaseModel):
    """Base of everything on disk: frozen, with declared fields only."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def line(self) -> str:
        """This record as one JSON line, without unset fields."""
        return json.dumps(self.model_dump(mode="json", exclude_unset=True), ensure_ascii=False)


R = TypeVar("R", bound=BaseModel)
_SETS: dict[frozenset[str], set[str]] = {}


def compact(record: R) -> R:
    """The record itself, its set of the fields that were given shared with all that were given the same.

    A set of its own is a third of a row's memory. Records are frozen, and copies of them copy it.
    """
    given = record.__pydantic_fields_set__
    object.__setattr__(record, "__pydantic_fields_set__", _SETS.setdefault(frozenset(given), given))
    return record


class Question(Record):
    """What is asked, without its answer: all that a student is shown."""

    id: str = Field(min_length=1)
    question: str = Field(min_length=1)
    choices: tuple[str, ...] | None
    task: str = ""
    split: str | None = None

    @property
    def kind_of_answer(self) -> AnswerKind:
        """choice, yesno, truefalse or, where nothing is offered, text."""
        return answer_kind(self.choices, "")

    @model_validator(mode="after")
    def _choices_have_letters(self) -> Self:
        _check_count(self.choices)
        return self

    def text(self) -> str:
        """The question as every prompt shows it, choices lettered; yes/no and true/false need no list (SCOTT)."""
        if self.choices is None or self.kind_of_answer in ("yesno", "truefalse"):
            return self.question
        listed = "\n".join(f"({letter(at)}) {choice}" for at, choice in enumerate(self.choices))
        return f"{self.question}\nAnswer Choices:\n{listed}"


class Example(Question):
    """A question row. `answer` is text; where there are choices it is one of them.

    `extra` holds the row's further fields under their own names; nothing reads them and no digest covers them.
    """

    answer: str = Field(min_length=1)
    answer_index: int | None = None
    rationale: str | None = None
    source: str | None = None
    license: str | None = None
    extra: dict[str, Any] | None = Field(default=None, exclude_if=lambda value: value is None)

    @model_validator(mode="after")
    def _answer_is_a_choice(self) -> Self:
        _check_choices(self.choices, self.answer)
        at = self.answer_index
        if (
            self.choices is not None
            and at is not None
            and (not 0 <= at < len(self.choices) or self.choices[at] != self.answer)
        ):
            raise ValueError(f"answer_index {at} does not point at the answer {self.answer!r}")
        return self

    @property
    def kind_of_answer(self) -> AnswerKind:
        """choice, yesno, truefalse, number or text."""
        return answer_kind(self.choices, self.answer)


class Rationale(Record):
    """One chain of thought. `answer` is the one it argues for, or that was parsed from it.

    `correct` says whether the parsed answer equals the answer it was to support (null: nothing was parsed);
    `label` says why `distill` leaves it out, if it does.
    """

    kind: RationaleKind
    text: str
    answer: str | None
    correct: bool | None
    label: Label
    teacher: str
    decoding: dict[str, Any]
    prompt: str | None
    finished: bool


class Item(Record):
    """An elicited row: a question with every rationale elicited for it, self-contained."""

    id: str = Field(min_length=1)
    task: str
    split: str | None
    question: str = Field(min_length=1)
    choices: tuple[str, ...] | None
    answer: str = Field(min_length=1)
    rationales: tuple[Rationale, ...]
    extra: dict[str, Any] | None = Field(default=None, exclude_if=lambda value: value is None)

    @model_validator(mode="after")
    def _answer_is_a_choice(self) -> Self:
        _check_choices(self.choices, self.answer)
        return self

    @classmethod
    def of(cls, example: Example, rationales: Iterable[Rationale]) -> Self:
        """A question row with its rationales."""
        return cls(
            id=example.id,
            task=example.task,
            split=example.split,
            question=example.question,
            choices=example.choices,
            answer=example.answer,
            extra=example.extra,
            rationales=tuple(rationales),
        )

    def example(self) -> Example:
        """The question this item is about."""
        example = Example(
            id=self.id,
            question=self.question,
            choices=self.choices,
            answer=self.answer,
            task=self.task,
            split=self.split,
            extra=self.extra,
        )
        return compact(example)

    def kept(self, kind: RationaleKind) -> list[Rationale]:
        """The rationales of one kind that `distill` may learn from, in file order."""
        return [r for r in self.rationales if r.kind == kind and r.label == "keep"]


def digest(records: Iterable[Record]) -> str:
    """sha256 over the canonical JSON of records in their order, without their `extra`."""
    total = hashlib.sha256()
    for record in records:
        fields = record.model_dump(mode="json", exclude={"extra"})
        total.update(json.dumps(fields, ensure_ascii=False, sort_keys=True).encode())
        total.update(b"\n")
    return total.hexdigest()


def _check_choices(choices: Sequence[str] | None, answer: str) -> None:
    """Raises `ValueError` where an answer is not among the choices, or these cannot be lettered."""
    _check_count(choices)
    if choices is not None and answer not in choices:
        shown = [choice[:80] for choice in choices[:10]]
        raise ValueError(f"the gold answer {answer[:80]!r} is not among the choices {shown}")


def _check_count(choices: Sequence[str] | None) -> None:
    if choices is None:
        return
    if len(choices) < 2:
        raise ValueError("a row with choices needs at least two of them; use null for a free answer")
    if len(choices) > MOST_CHOICES:
        raise ValueError(f"{len(choices)} choices; at most {MOST_CHOICES} are supported, one per letter")
