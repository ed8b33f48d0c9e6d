"""What somebody's code may do wrong while it is used, said in one line that names its file and line (exit 2)."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from functools import wraps
from typing import ParamSpec, TypeVar

from cotdistill.errors import CotdistillError, UsageError

P = ParamSpec("P")
T = TypeVar("T")
plugin_files: set[str] = set()  # source files of plug-ins: an error is blamed on the deepest of their lines


@contextmanager
def plugin_code(where: str) -> Iterator[None]:
    """Inside runs somebody's code: what it raises becomes a `UsageError`, what it prints goes to stderr."""
    try:
        with redirect_stdout(sys.stderr):
            yield
    except CotdistillError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(f"{where}{_line(error)}: {type(error).__name__}: {error}") from error


def guarded_call(call: Callable[P, T], where: str) -> Callable[P, T]:
    """`call`, run as somebody's code."""

    @wraps(call)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        with plugin_code(where):
            return call(*args, **kwargs)

    return guarded


def _line(error: BaseException) -> str:
    """`, line 12`, of the plug-in's own code; nothing where the error lies elsewhere."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename in plugin_files]
    return f", line {lines[-1]}" if lines else ""
