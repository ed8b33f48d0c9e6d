"""Importance of each word of a rationale, made before encoding for the strategies that keep key words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cotdistill.data.records import Item
from cotdistill.errors import UsageError
from cotdistill.strategies.forms import Strategy
from cotdistill.strategies.rewrites import bare

WordScores = Callable[[str, str, str], list[float]]  # (example id, rationale, answer) -> one score a word


def word_scores(strategy: Strategy, items: Sequence[Item]) -> WordScores | None:
    """The scores a strategy asks for (None: it asks for none)."""
    if strategy.needs_scores is None:
        return None
    if strategy.needs_scores == "tfidf":
        return tfidf(items)
    raise UsageError(f"scores by {strategy.needs_scores!r} need an attribution made beforehand; use by=tfidf")


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
