"""Any strategy with rewritten rationales: `permute:step` as the command line writes it, and the strategy it makes."""

from __future__ import annotations

from dataclasses import replace

from cotdistill.data.files import json_digest
from cotdistill.errors import UsageError
from cotdistill.plugins.arguments import from_text
from cotdistill.plugins.guard import guarded_call
from cotdistill.plugins.kinds import REWRITES
from cotdistill.strategies.forms import Draft, FillContext, Slots, SlotValue, Strategy, Tokens
from cotdistill.strategies.rewrites import Rewrite, matched

MATCHED = "matched:"


def rewrite_of(text: str) -> Rewrite:
    """`NAME` or `NAME:VALUE:VALUE`, values in the order of the rewrite's parameters; `matched:` before another one is
    its size-matched control. Raises `UsageError`."""
    if text.startswith(MATCHED):
        other = rewrite_of(text.removeprefix(MATCHED))
        if other.tokens:
            raise UsageError(f"--rewrite {text}: only what leaves words can be matched in their number")
        return matched(other)
    made, where = from_text(REWRITES, text, "--rewrite")
    return made if code_of(text) is None else _guarded(made, where)


def rewritten(strategy: Strategy, rewrite: Rewrite, code: str | None = None) -> Strategy:
    """`strategy`, its rationales rewritten before they fill its forms. `code`: digest of a plug-in's rewrite.

    `ValueError` where it has no rationale, or where both choose words by their scores or give token ids.
    """
    if not any(slot == "rationale" for _, slot in strategy.needs()):
        raise ValueError("it learns no rationale that could be rewritten")
    if strategy.needs_scores and rewrite.needs_scores:
        raise ValueError("its rationales are rewritten already")
    if strategy.fills_tokens and rewrite.tokens:
        raise ValueError("it weighs or rewrites single tokens, which cannot be rewritten once more")
    own = strategy.fill

    def fill(draft: Draft, context: FillContext) -> Slots:
        value = rewrite(draft, context)
        dual = draft.dual and replace(draft.dual, rationale=_text(rewrite(draft.dual, context), draft.dual))
        slots = own(replace(draft, rationale=_text(value, draft), dual=dual), context)
        if isinstance(value, str):
            return slots
        if isinstance(slots["rationale"], Tokens):
            raise UsageError(f"strategy {strategy.name!r} weighs single tokens, which cannot be rewritten")
        return {**slots, "rationale": value}

    codes = [one for one in (strategy.code, code) if one is not None]
    return replace(
        strategy,
        fill=fill,
        needs_scores=rewrite.needs_scores or strategy.needs_scores,
        fills_tokens=rewrite.tokens or strategy.fills_tokens,
        progressive=rewrite.progressive or strategy.progressive,
        code=json_digest(codes) if len(codes) > 1 else next(iter(codes), None),
    )


def code_of(text: str) -> str | None:
    """Digest of the plug-in that a rewrite comes from; None for one of this package."""
    entry = REWRITES.find(text.removeprefix(MATCHED).partition(":")[0])
    return None if entry is None else entry.code


def _text(value: SlotValue, draft: Draft) -> str:
    return value if isinstance(value, str) else draft.rationale


def _guarded(made: object, where: str) -> Rewrite:
    if not isinstance(made, Rewrite):
        raise UsageError(f"{where}: its factory returned a {type(made).__name__}, not a Rewrite")
    apply = guarded_call(made.apply, where)

    def checked(draft: Draft, context: FillContext) -> SlotValue:
        value = apply(draft, context)
        if not isinstance(value, str | Tokens):
            raise UsageError(f"{where}: returned {value!r:.80}, not text or Tokens")
        return value

    return replace(made, apply=checked)
