"""What a family of the embedded world offers: problems that can be put, proved, argued falsely and judged."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import ClassVar, Self

from cotdistill.plugins.checkers import Step


@dataclass(frozen=True)
class Argument:
    """A rationale for one answer; `false_step` is the place of its only false sentence (None: all true)."""

    sentences: tuple[str, ...]
    false_step: int | None = None

    @property
    def text(self) -> str:
        """The sentences as one line."""
        return " ".join(self.sentences)


class Problem(ABC):
    """One problem of a family, without its four choices and its cue."""

    far: ClassVar[str]  # the family's out-of-domain split
    cued: ClassVar[bool] = True  # whether its questions open with the spurious cue
    # (template of a sentence of a rationale, the same in other words); a template of the second kind numbers its gaps
    wordings: ClassVar[tuple[tuple[str, str], ...]]

    @classmethod
    @abstractmethod
    def draw(cls, random: Random, far: bool) -> Self:
        """A random problem of the training distribution, or of the out-of-domain one."""

    @classmethod
    @abstractmethod
    def parse(cls, text: str) -> Self | None:
        """The problem that `text()` wrote; None if it is not one of this family."""

    @classmethod
    @abstractmethod
    def every_word(cls) -> Iterator[Self]:
        """Problems that between them use every word of the family."""

    @classmethod
    @abstractmethod
    def fact(cls, random: Random) -> str:
        """A sentence that both teacher and untrained student have read."""

    @classmethod
    @abstractmethod
    def lesson(cls, random: Random) -> str:
        """A sentence that only the teacher has read."""

    @property
    @abstractmethod
    def answer(self) -> str:
        """The right answer."""

    @property
    @abstractmethod
    def options(self) -> tuple[str, ...]:
        """Every text that may be among the choices, the answer included."""

    @abstractmethod
    def text(self) -> str:
        """The question as it is put, without its cue."""

    @abstractmethod
    def retelling(self) -> str:
        """What the question tells, in other words and without reasoning."""

    @abstractmethod
    def content(self, choices: tuple[str, ...]) -> str:
        """What makes two items the same: one content belongs to one side of the train / dev / test border."""

    @abstractmethod
    def proof(self) -> tuple[str, ...]:
        """The sentences that lead to the answer, all of them true."""

    @abstractmethod
    def mislead(self, wrong: str, random: Random) -> Argument:
        """As `proof`, but one false sentence leads it to a wrong answer."""

    @abstractmethod
    def judge(self, sentence: str, place: int, said: str | None) -> Step:
        """The verdict on sentence number `place` of a rationale, after one that ended at `said`."""

    def argue(self, answer: str, random: Random) -> Argument:
        """A rationale that ends at `answer`: the proof, or a false one. `ValueError` if it cannot be."""
        if answer not in self.options:
            known = ", ".join(self.options)
            raise ValueError(f"{answer!r} cannot answer {self.text()!r}; one of {known} can")
        return Argument(self.proof()) if answer == self.answer else self.mislead(answer, random)


@cache
def reader(template: str) -> re.Pattern[str]:
    """The expression that reads back what `template.format(...)` wrote; each {} is one word."""
    return re.compile(re.escape(template).replace(r"\{\}", r"(\w+)"))
