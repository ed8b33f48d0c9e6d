"""clocks: chains of sums on a twelve-hour clock, one step a wait.

    A clock shows 9. Leo waits 1 hour. Hal waits 4 hours. What does it show?
    9 plus 1 is 10. 10 plus 4 is 2.

1 to 3 waits of 1 to 6 hours; the `hard` split has 4 or 5 (chains longer than any in training).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Self

from cotdistill.plugins.checkers import Step
from cotdistill.world.problem import Argument, Problem, reader

NAMES = ("Leo", "Hal", "Ann", "Bob", "Eve", "Ida", "Jon", "Kim", "Liz", "Max", "Ned", "Pam", "Ray", "Sue", "Tom", "Una")
HOURS = tuple(str(hour) for hour in range(1, 13))
LONGEST_WAIT = 6
SHORT, LONG = (1, 2, 3), (4, 5)  # numbers of waits
SUM = "{} plus {} is {}."
WAIT = r"(\w+) waits (\d+) hours?\. "
QUESTION = re.compile(rf"A clock shows (\d+)\. ((?:{WAIT})+)What does it show\?")


def later(hour: int, wait: int) -> int:
    """The hour a clock shows `wait` hours after `hour`; negative waits go back."""
    return (hour + wait - 1) % 12 + 1


@dataclass(frozen=True)
class Clocks(Problem):
    """A clock that shows `start` (1 to 12), and people who wait, one after another."""

    start: int
    waits: tuple[int, ...]
    names: tuple[str, ...]

    far: ClassVar[str] = "hard"
    wordings: ClassVar[tuple[tuple[str, str], ...]] = ((SUM, "{2} is {0} plus {1}."),)

    @classmethod
    def draw(cls, random: Random, far: bool) -> Self:
        count = random.choice(LONG if far else SHORT)
        waits = tuple(random.randint(1, LONGEST_WAIT) for _ in range(count))
        return cls(random.randint(1, 12), waits, tuple(random.sample(NAMES, count)))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        found = QUESTION.fullmatch(text)
        if not found or found[1] not in HOURS:
            return None
        names, waits = zip(*re.findall(WAIT, found[2]), strict=True)
        return cls(int(found[1]), tuple(map(int, waits)), names)

    @classmethod
    def every_word(cls) -> Iterator[Self]:
        return (cls(start, (1 + start % LONGEST_WAIT,), (name,)) for start in range(1, 13) for name in NAMES)

    @classmethod
    def fact(cls, random: Random) -> str:
        hour, wait = random.randint(1, 12), random.randint(1, LONGEST_WAIT)
        return SUM.format(hour, wait, later(hour, wait))

    @classmethod
    def lesson(cls, random: Random) -> str:
        return " ".join(cls.draw(random, far=False).proof())

    @property
    def answer(self) -> str:
        return str(later(self.start, sum(self.waits)))

    @property
    def options(self) -> tuple[str, ...]:
        return HOURS

    def text(self) -> str:
        waits = (
            f"{name} waits {wait} hour{'s' * (wait > 1)}. " for name, wait in zip(self.names, self.waits, strict=True)
        )
        return f"A clock shows {self.start}. {''.join(waits)}What does it show?"

    def retelling(self) -> str:
        return f"It starts at {self.start}. Then come {' and '.join(map(str, self.waits))}."

    def content(self, choices: tuple[str, ...]) -> str:
        # Neither names nor choices change the reasoning: a test chain of numbers is never met in training.
        return " ".join(map(str, ("clock", self.start, *self.waits)))

    def proof(self) -> tuple[str, ...]:
        return self._chain(slip=0, at=0)

    def mislead(self, wrong: str, random: Random) -> Argument:
        at = len(self.waits) - 1  # the last sum: the one step that a hint can bend without any reckoning back
        return Argument(self._chain(slip=int(wrong) - int(self.answer), at=at), false_step=at)

    def judge(self, sentence: str, place: int, said: str | None) -> Step:
        found = reader(SUM).fullmatch(sentence)
        if not found or not all(number in HOURS for number in found.groups()):
            return Step(sentence, true=None)
        hour, wait, result = found.groups()
        before = str(self.start) if place == 0 else said
        linked = place < len(self.waits) and hour == before and wait == str(self.waits[place])
        return Step(sentence, str(later(int(hour), int(wait))) == result, linked, result)

    def _chain(self, slip: int, at: int) -> tuple[str, ...]:
        """The sums in order; the one at place `at` is wrong by `slip`, the next go on from there."""
        hour, sentences = self.start, []
        for place, wait in enumerate(self.waits):
            result = later(hour, wait + slip * (place == at))
            sentences.append(SUM.format(hour, wait, result))
            hour = result
        return tuple(sentences)
