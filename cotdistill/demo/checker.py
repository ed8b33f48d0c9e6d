"""The truth of a rationale in the embedded world, read from its text alone, sentence by sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cotdistill.demo.problem import Step
from cotdistill.demo.world import parse

_SENTENCE_END = re.compile(r"(?<=\.)\s+")


@dataclass(frozen=True)
class Verdict:
    """What a rationale is worth.

    `supports`: the choice its last sentence ends at, whatever came before (None: no choice).
    `complete`: each sentence goes on from the one before, from the question to what is asked, with no gap.
    """

    steps: tuple[Step, ...]
    supports: str | None
    complete: bool

    @property
    def malformed(self) -> int:
        """How many sentences are none of this family's."""
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


def check(question: str, choices: Sequence[str] | None, rationale: str) -> Verdict | None:
    """The verdict on a rationale; None if the question is none of this world's ("not applicable")."""
    problem = parse(question)
    if problem is None:
        return None
    steps: list[Step] = []
    for place, sentence in enumerate(sentences(rationale)):
        steps.append(problem.judge(sentence, place, steps[-1].says if steps else None))
    conclusion = steps[-1].says if steps else None
    return Verdict(
        tuple(steps),
        supports=conclusion if conclusion in (choices or problem.options) else None,
        complete=len(steps) == len(problem.proof()) and all(step.linked for step in steps),
    )


def sentences(rationale: str) -> list[str]:
    """The sentences of a rationale; a final one without its full stop gets it."""
    text = rationale.strip()
    if not text:
        return []
    return _SENTENCE_END.split(text if text.endswith(".") else text + ".")
