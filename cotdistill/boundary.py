"""Where the command line meets the pipelines: options become a config, exceptions an exit code."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import typer

from cotdistill import console
from cotdistill.config import Config
from cotdistill.config.option import options_of
from cotdistill.errors import CotdistillError, Exit, UsageError
from cotdistill.escaping import visible
from cotdistill.redaction import redacted

C = TypeVar("C", bound=Config)
CommandLineError: type[Exception] = typer.BadParameter.__bases__[0]  # click's UsageError, wherever Typer keeps click
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}  # what only a write can meet
_debug = False


def start(cls: type[C], options: dict[str, Any]) -> C:
    """The frozen config of a command from its options; loads plug-ins."""
    set_common(options.pop("quiet"), options.pop("debug"))
    config = cls.build(options.pop("config"), **{name: value for name, value in options.items() if value != []})
    use_plugins(config)
    return config


def use_plugins(config: Config) -> None:
    """Load a config's plug-ins; refuse names that nobody registered, before anything heavy is loaded."""
    load_plugins(config.plugin)
    for option in options_of(type(config)).values():
        registry = option.plugins
        if registry is None:
            continue
        held = getattr(config, option.section) if option.section else config
        value = getattr(held, option.field)
        for name in value if isinstance(value, tuple) else (value,):
            if name not in registry.reserved:
                registry.get(name, option.name)


def load_plugins(files: Iterable[Path]) -> None:
    """Import the files named by --plugin."""
    from cotdistill.plugins.files import load_plugin

    for file in files:
        load_plugin(file)


def run(app: Callable[..., Any]) -> NoReturn:
    """Exceptions become one line on stderr and an exit code."""
    code = Exit.DONE
    try:
        code = app(standalone_mode=False) or Exit.DONE  # --help, --version and Ctrl-C come back as a number
    except CommandLineError as error:
        if line := _one_line(error):
            _fail(line, Exit.USAGE, error)
        sys.exit(Exit.USAGE)  # no command given: Typer has shown the help
    except CotdistillError as error:
        _fail(str(error), error.code, error)
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    except OSError as error:
        if error.errno in FULL:
            _fail(f"cannot write{f' {error.filename}' if error.filename else ''}: {error.strerror}", Exit.OUTPUT, error)
        if error.filename is not None:  # every output is written inside `files.writing`: this is an input
            name = str(error.filename)
            _fail(
                f"{name if len(name) <= 200 else name[:197] + '...'}: cannot be read ({error.strerror}); "
                "check the path and its permissions",
                Exit.BAD_DATA,
                error,
            )
        _fail(f"{type(error).__name__}: {error} (a bug of cotdistill; --debug shows where)", Exit.BUG, error)
    except Exception as error:  # the boundary: whatever is left is a bug of ours
        _fail(f"{type(error).__name__}: {error} (a bug of cotdistill; --debug shows where)", Exit.BUG, error)
    sys.exit(code)


def _one_line(error: Any) -> str:
    """What Typer says of an option, without pydantic's prefix and Typer's frames."""
    where = error.ctx.command_path if error.ctx is not None else "cotdistill"
    message = error.format_message().replace("Value error, ", "").strip().removesuffix(".")
    return f"{message} (try: {where} --help)" if message else ""


def _fail(line: str, code: Exit, error: BaseException) -> NoReturn:
    if _debug:
        sys.stderr.write(visible(redacted("".join(traceback.format_exception(error)))))
    console.console.quiet = False
    console.say(f"error: {line}", "bad")
    sys.exit(code)


def set_common(quiet: bool, debug: bool) -> None:
    """What --quiet and --debug mean, for commands without a config."""
    global _debug
    _debug = debug
    if quiet:
        console.silence()


def source_of(rows: str | None, what: str) -> str:
    """A path, or `-` where stdin is not a terminal."""
    if rows is None and sys.stdin.isatty():
        raise UsageError(f"no {what}: give a file, or pipe in the output of the previous command")
    return rows or "-"


def check_strategy_name(name: str, params: Mapping[str, str]) -> None:
    """Complain about a strategy before torch is imported."""
    from cotdistill.strategies.registry import create

    create(name, params)
