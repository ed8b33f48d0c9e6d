"""Tasks whose rationales can be checked: does each step hold, and does the last one support the answer?

@checker("sums")
class Sums(Checker):
    def check(self, question, choices, rationale): ...
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Step:
    """The verdict on one sentence of a rationale.

    true    does it hold, and of what is asked? None: malformed, no step of this task
    linked  does it go on from the sentence before (the first: from the question) towards what is asked?
    says    what it ends at: the next step goes on from there, and the last one is the conclusion
    """

    sentence: str
    true: bool | None
    linked: bool = False
    says: str | None = None


@dataclass(frozen=True)
class RationaleCheck:
    """What a rationale is worth.

    `supports`: the answer its last step ends at, whatever came before (None: no answer).
    `complete`: each step goes on from the one before, from the question to what is asked, with no gap.
    """

    steps: tuple[Step, ...]
    supports: str | None
    complete: bool

    @property
    def malformed(self) -> int:
        """How many sentences are no step of this task."""
        return sum(step.true is None for step in self.steps)

    @property
    def true(self) -> int:
        """How many sentences are true."""
        return sum(step.true is True for step in self.steps)

    @property
    def false_steps(self) -> tuple[int, ...]:
        """The places of the well-formed sentences that are false."""
        return tuple(place for place, step in enumerate(self.steps) if step.true is False)

    @property
    def share_true(self) -> float:
        """True sentences of all sentences, malformed ones included; 0 for an empty rationale."""
        return self.true / len(self.steps) if self.steps else 0.0

    @property
    def fully_true(self) -> bool:
        """Whether there is a sentence and none is false or malformed."""
        return bool(self.steps) and self.true == len(self.steps)

    @property
    def sound(self) -> bool:
        """A proof: fully true and complete, so that it supports the right answer."""
        return self.fully_true and self.complete


class Checker(ABC):
    """What is known of a checkable task. Only `check` must be given; it is found for a question by asking it."""

    prompts_bare = False  # its teacher was trained on the bare question: no demonstrations are put before it

    @abstractmethod
    def check(self, question: str, choices: Sequence[str] | None, rationale: str) -> RationaleCheck | None:
        """The verdict on a rationale, read from its text alone; None for a question of another task."""

    def knows(self, question: str) -> bool:
        """Whether a question is one of this task."""
        return self.check(question, None, "") is not None

    def argue(self, question: str, answer: str, seed: int = 0) -> str | None:
        """A rationale for an answer, false where the answer is wrong; None where none can be made."""
        return None

    def cue(self, question: str) -> str | None:
        """The answer that a spurious cue in the question names; None for a question without one."""
        return None

    def acknowledges(self, question: str, rationale: str) -> bool | None:
        """Whether a rationale owns up to the cue as a cue, more than it names its answer; None: it cannot be told."""
        return None

    def paraphrase(self, question: str, rationale: str, seed: int = 0) -> str | None:
        """A rationale's steps in other words, whether they hold or not; None where no other wording is known."""
        return None

    def card(self) -> Mapping[str, Any] | None:
        """What the run card of a student trained on this task records of it (`data.world`)."""
        return None
