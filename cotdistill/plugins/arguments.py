"""The arguments of a registered factory: its keyword parameters, their values given as text or as they are."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

from cotdistill.errors import UsageError, did_you_mean
from cotdistill.plugins.guard import plugin_code
from cotdistill.plugins.registry import Registry

LARGEST = 10**9  # what a number of a parameter may be: beyond, a loss is not one any more
PARAMETER = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def parameters(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """What a factory can be given, in the order of its definition."""
    return {name: one for name, one in inspect.signature(factory).parameters.items() if one.kind in PARAMETER}


def arguments(what: str, factory: Callable[..., Any], given: Mapping[str, Any], remedy: str) -> dict[str, Any]:
    """Every argument of `factory`: those given, as the annotated types, and the defaults of the others.

    `what` names it in errors, `remedy` how a missing value is given ("--param NAME=VALUE"). Raises `UsageError`.
    """
    known, hints = parameters(factory), typing.get_type_hints(factory)
    for key in given:
        if key not in known:
            options = f"; it takes {', '.join(known)}" if known else "; it takes none"
            raise UsageError(f"{what} has no parameter {key!r}{did_you_mean(key, known)}{options}")
    values = {key: parameter.default for key, parameter in known.items()}
    values.update({key: _coerce(what, key, value, hints.get(key, str)) for key, value in given.items()})
    if missing := [key for key, value in values.items() if value is inspect.Parameter.empty]:
        raise UsageError(f"{what} needs a value for {missing[0]}: {remedy.replace('NAME', missing[0])}")
    return values


def from_text(registry: Registry[Callable[..., Any]], text: str, option: str) -> tuple[Any, str]:
    """What a registered factory makes of `NAME:VALUE:VALUE`, values in the order of its parameters, and the words by
    which what is made is blamed if it fails. Raises `UsageError`, in which `option` is what the text was given to.
    """
    name, *values = text.split(":")
    entry = registry.get(name, option)
    assert entry.value is not None
    what, names = f"{registry.kind} {name!r}", list(parameters(entry.value))
    if len(values) > len(names):
        raise UsageError(f"{option} {text}: {name} takes {', '.join(names) or 'no value'}")
    given = arguments(what, entry.value, dict(zip(names, values, strict=False)), f"{option} {name}:NAME")
    where = f"{what} of {entry.origin}"
    try:
        with nullcontext() if entry.code is None else plugin_code(where):
            return entry.value(**given), where
    except ValueError as error:
        raise UsageError(f"{option} {text}: {error}") from None


def _coerce(what: str, key: str, value: Any, hint: Any) -> Any:
    """`value` as the annotated type; strings come from the command line."""
    options = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        if value not in options:
            raise UsageError(
                f"{what}: {key} is one of {', '.join(map(str, options))}, not {value!r}"
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
        raise UsageError(f"{what}: {key} takes a {kind}, not {str(value)[:40]!r}") from None
    if hint in (int, float) and not abs(converted) <= LARGEST:  # NaN is not, either
        raise UsageError(f"{what}: {key} takes a number of at most {LARGEST:g}, not {str(value)[:40]!r}")
    return converted
