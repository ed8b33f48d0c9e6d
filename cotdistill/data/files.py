"""Writing and digesting files: nothing half-written, a full disk reported in one line."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cotdistill.errors import OutputError

LINKS = 40  # symbolic links followed before a path counts as a loop, as in Linux
JsonObject = dict[str, Any]


def write_text(path: Path, text: str) -> None:
    """`write_bytes` in UTF-8; half a surrogate pair, which UTF-8 cannot hold, becomes its JSON escape."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write aside, flush to the disk, rename: a reader sees the old file or the new one, never half of one.

    A symbolic link is followed. A pipe, a device and /dev/stdout are written through: they must stay what they
    are. Raises `OutputError` (exit 8) where that is not possible, and leaves no temporary file.
    """
    with writing(path):
        target = regular_file(path)
        if target is None:
            _write_through(path, content)
        else:
            _replace(target, [content])


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """`write_text` of lines as they are made, without holding them all; nothing is left where making one raises."""
    content = (f"{line}\n".encode("utf-8", "backslashreplace") for line in lines)
    with writing(path):
        target = regular_file(path)
        if target is None:
            _write_through(path, b"".join(content))
        else:
            _replace(target, content)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """A JSON object, indented for people."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def regular_file(path: Path) -> Path | None:
    """The file that an output path leads to, links followed; None: a pipe, a device or an open descriptor.

    Raises `IsADirectoryError` for a directory, `PermissionError` for a file that may not be written.
    """
    if _descriptor(path) is not None:
        return None
    target = Path(os.path.realpath(path))
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return target
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a directory", str(path))
    if not os.access(path, os.W_OK):  # a rename would replace even a write-protected file
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    return target if stat.S_ISREG(mode) else None


def check_file(path: Path) -> None:
    """Fail now if an output file could not be written when the work is done."""
    with writing(path):
        target = regular_file(path)
        if target is not None:
            _check_writable(target.parent)


def check_folder(path: Path) -> None:
    """Fail now if a path cannot be an output directory."""
    with writing(path):
        _check_writable(Path(os.path.realpath(path)))


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which appears under its name, in place of the old one, only when the block ends well."""
    with writing(path):
        final = Path(os.path.realpath(path))
        aside = final.with_name(f".{final.name}.tmp")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        try:
            yield aside
            for file in aside.rglob("*"):
                if file.is_file():
                    with file.open("rb") as written:
                        os.fsync(written.fileno())  # a rename must not survive a power cut that its content does not
            remove(final)
            os.replace(aside, final)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise


def remove(path: Path) -> None:
    """Remove a folder with all its content, or a file; do nothing where neither exists."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns the system's message about a failed write into one line and exit code 8; a closed pipe is passed on."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    except Exception as error:  # safetensors and tokenizers (Rust) put the system's message into a text
        reason = re.search(r"([^:]+) \(os error \d+\)", str(error))
        if reason is None:
            raise
        raise OutputError(f"cannot write {path}: {reason[1].strip()}") from error


def file_digest(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def json_digest(value: Any) -> str:
    """sha256 of the canonical JSON of a value."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def _replace(target: Path, content: Iterable[bytes]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.tmp")
    try:
        with aside.open("wb") as out:
            out.writelines(content)
            out.flush()
            os.fsync(out.fileno())
        if target.exists():
            shutil.copymode(target, aside)
        os.replace(aside, target)
    except BaseException:
        with suppress(OSError):
            aside.unlink()
        raise


def _write_through(path: Path, content: bytes) -> None:
    number = _descriptor(path)
    if number in (1, 2):
        (sys.stdout if number == 1 else sys.stderr).flush()
    with open(path if number is None else number, "wb", closefd=number is None) as out:
        out.write(content)


def _descriptor(path: Path) -> int | None:
    """N where a path means this process's open file N, as /dev/stdout and /dev/fd/N do.

    Its own offset counts (`>> log`), and under /proc it looks like a link to the file behind it.
    """
    here = {f"/proc/{os.getpid()}/fd", "/dev/fd"}
    current = os.path.abspath(path)
    for _ in range(LINKS):
        folder, name = os.path.split(current)
        if name.isdigit() and os.path.realpath(folder) in here:
            return int(name)
        if not os.path.islink(current):
            return None
        current = os.path.normpath(os.path.join(folder, os.readlink(current)))
    return None


def _check_writable(folder: Path) -> None:
    """The nearest existing ancestor must be a folder in which we may write."""
    near = next(parent for parent in (folder, *folder.parents) if parent.exists() or parent.is_symlink())
    if not near.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{near} is not a directory")
    if not os.access(near, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(near))
