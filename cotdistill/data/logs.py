"""Append-only JSON lines, and how they survive a kill, a full disk or a bad one.

A kill leaves a last line without its end: it is not read, and the next append cuts it off. Damage before
that is named with its line; with --repair the damaged lines move to FILE.damaged, and their content is made again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from cotdistill.console import warn
from cotdistill.data.files import write_bytes, writing
from cotdistill.errors import DataError, OutputError

T = TypeVar("T")
DAMAGE = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)  # of a line that is parsed


def whole_lines(file: Path) -> list[bytes]:
    """The complete lines; split at newlines only, not at Unicode's other line ends."""
    refuse_irregular(file)
    return file.read_bytes().split(b"\n")[:-1]


def read_lines(file: Path, parse: Callable[[bytes], T], repair: bool = False, first: int = 1) -> list[T]:
    """Every whole line from line `first` on, parsed.

    Raises `DataError` with the place of the first damaged one; with `repair` damaged lines are set aside instead.
    """
    parsed: list[T] = []
    damaged: dict[int, str] = {}
    for number, line in enumerate(whole_lines(file)[first - 1 :], start=first):
        try:
            parsed.append(parse(line))
        except DAMAGE as error:
            damaged[number] = _short(error)
    if damaged and not repair:
        number, what = next(iter(damaged.items()))
        raise damage_at(file, number, what)
    if damaged:
        set_lines_aside(file, damaged)
    return parsed


def damage_at(file: Path, number: int, what: str) -> DataError:
    """The error about one line of a file that we wrote."""
    return DataError.at(
        str(file), number, f"damaged ({what})", f"--repair moves it to {file.name}.damaged and redoes its work"
    )


def set_lines_aside(file: Path, numbers: Collection[int]) -> None:
    """Move lines to FILE.damaged; the others stay unchanged."""
    lines = file.read_bytes().split(b"\n")
    other = file.with_name(file.name + ".damaged")
    append(other, [lines[number - 1] for number in sorted(numbers)])
    write_bytes(file, b"\n".join(line for number, line in enumerate(lines, start=1) if number not in numbers))
    warn(f"{file}: {len(numbers)} damaged lines are now in {other.name}")


def parse_object(line: bytes) -> dict[str, Any]:
    """A line that holds one JSON object; `ValueError` where it does not."""
    value = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError(f"a JSON {type(value).__name__}, not an object")
    return value


def append(file: Path, lines: Iterable[bytes], sync: bool = True) -> None:
    """Append lines after the last whole one; with `sync` they are on disk when this returns."""
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        cut_torn_line(file)
        with file.open("ab") as out:
            out.write(b"".join(line + b"\n" for line in lines))
            out.flush()
            if sync:
                os.fsync(out.fileno())


def end_last_line(file: Path, parse: Callable[[bytes], object]) -> None:
    """Add a newline to the last line where an editor left it out: a line that can be parsed is whole."""
    lines = file.read_bytes().split(b"\n")
    with suppress(*DAMAGE):
        parse(lines[-1])
        write_bytes(file, b"\n".join([*lines, b""]))


def cut_torn_line(file: Path) -> None:
    """Cut off a last line that has no end."""
    refuse_irregular(file)
    if not file.is_file() or file.stat().st_size == 0:
        return
    with file.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        whole = stream.read(1) == b"\n"
    if not whole:
        os.truncate(file, file.read_bytes().rfind(b"\n") + 1)


def refuse_irregular(file: Path) -> None:
    """Raise `OutputError` for a pipe, a device or a directory: nothing that is appended to one can be read back."""
    if file.exists() and not file.is_file():
        raise OutputError(f"cannot write {file}: it is not a regular file, and what it holds must be read back")


def _short(error: BaseException) -> str:
    text = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {text}"[:160] if isinstance(error, KeyError) or not text else text[:160]
