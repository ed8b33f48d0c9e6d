"""Strategies by name: the papers' own and those of plug-ins.

    @strategy("rationale-twice")
    def rationale_twice(alpha: float = 0.5) -> Strategy: ...

A factory's keyword arguments are the strategy's parameters; their values are recorded in the run card.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from cotdistill.errors import UsageError, did_you_mean
from cotdistill.plugins.guard import plugin_code
from cotdistill.plugins.kinds import STRATEGIES, strategy
from cotdistill.plugins.registry import Entry
from cotdistill.strategies.forms import Strategy
from cotdistill.strategies.guard import guarded

__all__ = ["create", "entries", "strategy"]

Factory = Callable[..., Strategy]
LARGEST = 10**9  # what a number of a parameter may be: beyond, a loss is not one any more


def entries() -> list[Entry[Factory]]:
    """Every registered strategy in the order of registration, broken plug-ins included."""
    return STRATEGIES.entries()


def create(name: str, params: Mapping[str, Any] | None = None) -> Strategy:
    """The strategy of that name; parameters may be strings, as the command line gives them."""
    entry = STRATEGIES.get(name)
    factory = entry.value
    assert factory is not None
    where = f"strategy {name!r} of {entry.origin}"
    with plugin_code(where):
        hints = typing.get_type_hints(factory)
    chosen = _arguments(name, factory, hints, params or {})
    if entry.code is None:
        try:
            own: Strategy = factory(**chosen)
            return replace(own, name=name, params=chosen)
        except ValueError as error:
            raise UsageError(f"strategy {name!r}: {error}") from None
    with plugin_code(where):
        created = factory(**chosen)
    if not isinstance(created, Strategy):
        raise UsageError(f"{where}: its factory returned a {type(created).__name__}, not a Strategy")
    return guarded(replace(created, name=name, params=chosen, code=entry.code), where)


def _arguments(name: str, factory: Factory, hints: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    known = {
        key: parameter
        for key, parameter in inspect.signature(factory).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    for key in params:
        if key not in known:
            options = f"; it takes {', '.join(known)}" if known else "; it takes none"
            raise UsageError(f"strategy {name!r} has no parameter {key!r}{did_you_mean(key, known)}{options}")
    values = {key: parameter.default for key, parameter in known.items()}
    values.update({key: _coerce(name, key, value, hints.get(key, str)) for key, value in params.items()})
    if missing := [key for key, value in values.items() if value is inspect.Parameter.empty]:
        raise UsageError(f"strategy {name!r} needs a value for {missing[0]}: --param {missing[0]}=VALUE")
    return values


def _coerce(name: str, key: str, value: Any, hint: Any) -> Any:
    """`value` as the annotated type; strings come from `--param NAME=VALUE`."""
    options = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        if value not in options:
            raise UsageError(
                f"strategy {name!r}: {key} is one of {', '.join(map(str, options))}, not {value!r}"
                f"{did_you_mean(str(value), map(str, options))}"
            )
        return value
    if type(None) in options:  # Optional[X]
        if value is None or str(value).lower() == "none":
            return None
        hint = next(option for option in options if option is not type(None))
    try:
        if hint is bool:
            return {"true": True, "false": False}[str(value).lower()]
        converted = hint(value)
    except Exception:  # of a plug-in's own type, whatever it raises
        kind = {int: "whole number", float: "number"}.get(hint) or getattr(hint, "__name__", str(hint))
        raise UsageError(f"strategy {name!r}: {key} takes a {kind}, not {str(value)[:40]!r}") from None
    if hint in (int, float) and not abs(converted) <= LARGEST:  # NaN is not, either
        raise UsageError(f"strategy {name!r}: {key} takes a number of at most {LARGEST:g}, not {str(value)[:40]!r}")
    return converted
