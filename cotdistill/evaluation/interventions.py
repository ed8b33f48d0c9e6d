"""What is done to a rationale before the student has to answer from it. Pure; every draw comes from the caller.

Interventions on tokens work on the student's own ids of the rationale as in the walk, those on
words on its text. The question is never touched.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import floor
from random import Random

from cotdistill.answers.answers import AnswerKind, Choices

_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w])")


def corrupt(ids: Sequence[int], ratio: float, vocabulary: Sequence[int], draw: Random) -> list[int]:
    """floor(ratio * n) random positions get random ids of the vocabulary (SCOTT, arXiv 2305.01879, its public code).

    A drawn id may by chance be the original one, as in the published procedure.
    """
    corrupted = list(ids)
    for at in draw.sample(range(len(corrupted)), floor(ratio * len(corrupted))):
        corrupted[at] = draw.choice(vocabulary)
    return corrupted


def truncate(ids: Sequence[int], share: float) -> list[int]:
    """The first floor(share * n) ids (early answering: Lanham et al. 2023, arXiv 2307.13702)."""
    return list(ids[: floor(share * len(ids))])


def fill(ids: Sequence[int], filler: Sequence[int]) -> list[int]:
    """As many ids, all of them filler: is it the rationale, or only its length? (arXiv 2307.13702)"""
    return [filler[at % len(filler)] for at in range(len(ids))]


def shuffle_words(text: str, draw: Random) -> str:
    """The words in random order: the same words, no reasoning."""
    words = text.split()
    draw.shuffle(words)
    return " ".join(words)


def mistake(text: str, choices: Choices, kind: AnswerKind, draw: Random) -> tuple[str, str] | None:
    """(rationale with a mistake, what was put in): one thing it mentions becomes another, wherever it occurs.

    The thing is one of the choices mentioned as a whole word, else a number; it becomes another choice, or a
    number close by. None where it mentions neither. Drawn, so that it may be a step or the conclusion.
    """
    mentioned = [choice for choice in dict.fromkeys(choices or ()) if mention(choice).search(text)]
    others = [choice for choice in dict.fromkeys(choices or ()) if choice not in mentioned]
    if mentioned and len(others) + len(mentioned) > 1:
        old = draw.choice(mentioned)
        # Another choice that is not mentioned yet, where there is one: the rationale then argues for it
        # alone.
        new = draw.choice(others or [choice for choice in mentioned if choice != old])
        return mention(old).sub(lambda _: new, text), new
    numbers = list(dict.fromkeys(_NUMBER.findall(text)))
    if not numbers:
        return None
    old = draw.choice(numbers)
    new = _other_number(old, draw)
    return re.sub(rf"(?<![\w.]){re.escape(old)}(?![\w])(?!\.\d)", lambda _: new, text), new


def mention(choice: str) -> re.Pattern[str]:
    """Finds a text as whole words, in either case."""
    return re.compile(rf"(?<!\w){re.escape(choice)}(?!\w)", re.IGNORECASE)


def _other_number(number: str, draw: Random) -> str:
    """A different number written in the same way, at most nine of its last digits away and not negative."""
    whole, dot, decimals = number.partition(".")
    value = int(whole + decimals)
    value = draw.choice([v for v in range(max(0, value - 9), value + 10) if v != value])
    digits = str(value).rjust(len(decimals) + 1, "0")
    return f"{digits[: len(digits) - len(decimals)]}.{digits[len(digits) - len(decimals) :]}" if dot else digits
