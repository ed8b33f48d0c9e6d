"""Rewrites of a rationale: permuting, masking and keeping only some of its words. Pure, reproducible from (seed, id).

Words are split at white space and joined by one blank. Question and answer are never touched.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import floor
from typing import Literal

from cotdistill.seeds import rng
from cotdistill.strategies.forms import Draft, Fill, FillContext, Slots, SlotValue, Tokens

Level = Literal["word", "token", "sentence"]
Rewrite = Callable[[Draft, FillContext], SlotValue]
PLACEHOLDER = "_"  # models have no common mask token; this word serves as one


def rewriting(rewrite: Rewrite) -> Fill:
    """A fill whose rationale is rewritten and whose answer stays."""

    def fill(draft: Draft, context: FillContext) -> Slots:
        return {"rationale": rewrite(draft, context), "answer": draft.answer}

    return fill


def permute(level: Level) -> Rewrite:
    """Shuffle words, sentences or the student's own tokens; the multiset and the length stay."""

    def rewrite(draft: Draft, context: FillContext) -> SlotValue:
        draw = rng(context.seed, "permute", level, draft.example.id, draft.index)
        if level == "token":
            ids = list(context.tokenize(" " + draft.rationale))
            draw.shuffle(ids)
            return Tokens(tuple(ids))
        units = draft.rationale.split() if level == "word" else sentences(draft.rationale)
        draw.shuffle(units)
        return " ".join(units)

    return rewrite


def mask(ratio: float) -> Rewrite:
    """floor(ratio * n) of the n words become the placeholder word."""
    if not 0 <= ratio <= 1:
        raise ValueError(f"ratio must lie between 0 and 1, not {ratio}")

    def rewrite(draft: Draft, context: FillContext) -> SlotValue:
        words = draft.rationale.split()
        draw = rng(context.seed, "mask", draft.example.id, draft.index)
        for at in draw.sample(range(len(words)), floor(ratio * len(words))):
            words[at] = PLACEHOLDER
        return " ".join(words)

    return rewrite


def keep_key(k: int, exclude_label: bool = False) -> Rewrite:
    """The k words of the highest score, in their original order; ties go to the earlier word."""

    def rewrite(draft: Draft, context: FillContext) -> SlotValue:
        if context.scores is None:
            raise ValueError("key words need scores of the rationale's words, made before encoding")
        words = draft.rationale.split()
        scores = context.scores(draft.example.id, draft.rationale, draft.answer)
        candidates = _candidates(words, draft.answer, exclude_label)
        best = sorted(candidates, key=lambda at: (-scores[at], at))[:k]
        return " ".join(words[at] for at in sorted(best))

    return rewrite


def keep_random(k: int, exclude_label: bool = False) -> Rewrite:
    """k random words in their original order: the size-matched control of `keep_key`."""

    def rewrite(draft: Draft, context: FillContext) -> SlotValue:
        words = draft.rationale.split()
        candidates = _candidates(words, draft.answer, exclude_label)
        draw = rng(context.seed, "random-k", draft.example.id, draft.index)
        chosen = draw.sample(candidates, min(k, len(candidates)))
        return " ".join(words[at] for at in sorted(chosen))

    return rewrite


def sentences(text: str) -> list[str]:
    """Sentences, each with its end mark; a text without marks is one sentence."""
    return [part for part in re.split(r"(?<=[.!?])\s+", text.strip()) if part]


def bare(word: str) -> str:
    """A word without case and punctuation, for comparing."""
    return re.sub(r"\W+", "", word).lower()


def _candidates(words: list[str], answer: str, exclude_label: bool) -> list[int]:
    label = {bare(word) for word in answer.split()} if exclude_label else set()
    return [at for at, word in enumerate(words) if bare(word) not in label]
