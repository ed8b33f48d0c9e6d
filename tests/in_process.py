"""The command line inside the test's process: a tenth of a process's start, the same parsing and exit codes."""

from __future__ import annotations

import io
import sys
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest.mock import patch

from cotdistill import boundary, cli, console


@dataclass(frozen=True)
class Done:
    """What a command left: its exit code and both streams."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The lines of stderr that begin with `error:`."""
        return [line for line in self.err.splitlines() if line.startswith("error:")]


def run(*args: str, stdin: str | bytes = "") -> Done:
    """`cotdistill ARGS`, with `stdin` piped into it, and nothing said before in this process."""
    console._said.clear()
    raw = io.BufferedReader(io.BytesIO(stdin.encode() if isinstance(stdin, str) else stdin))
    out, err, code = io.StringIO(), io.StringIO(), 0
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
    return Done(code, out.getvalue(), err.getvalue())
