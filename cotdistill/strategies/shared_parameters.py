"""Parameters that every strategy has beside its own, `--param NAME=VALUE` like them, recorded where they are given.

after           the strategy that the student is trained with first: two stages are one run, one arm of a grid;
                `cot:0.025` goes on at that share of --lr
rewrite         the rationales are rewritten (`rewrites`)
think           rationales stand between thinking markers (`thinking`)
weigh, shares   what the parts count (`parts`)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from cotdistill.strategies.forms import Strategy
from cotdistill.strategies.parts import shared, weighed
from cotdistill.strategies.rewriting import code_of, rewrite_of, rewritten
from cotdistill.strategies.thinking import thinking


def _behind(strategy: Strategy, text: str) -> Strategy:
    """`cot`, or `cot:0.025`. What a student has learned is lost at the rate that it was learned at: EDIT's second
    stage has a fortieth of it (5e-6 after 2e-4)."""
    first, given, share = text.partition(":")
    try:
        pace = float(share) if given else 1.0
    except ValueError:
        pace = 0.0
    if not 0 < pace <= 1:
        raise ValueError(
            f"after={text}: its share of the learning rate must be above 0 and at most 1, as in {first}:0.1"
        )
    return replace(strategy, after=first, pace=pace)


SHARED: dict[str, Callable[[Strategy, str], Strategy]] = {
    "rewrite": lambda strategy, text: rewritten(strategy, rewrite_of(text), code_of(text)),
    "think": thinking,
    "weigh": weighed,
    "shares": shared,
    "after": _behind,
}


def modified(strategy: Strategy, given: Mapping[str, Any]) -> Strategy:
    """`strategy` with those of `given` that every strategy has; `ValueError` where it cannot honour one."""
    for name, change in SHARED.items():
        if name in given:
            strategy = change(strategy, str(given[name]))
    return strategy


def is_given(name: str, value: Any) -> bool:
    """Whether a parameter is there: `none` unsets one that every strategy has."""
    return name not in SHARED or value not in (None, "none")


def honours(strategy: Strategy, name: str, value: str) -> bool:
    """Whether a strategy can be given this value of a shared parameter (a strategy without rationale cannot)."""
    try:
        modified(strategy, {name: value} if is_given(name, value) else {})
    except ValueError:
        return False
    return True
