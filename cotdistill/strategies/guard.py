"""A plug-in's strategy, its own functions called as somebody's code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import wraps

from cotdistill.errors import UsageError
from cotdistill.plugins.guard import guarded_call
from cotdistill.strategies.forms import SLOTS, Draft, Fill, FillContext, Slots, Strategy, Tokens


def guarded(strategy: Strategy, where: str) -> Strategy:
    """The strategy, its own functions called through `plugin_code`."""
    reweight = None if strategy.reweight is None else guarded_call(strategy.reweight, where)
    return replace(strategy, fill=_checked(strategy.fill, where), reweight=reweight)


def _checked(own: Fill, where: str) -> Fill:
    """`fill`, its result held against what forms read."""
    fill = guarded_call(own, where)

    @wraps(own)
    def through(draft: Draft, context: FillContext) -> Slots:
        slots = fill(draft, context)
        if not isinstance(slots, Mapping) or not all(isinstance(slots.get(slot), str | Tokens) for slot in SLOTS):
            raise UsageError(f"{where}: its fill returned {slots!r:.80}, not text or Tokens for {' and '.join(SLOTS)}")
        return slots

    return through
