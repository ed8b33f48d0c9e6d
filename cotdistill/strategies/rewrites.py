"""Rewrites of a rationale, which any strategy can be given: shuffled, masked, cut, or only some of its words kept.

    permute:step     the steps in another order         truncate:0.5       the first half of the words
    mask:0.5         half of the words masked           drop-numbers       no word with a digit
    key:3            the 3 words that matter most       random:3           3 random words, the control of key:3
    delete:0.3:step  3 of 10 steps deleted              matched:REWRITE    as many random words as REWRITE leaves

Pure, reproducible from (seed, id). Question and answer are never touched. Words are split at white space and joined by
one blank. A text of which nothing is left is the placeholder word.

Papers: Investigating Mysteries of CoT-Augmented Distillation, arXiv 2406.14511 (permuting, masking, key words); LLMs
Can Easily Learn to Reason from Demonstrations, arXiv 2502.07374 (steps shuffled and deleted, numbers); Distilling the
Essence, arXiv 2512.21002 (truncation).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, floor
from typing import Literal

from cotdistill.plugins.kinds import rewrite
from cotdistill.seeds import rng
from cotdistill.strategies.forms import Draft, FillContext, SlotValue, Tokens
from cotdistill.strategies.units import Level, Unit, bare, units, words

PLACEHOLDER = "_"  # models have no common mask token; this word serves as one


@dataclass(frozen=True)
class Rewrite:
    """What is done to a rationale.

    `apply` gives the new one: text, or token ids. `needs_scores`: the word scores it reads, if any. `matched`: the
    rewrite that leaves as many words without choosing them, its control; None where nothing is chosen. `dose`: (what
    is varied, its value), where there is such a thing: figures draw curves over it. `progressive`: what it does depends
    on how far training is (`FillContext.progress`). `tokens`: it gives token ids.
    """

    apply: Callable[[Draft, FillContext], SlotValue]
    needs_scores: str | None = None
    matched: str | None = None
    dose: tuple[str, float] | None = None
    progressive: bool = False
    tokens: bool = False

    def __call__(self, draft: Draft, context: FillContext) -> SlotValue:
        return self.apply(draft, context)


@rewrite("permute")
def permute(level: Level = "word") -> Rewrite:
    """Shuffle words, sentences, steps or the student's own tokens; the multiset and the length stay."""

    def apply(draft: Draft, context: FillContext) -> SlotValue:
        draw = rng(context.seed, "permute", level, draft.example.id, draft.index)
        if level == "token":
            ids = list(context.tokenize(" " + draft.rationale))
            draw.shuffle(ids)
            return Tokens(tuple(ids))
        found = units(draft.rationale, level)
        draw.shuffle(found.texts)
        return found.join(found.texts)

    return Rewrite(apply, tokens=level == "token")


@rewrite("mask")
def mask(ratio: float = 0.5) -> Rewrite:
    """floor(ratio * n) of the n words become the placeholder word."""
    _check_share("ratio", ratio)

    def apply(draft: Draft, context: FillContext) -> SlotValue:
        found = words(draft.rationale)
        draw = rng(context.seed, "mask", draft.example.id, draft.index)
        for at in draw.sample(range(len(found)), floor(ratio * len(found))):
            found[at] = PLACEHOLDER
        return " ".join(found)

    return Rewrite(apply, dose=("share of the words masked", ratio))


@rewrite("delete")
def delete(share: float = 0.5, level: Unit = "word") -> Rewrite:
    """floor(share * n) random words, sentences or steps are left out; the others keep their order."""
    _check_share("share", share)

    def apply(draft: Draft, context: FillContext) -> SlotValue:
        found = units(draft.rationale, level)
        draw = rng(context.seed, "delete", level, draft.example.id, draft.index)
        gone = set(draw.sample(range(len(found.texts)), floor(share * len(found.texts))))
        return _or_placeholder(found.join([text for at, text in enumerate(found.texts) if at not in gone]))

    matched = None if level == "word" else f"matched:delete:{share:g}:{level}"
    return Rewrite(apply, matched=matched, dose=(f"share of the {level}s deleted", share))


@rewrite("truncate")
def truncate(share: float = 0.5, level: Unit = "word") -> Rewrite:
    """Only the first ceil(share * n) words, sentences or steps are kept."""
    _check_share("share", share)

    def apply(draft: Draft, context: FillContext) -> SlotValue:
        found = units(draft.rationale, level)
        return _or_placeholder(found.join(found.texts[: ceil(share * len(found.texts))]))

    return Rewrite(apply, matched=f"matched:truncate:{share:g}:{level}", dose=(f"share of the {level}s kept", share))


@rewrite("drop-numbers")
def drop_numbers() -> Rewrite:
    """Words that hold a digit are left out."""

    def apply(draft: Draft, context: FillContext) -> SlotValue:
        return _or_placeholder(" ".join(word for word in words(draft.rationale) if not re.search(r"\d", word)))

    return Rewrite(apply, matched="matched:drop-numbers")


@rewrite("key")
def keep_key(
    k: int, by: Literal["tfidf", "integrated-gradients", "gradient-input"] = "tfidf", exclude_label: bool = False
) -> Rewrite:
    """The k words of the highest score, in their original order; ties go to the earlier word."""
    _check_count(k)

    def apply(draft: Draft, context: FillContext) -> SlotValue:
        if context.scores is None:
            raise ValueError("key words need scores of the rationale's words, made before encoding")
        found = words(draft.rationale)
        scores = context.scores(draft.example.id, draft.rationale, draft.answer)
        candidates = _candidates(found, draft.answer, exclude_label)
        best = sorted(candidates, key=lambda at: (-scores[at], at))[:k]
        return " ".join(found[at] for at in sorted(best))

    control = f"random:{k}" + (":true" if exclude_label else "")
    return Rewrite(apply, needs_scores=by, matched=control, dose=("words kept", k))


@rewrite("random")
def keep_random(k: int, exclude_label: bool = False) -> Rewrite:
    """k random words in their original order: the size-matched control of `key`."""
    _check_count(k)

    def apply(draft: Draft, context: FillContext) -> SlotValue:
        found = words(draft.rationale)
        candidates = _candidates(found, draft.answer, exclude_label)
        draw = rng(context.seed, "random-k", draft.example.id, draft.index)
        chosen = draw.sample(candidates, min(k, len(candidates)))
        return " ".join(found[at] for at in sorted(chosen))

    return Rewrite(apply, dose=("words kept", k))


def matched(other: Rewrite) -> Rewrite:
    """As many random words, in their original order, as another rewrite leaves: its size-matched control."""

    def apply(draft: Draft, context: FillContext) -> SlotValue:
        left, found = other(draft, context), words(draft.rationale)
        assert isinstance(left, str)  # rewrites of tokens have no control
        draw = rng(context.seed, "matched", draft.example.id, draft.index)
        chosen = draw.sample(range(len(found)), min(len(words(left)), len(found)))
        return " ".join(found[at] for at in sorted(chosen))

    return Rewrite(apply, other.needs_scores, dose=other.dose, progressive=other.progressive)


def _candidates(found: list[str], answer: str, exclude_label: bool) -> list[int]:
    label = {bare(word) for word in words(answer)} if exclude_label else set()
    return [at for at, word in enumerate(found) if bare(word) not in label]


def _or_placeholder(text: str) -> str:
    return text or PLACEHOLDER


def _check_share(name: str, share: float) -> None:
    if not 0 <= share <= 1:
        raise ValueError(f"{name} must lie between 0 and 1, not {share}")


def _check_count(k: int) -> None:
    if k < 0:
        raise ValueError(f"k must be at least 0, not {k}")
