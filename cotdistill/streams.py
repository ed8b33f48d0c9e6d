"""The standard streams of the process, made safe before anything is written or imported."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import Any


def prepare_streams() -> None:
    """Closed standard streams become empty ones, and no text ends a command because a terminal cannot show it.

    A descriptor that is closed (`>&-`) would otherwise be given to the next file that is opened.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
        if getattr(sys, name) is None:
            stream = open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8")  # JSON lines, whatever the locale
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # --help; data is escaped instead (`emit`)
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(_Notes(2)), sys.stderr.encoding, "backslashreplace", line_buffering=True
    )


class _Notes(io.RawIOBase):
    """Messages for people: what the descriptor cannot take (full, or closed) is dropped, and the command goes on."""

    def __init__(self, number: int) -> None:
        self.number = number

    def fileno(self) -> int:
        """The descriptor."""
        return self.number

    def isatty(self) -> bool:
        """Whether people watch."""
        return os.isatty(self.number)

    def writable(self) -> bool:
        """It is only written."""
        return True

    def write(self, content: Any) -> int:
        """As much as the descriptor takes."""
        try:
            return os.write(self.number, content)
        except OSError:
            return len(content)


def drop(stream: Any) -> None:
    """Point a stream that fails at nothing, so that Python's last flush does not change the exit code."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
