"""Append-only JSON lines, and what a kill, a full disk or a bad one leaves of them.

A last line without its end is what a kill leaves: it is not read, and the next append cuts it off. Damage before
that is named with its line; with --repair the damaged lines move to FILE.damaged, and what they held is made again.
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
from cotdistill.errors import DataError

T = TypeVar("T")
DAMAGE = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)  # of a line that is parsed


def whole_lines(file: Path) -> list[bytes]:
    """The lines that have their end; split at newlines only, not at what else Unicode calls a line's end."""
    return file.read_bytes().split(b"\n")[:-1]


def read_lines(file: Path, parse: Callable[[bytes], T], repair: bool = False, first: int = 1) -> list[T]:
    """Every whole line from line `first` on, parsed.

    Raises `DataError` with the place of the first that is damaged; with `repair` these are set aside instead.
    """
    found: list[T] = []
    damaged: dict[int, str] = {}
    for number, line in enumerate(whole_lines(file)[first - 1 :], start=first):
        try:
            found.append(parse(line))
        except DAMAGE as error:
            damaged[number] = _short(error)
    if damaged and not repair:
        number, what = next(iter(damaged.items()))
        raise damage_at(file, number, what)
    if damaged:
        set_aside(file, damaged)
    return found


def damage_at(file: Path, number: int, what: str) -> DataError:
    """The complaint about one line of a file that we wrote."""
    return DataError.at(str(file), number, f"damaged ({what})",
                        f"--repair moves it to {file.name}.damaged, and what it held is made again")


def set_aside(file: Path, numbers: Collection[int]) -> None:
    """Move lines to FILE.damaged; the others stay as they are."""
    lines = file.read_bytes().split(b"\n")
    other = file.with_name(file.name + ".damaged")
    append(other, [lines[number - 1] for number in sorted(numbers)])
    write_bytes(file, b"\n".join(line for number, line in enumerate(lines, start=1) if number not in numbers))
    warn(f"{file}: {len(numbers)} damaged lines are now in {other.name}")


def parse_object(line: bytes) -> dict[str, Any]:
    """A line that holds one JSON object; `ValueError` where it does not."""
    found = json.loads(line)
    if not isinstance(found, dict):
        raise ValueError(f"a JSON {type(found).__name__}, not an object")
    return found


def append(file: Path, lines: Iterable[bytes], sync: bool = True) -> None:
    """Add lines behind the last whole one; with `sync` they are on the disk when this returns."""
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        cut_torn_line(file)
        with file.open("ab") as out:
            out.write(b"".join(line + b"\n" for line in lines))
            out.flush()
            if sync:
                os.fsync(out.fileno())


def end_last_line(file: Path, parse: Callable[[bytes], object]) -> None:
    """Give a last line its end where an editor left it out: what can be parsed is whole."""
    lines = file.read_bytes().split(b"\n")
    with suppress(*DAMAGE):
        parse(lines[-1])
        write_bytes(file, b"\n".join([*lines, b""]))


def cut_torn_line(file: Path) -> None:
    """Cut off a last line that has no end."""
    if not file.is_file() or file.stat().st_size == 0:
        return
    with file.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        whole = stream.read(1) == b"\n"
    if not whole:
        os.truncate(file, file.read_bytes().rfind(b"\n") + 1)


def _short(error: BaseException) -> str:
    text = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {text}"[:160] if isinstance(error, KeyError) or not text else text[:160]
