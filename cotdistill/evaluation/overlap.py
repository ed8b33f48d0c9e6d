"""Contamination: test questions that occur among the training rows, exactly or by runs of eight words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

NGRAM = 8
SHOWN = 3  # examples of exact overlap


@dataclass(frozen=True)
class Asked:
    """A row's question and choices."""

    question: str
    choices: tuple[str, ...] | None = None

    @property
    def words(self) -> str:
        """The question without case, punctuation and spacing."""
        return " ".join(_words(self.question))

    @property
    def whole(self) -> tuple[str, frozenset[str]]:
        """Question and choices, in whatever order."""
        return self.words, frozenset(" ".join(_words(choice)) for choice in self.choices or ())


def contamination(training: Sequence[Asked], test: Sequence[Asked], n: int = NGRAM) -> dict[str, Any]:
    """How many test questions occur in training, and how many share a run of n words with it.

    exact: the question is equal; with_choices: its choices are equal as well. ngram: at least one run of n words in
    common; a question of fewer than n words counts as one run. covered: mean share of a question's runs that
    occur in training: templates share runs without sharing questions, so read them together.
    Source: 13-gram overlap of GPT-3 (arXiv 2005.14165, appendix C), with a run length that short questions reach.
    """
    questions, wholes = {question.words for question in training}, {question.whole for question in training}
    runs = {run for question in training for run in _runs(question.question, n)}
    exact = [question for question in test if question.words in questions]
    hits = [
        (sum(run in runs for run in own), len(own)) for question in test if (own := list(_runs(question.question, n)))
    ]
    count = max(1, len(test))
    return {
        "training": len(training),
        "test": len(test),
        "exact": len(exact) / count,
        "with_choices": sum(question.whole in wholes for question in test) / count,
        "n": n,
        "ngram": sum(hit > 0 for hit, _ in hits) / count,
        "covered": sum(hit / of for hit, of in hits) / count,
        "examples": [question.question for question in exact[:SHOWN]],
    }


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _runs(text: str, n: int) -> Iterator[tuple[str, ...]]:
    words = _words(text)
    starts: Iterable[int] = range(max(1, len(words) - n + 1))
    return (tuple(words[at : at + n]) for at in starts if words)
