"""Do test questions stand among the training rows? Exactly, or by runs of eight words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

NGRAM = 8


def overlap(training: Sequence[str], test: Sequence[str], n: int = NGRAM) -> dict[str, Any]:
    """How many test questions occur in training, and how many share a run of n words with it.

    exact: equal without case, punctuation and spacing. ngram: at least one run of n words in common; a
    question of fewer than n words counts as one run. covered: mean share of a question's runs that occur in
    training: templates share runs without sharing questions, so read the three together.
    Source: 13-gram overlap of GPT-3 (arXiv 2005.14165, appendix C), with a run that short questions have.
    """
    seen = {" ".join(_words(text)) for text in training}
    runs = {run for text in training for run in _runs(text, n)}
    exact, shared, covered = 0, 0, 0.0
    examples: list[str] = []
    for text in test:
        own = list(_runs(text, n))
        hit = sum(run in runs for run in own)
        exact += " ".join(_words(text)) in seen
        shared += hit > 0
        covered += hit / len(own) if own else 0.0
        if " ".join(_words(text)) in seen and len(examples) < 3:
            examples.append(text)
    count = max(1, len(test))
    return {
        "training": len(training),
        "test": len(test),
        "exact": exact / count,
        "n": n,
        "ngram": shared / count,
        "covered": covered / count,
        "examples": examples,
    }


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _runs(text: str, n: int) -> Iterator[tuple[str, ...]]:
    words = _words(text)
    starts: Iterable[int] = range(max(1, len(words) - n + 1))
    return (tuple(words[at : at + n]) for at in starts if words)
