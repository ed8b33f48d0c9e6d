"""Strategies by name: the papers' own and those of plug-ins.

    @strategy("rationale-twice")
    def rationale_twice(alpha: float = 0.5) -> Strategy: ...

A factory's keyword arguments are the strategy's parameters; their values are recorded in the run card, as are those
of the parameters that every strategy has (`shared_parameters`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from cotdistill.data.files import json_digest
from cotdistill.errors import UsageError
from cotdistill.plugins.arguments import arguments, parameters
from cotdistill.plugins.guard import plugin_code
from cotdistill.plugins.kinds import STRATEGIES, strategy
from cotdistill.plugins.registry import Entry
from cotdistill.strategies.forms import Strategy
from cotdistill.strategies.guard import guarded
from cotdistill.strategies.shared_parameters import SHARED, honours, is_given, modified

__all__ = ["create", "entries", "strategy", "takes"]

Factory = Callable[..., Strategy]


def entries() -> list[Entry[Factory]]:
    """Every registered strategy in the order of registration, broken plug-ins included."""
    return STRATEGIES.entries()


def create(name: str, params: Mapping[str, Any] | None = None) -> Strategy:
    """The strategy of that name; parameters may be strings, as the command line gives them."""
    entry = STRATEGIES.get(name)
    factory = entry.value
    assert factory is not None
    given = dict(params or {})
    for_any = {key: given.pop(key) for key in SHARED if key in given and key not in parameters(factory)}
    for_any = {key: value for key, value in for_any.items() if is_given(key, value)}
    where = f"strategy {name!r} of {entry.origin}"
    with plugin_code(where):
        chosen = arguments(f"strategy {name!r}", factory, given, "--param NAME=VALUE")
    try:
        made = _made(factory, chosen) if entry.code is None else _made_by_plugin(factory, chosen, where)
        made = replace(made, name=name, params={**chosen, **for_any}, code=entry.code)
        changed = modified(guarded(made, where) if entry.code is not None else made, for_any)
        return changed if changed.after is None else _chained(changed, create(changed.after))
    except ValueError as error:
        raise UsageError(f"strategy {name!r}: {error}") from None


def takes(name: str, param: str, value: str) -> bool:
    """Whether a strategy has a parameter: one of its own, or one of those that all have and that it can honour."""
    made = create(name)
    return param in made.params or (param in SHARED and honours(made, param, value))


def _chained(strategy: Strategy, first: Strategy) -> Strategy:
    """A strategy behind another: whatever code either comes from defines the result."""
    codes = [one for one in (strategy.code, first.code) if one is not None]
    return replace(strategy, code=json_digest(codes) if len(codes) > 1 else next(iter(codes), None))


def _made(factory: Factory, chosen: Mapping[str, Any]) -> Strategy:
    return factory(**chosen)


def _made_by_plugin(factory: Factory, chosen: Mapping[str, Any], where: str) -> Strategy:
    with plugin_code(where):
        made = factory(**chosen)
    if not isinstance(made, Strategy):
        raise UsageError(f"{where}: its factory returned a {type(made).__name__}, not a Strategy")
    return made
