"""What a rationale is made of: words, sentences or steps, and how they are put together again."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["word", "token", "sentence", "step"]
Unit = Literal["word", "sentence", "step"]  # a level of the text itself; tokens are the student's
_NUMBERED = re.compile(r"\s+(?=Step \d+\s*[:.)])")


@dataclass(frozen=True)
class Units:
    """The units of a text, and what stands between them."""

    texts: list[str]
    between: str = " "

    def join(self, chosen: Sequence[str]) -> str:
        """Units, these or others, as one text."""
        return self.between.join(chosen)


def units(text: str, level: Unit) -> Units:
    """A text cut at `level`."""
    return _CUT[level](text)


def words(text: str) -> list[str]:
    """Words as white space separates them."""
    return text.split()


def sentences(text: str) -> list[str]:
    """Sentences, each with its end mark; a text without marks is one sentence."""
    return [part for part in re.split(r"(?<=[.!?])\s+", text.strip()) if part]


def steps(text: str) -> Units:
    """The steps of a rationale: its lines; on a single line what begins with "Step n"; else its sentences."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) > 1:
        return Units(lines, "\n")
    numbered = _NUMBERED.split(text.strip())
    return Units(numbered if len(numbered) > 1 else sentences(text))


def bare(word: str) -> str:
    """A word without case and punctuation, for comparing."""
    return re.sub(r"\W+", "", word).lower()


_CUT: dict[Unit, Callable[[str], Units]] = {
    "word": lambda text: Units(words(text)),
    "sentence": lambda text: Units(sentences(text)),
    "step": steps,
}
