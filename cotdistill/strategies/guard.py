"""What a plug-in's code may do wrong while it is used, said in one line that names its file (exit 2)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from functools import wraps
from typing import Any

from cotdistill.errors import CotdistillError, UsageError
from cotdistill.strategies.forms import SLOTS, Draft, Fill, FillContext, Slots, Strategy, Tokens


@contextmanager
def plugin_code(where: str) -> Iterator[None]:
    """Inside runs somebody's code: what it raises becomes a `UsageError`, what it prints goes to stderr."""
    try:
        with redirect_stdout(sys.stderr):
            yield
    except CotdistillError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(f"{where}: {type(error).__name__}: {error}") from error


def guarded(strategy: Strategy, where: str) -> Strategy:
    """The strategy, its own functions called through `plugin_code`."""
    reweight = strategy.reweight
    return replace(strategy, fill=_checked(strategy.fill, where),
                   reweight=None if reweight is None else _called(reweight, where))


def _called(call: Callable[..., Any], where: str) -> Callable[..., Any]:
    @wraps(call)
    def through(*arguments: Any) -> Any:
        with plugin_code(where):
            return call(*arguments)

    return through


def _checked(own: Fill, where: str) -> Fill:
    """`fill`, its result held against what forms read."""
    fill = _called(own, where)

    @wraps(own)
    def through(draft: Draft, context: FillContext) -> Slots:
        slots = fill(draft, context)
        if not isinstance(slots, Mapping) or not all(isinstance(slots.get(slot), str | Tokens) for slot in SLOTS):
            raise UsageError(f"{where}: its fill gives {slots!r:.80}, not a text or Tokens for {' and '.join(SLOTS)}")
        return slots

    return through
