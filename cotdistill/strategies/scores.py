"""Importance of each word of a rationale, made before encoding for the strategies that keep key words."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cotdistill.data.json_rows import json_lines
from cotdistill.data.records import Item
from cotdistill.errors import DataError, UsageError
from cotdistill.strategies.forms import Strategy
from cotdistill.strategies.units import bare

WordScores = Callable[[str, str, str], list[float]]  # (example id, rationale, answer) -> one score per word


def word_scores(strategy: Strategy, items: Sequence[Item], sidecar: Path | None = None) -> WordScores | None:
    """The scores a strategy asks for (None: it asks for none); attributions come from a file made beforehand."""
    if strategy.needs_scores is None:
        return None
    if not strategy.needs_sidecar:
        return tfidf(items)
    if sidecar is None:
        raise UsageError(
            f"scores by {strategy.needs_scores!r} need an attribution made beforehand: ablate makes one, "
            "distill takes its file with --scores; or use by=tfidf"
        )
    return from_sidecar(sidecar, strategy.needs_scores)


def rationale_digest(example_id: str, text: str, answer: str) -> str:
    """What a sidecar knows a rationale by: a text under one question, arguing for one answer."""
    return hashlib.sha256("\x1f".join((example_id, text, answer)).encode()).hexdigest()


def from_sidecar(path: Path, by: str) -> WordScores:
    """Scores of a file: a first line {"by", ...}, then {"rationale": digest, "scores": [one per word], ...}."""
    lines = json_lines(path)
    _, header = next(lines, (1, {}))
    if header.get("by") != by:
        raise DataError.at(
            str(path),
            1,
            f"holds scores by {header.get('by')!r}, not by {by!r}",
            "give the file written by an attribution of that name",
        )
    known = {rationale: scores for number, line in lines for rationale, scores in [_scored(line, str(path), number)]}

    def scores(example_id: str, text: str, answer: str) -> list[float]:
        stored = known.get(rationale_digest(example_id, text, answer))
        if stored is None:
            raise DataError.at(
                str(path),
                None,
                f"has no scores of a rationale of {example_id!r}",
                "make the attribution on the same rows",
            )
        if len(stored) != len(text.split()):
            raise DataError.at(
                str(path),
                None,
                f"has {len(stored)} scores for the {len(text.split())} words of a rationale of {example_id!r}",
                "make the attribution on the same rows",
            )
        return stored

    return scores


def _scored(line: dict[str, Any], path: str, number: int) -> tuple[str, list[float]]:
    """(a rationale's digest, one score per word) of one line of a sidecar."""
    rationale, scores = line.get("rationale"), line.get("scores")
    if not isinstance(rationale, str) or not isinstance(scores, list) or not all(map(_is_score, scores)):
        raise DataError.at(
            path,
            number,
            'is not {"rationale": DIGEST, "scores": [one finite number per word]}',
            "make the attribution again",
        )
    return rationale, [float(score) for score in scores]


def _is_score(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def tfidf(items: Sequence[Item]) -> WordScores:
    """tf-idf of words over all kept factual rationales (scikit-learn, smoothed idf, case and punctuation ignored)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [rationale.text for item in items for rationale in item.kept("factual")]
    vectorizer = TfidfVectorizer(analyzer=_words, norm=None)
    vectorizer.fit(texts)
    idf = dict(zip(vectorizer.get_feature_names_out(), vectorizer.idf_, strict=True))

    def scores(example_id: str, text: str, answer: str) -> list[float]:
        words = [bare(word) for word in text.split()]
        return [words.count(word) * float(idf.get(word, 0.0)) for word in words]

    return scores


def _words(text: str) -> list[str]:
    return [word for word in map(bare, text.split()) if word]
