"""The two streams: data to stdout (JSON lines), everything for people to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.theme import Theme

if TYPE_CHECKING:
    from collections.abc import Callable

STYLES = Theme({"note": "dim", "warn": "yellow", "bad": "bold red"})
# A file has no width of its own: wide enough that no table wraps.
console = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else 200, theme=STYLES)
_said: set[str] = set()


def is_main_process() -> bool:
    """True on rank 0: only that process reads stdin, writes stdout and speaks."""
    return os.environ.get("RANK", "0") == "0"


def emit(record: Mapping[str, Any]) -> None:
    """Write one JSON line to stdout and flush it, so that the next command in the pipe can start."""
    if is_main_process():
        sys.stdout.write(json.dumps(record, ensure_ascii=False) + "\n")
        sys.stdout.flush()


def say(text: str, style: str = "note") -> None:
    """One line for people, on stderr."""
    if is_main_process():
        console.print(text, style=style, markup=False, soft_wrap=True)


def warn(text: str) -> None:
    """A warning for people, on stderr."""
    say(f"warning: {text}", "warn")


def warn_once(text: str) -> None:
    """The same warning is said once per process."""
    if text not in _said:
        _said.add(text)
        warn(text)


def silence() -> None:
    """`--quiet`: tables, bars, notes and warnings are not shown; errors still are."""
    console.quiet = True


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int, str], None]]:
    """A progress bar when stderr is a terminal, otherwise nothing. Yields `advance(steps, note)`."""
    if not (console.is_terminal and is_main_process()):
        yield lambda steps, note: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
               TextColumn("{task.fields[note]}"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total, note="")
        yield lambda steps, note: bar.update(task, advance=steps, note=note)
