"""The two streams: data to stdout (JSON lines), everything for people to stderr."""

from __future__ import annotations

import codecs
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text
from rich.theme import Theme

from cotdistill.errors import OutputError
from cotdistill.escaping import json_text, one_line, visible
from cotdistill.redaction import redacted
from cotdistill.streams import drop

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

STYLES = Theme({"note": "dim", "warn": "yellow", "bad": "bold red"})


class PlainConsole(Console):
    """Prints text as it is: no markup or emoji codes are read in it, no control or bidi character leaves it.

    Strings are escaped on entry, so that tables measure what they show; everything else on output.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        """A string (a table's cell, a title, an argument of print) as rich's Text."""
        return super().render_str(visible(redacted(text)), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The pieces that are written; rich's own control sequences (of a progress bar) pass."""
        for piece in super().render(renderable, options):
            yield piece if piece.control else Segment(visible(piece.text), piece.style)


# A file has no width: wide enough that no table wraps.
console = PlainConsole(
    stderr=True, highlight=False, markup=False, emoji=False, theme=STYLES, width=None if sys.stderr.isatty() else 200
)
_said: set[str] = set()


def is_main_process() -> bool:
    """True on rank 0: only that process reads stdin and writes to stdout and stderr."""
    return os.environ.get("RANK", "0") == "0"


def emit(record: Mapping[str, Any]) -> None:
    """Write one JSON line to stdout and flush it, so that the next command in the pipe can start.

    Raises `OutputError` where stdout is full; a closed pipe stays a `BrokenPipeError`.
    """
    if not is_main_process():
        return
    try:
        sys.stdout.write(_json_line(record))
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        drop(sys.stdout)
        raise OutputError(f"cannot write stdout: {error.strerror or error}") from error


def _json_line(record: Mapping[str, Any]) -> str:
    """Plain text where stdout is UTF-8; JSON escapes for a terminal, and for what the encoding cannot hold."""
    if sys.stdout.isatty():
        return json_text(record) + "\n"
    line = json.dumps(record, ensure_ascii=False)
    try:
        if codecs.lookup(getattr(sys.stdout, "encoding", None) or "utf-8").name == "utf-8":
            line.encode()
            return line + "\n"
    except UnicodeEncodeError:
        pass
    return json.dumps(record) + "\n"


def say(text: str, style: str = "note") -> None:
    """One line for people, on stderr; registered secrets are masked."""
    if is_main_process():
        console.print(one_line(redacted(text)), style=style, soft_wrap=True)


def show(*what: RenderableType) -> None:
    """Tables and texts of several lines for people, on stderr."""
    if is_main_process():
        console.print(*what)


def warn(text: str) -> None:
    """A warning for people, on stderr."""
    say(f"warning: {text}", "warn")


def warn_once(text: str) -> None:
    """A warning that is shown once per process."""
    if text not in _said:
        _said.add(text)
        warn(text)


def silence(quiet: bool = True) -> None:
    """`--quiet`: tables, bars, notes and warnings are not shown; errors still are. False: they are again."""
    console.quiet = quiet


def duration(seconds: float) -> str:
    """`8.3 s`, `4 min`, `2.5 h`."""
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


class Bars:
    """Several progress bars at once, known by name."""

    def __init__(self, shown: Progress) -> None:
        self.shown = shown
        self.tasks: dict[str, TaskID] = {}

    def show(self, name: str, done: int, total: int | None, note: str = "") -> None:
        """Update the progress of `name`."""
        if name not in self.tasks:
            self.tasks[name] = self.shown.add_task(name, total=total, note=note)
        self.shown.update(self.tasks[name], completed=done, total=total, note=note)


_bars: list[Progress] = []  # the bars shown now, which new ones join
_forward: list[Callable[[str, int, int | None], None]] = []  # how a worker reports its progress


def forward_progress(send: Callable[[str, int, int | None], None]) -> None:
    """In a worker: progress bars report to the main process as (what, done, total)."""
    _forward[:] = [send]


@contextmanager
def progress_bars() -> Iterator[Bars | None]:
    """Bars when stderr is a terminal, otherwise None."""
    if not (console.is_terminal and not console.quiet and is_main_process()):
        yield None
        return
    with _shown() as shown:
        _bars.append(shown)
        try:
            yield Bars(shown)
        finally:
            _bars.pop()


def _shown() -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    return Progress(*columns, console=console, transient=True)


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int, str], None]]:
    """A progress bar when stderr is a terminal, otherwise one line per minute. Yields `advance(steps, note)`."""
    if _forward:
        yield _forwarded(what, total, _forward[0])
    elif not (console.is_terminal and is_main_process()):
        yield _forwarded(what, total, _tell, EVERY_MINUTE)
    elif _bars:
        task = _bars[-1].add_task(what, total=total, note="")
        try:
            yield lambda steps, note: _bars[-1].update(task, advance=steps, note=note)
        finally:
            _bars[-1].remove_task(task)
    else:
        with _shown() as shown:
            task = shown.add_task(what, total=total, note="")
            yield lambda steps, note: shown.update(task, advance=steps, note=note)


EVERY_MINUTE, OFTEN = 60.0, 0.5  # seconds between two messages


def _forwarded(
    what: str, total: int | None, send: Callable[[str, int, int | None], None], every: float = OFTEN
) -> Callable[[int, str], None]:
    done, last = 0, time.monotonic()

    def advance(steps: int, note: str) -> None:
        nonlocal done, last
        done += steps
        if time.monotonic() - last > every:
            last = time.monotonic()
            send(what, done, total)

    return advance


def _tell(what: str, done: int, total: int | None) -> None:
    say(f"{what}: {done}" + (f" of {total}" if total else ""))
