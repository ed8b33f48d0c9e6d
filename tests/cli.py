"""The command line inside this process: what a subprocess would answer, without the seconds of loading torch."""

from __future__ import annotations

import io
import sys
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest.mock import patch

from cotdistill import boundary, cli, console


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it wrote."""

    code: int
    stdout: str
    stderr: str

    @property
    def errors(self) -> list[str]:
        """The lines of stderr that say what is wrong."""
        return [line for line in self.stderr.splitlines() if line.startswith("error: ")]


def call(*args: str, stdin: str | bytes = "") -> Done:
    """`cotdistill ARGS`, with `stdin` piped into it."""
    raw = io.BufferedReader(io.BytesIO(stdin.encode() if isinstance(stdin, str) else stdin))
    out, err = io.StringIO(), io.StringIO()
    with ExitStack() as stack:
        stack.enter_context(patch.object(sys, "argv", ["cotdistill", *args]))
        stack.enter_context(patch.object(sys, "stdin", io.TextIOWrapper(raw, encoding="utf-8")))
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        try:
            cli.run()
        except SystemExit as done:
            code = int(done.code or 0)
        finally:
            boundary._debug, console.console.quiet = False, False
            console._said.clear()
    return Done(code, out.getvalue(), err.getvalue())
