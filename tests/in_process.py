"""The command line inside the test's process: a tenth of a process's start, the same parsing and exit codes."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest.mock import patch

from cotdistill import cli, console


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


def run(*args: str) -> Done:
    """`cotdistill ARGS`, with nothing said before in this process."""
    console._said.clear()
    out, err, code = io.StringIO(), io.StringIO(), 0
    with patch.object(sys, "argv", ["cotdistill", *args]), redirect_stdout(out), redirect_stderr(err):
        try:
            cli.run()
        except SystemExit as done:
            code = int(done.code or 0)
        finally:
            console.console.quiet = False
    return Done(code, out.getvalue(), err.getvalue())
