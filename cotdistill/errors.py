"""Exit codes and the exceptions that carry them.

Every failure a user can cause is a `CotdistillError` with one clear line and a remedy; `cli` turns it
into an exit code at one boundary. Anything else that escapes is a bug of ours (exit 1).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum


class Exit(IntEnum):
    """Process exit codes; scripts rely on them (README, "Exit codes")."""

    DONE = 0
    BUG = 1
    USAGE = 2
    BAD_DATA = 3
    NOTHING_LEFT = 4
    PARTIAL = 5
    UNAVAILABLE = 6
    DIFFERENCE = 7
    OUTPUT = 8
    INTERRUPTED = 130


class CotdistillError(Exception):
    """A failure with an exit code; `str(error)` is the one line shown to the user."""

    code: Exit = Exit.BUG


class UsageError(CotdistillError):
    """Wrong option, unknown name, impossible combination (exit 2)."""

    code = Exit.USAGE


class DataError(CotdistillError):
    """Bad rows (exit 3). Prefix the message with `file:line: ` where a line is known."""

    code = Exit.BAD_DATA

    @classmethod
    def at(cls, source: str, line: int | None, what: str, remedy: str) -> DataError:
        """`source:line: what; remedy`, the form of every error about data: one line, whatever it quotes."""
        place = source if line is None else f"{source}:{line}"
        return cls(" ".join(f"{place}: {what}; {remedy}".splitlines()))


class NothingLeft(CotdistillError):
    """No usable row, rationale or example remained (exit 4)."""

    code = Exit.NOTHING_LEFT


class Partial(CotdistillError):
    """The command finished, but rows or cells failed (exit 5)."""

    code = Exit.PARTIAL


class Unavailable(CotdistillError):
    """A model, server, device or optional extra is not available (exit 6)."""

    code = Exit.UNAVAILABLE


class Difference(CotdistillError):
    """`verify` found a difference (exit 7)."""

    code = Exit.DIFFERENCE


class OutputError(CotdistillError):
    """The output could not be written (exit 8)."""

    code = Exit.OUTPUT


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` (did you mean "x"?)` for the closest known name, else an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f' (did you mean "{close[0]}"?)' if close else ""


def missing_extra(extra: str, purpose: str) -> Unavailable:
    """The error for an optional dependency that is not installed."""
    return Unavailable(f"{purpose} needs an optional package; install it with: pip install 'cotdistill[{extra}]'")
