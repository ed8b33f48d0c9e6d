"""Opens a user's input as text: a file, a pipe or stdin, compressed or not.

Everything is read once and in order, so that a FIFO or `<(a process substitution)` works. The format is
told by its first bytes, not by its name: names lie, and /dev/fd/63 has no suffix.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from cotdistill.errors import DataError, did_you_mean

STDIN = "-"
PEEKED = 4096  # bytes that tell what a file is
PARQUET = b"PAR1"
COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
# (first bytes, what it is, remedy): formats that people give and nothing here reads
FOREIGN = (
    (b"PK\x03\x04", "is a ZIP archive or an Excel workbook", "unpack it, or save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "is an Excel workbook", "save the sheet as CSV"),
    (b"ARROW1", "is an Arrow file", "save it as Parquet or JSON lines"),
    (b"SQLite format 3", "is a SQLite database", "export the table as CSV"),
    (b"version https://git-lfs", "is a Git LFS pointer, not the file", "fetch it with: git lfs pull"),
)
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def shown(source: str | Path) -> str:
    """The name of an input in messages."""
    return "stdin" if str(source) == STDIN else str(source)


def stem(source: str | Path) -> str:
    """The first part of a file's name; a pipe has no name and is called stdin."""
    if str(source) == STDIN or str(source).startswith(("/dev/", "/proc/")):
        return "stdin"
    return Path(source).name.split(".")[0]


def title(source: str | Path) -> str:
    """A file's name without its suffix."""
    name = Path(source).name
    packed = Path(name).suffix.lower() in COMPRESSED_SUFFIXES
    return "stdin" if stem(source) == "stdin" else Path(Path(name).stem if packed else name).stem


def is_pipe(source: str | Path) -> bool:
    """Whether an input can be read only once."""
    path = Path(source)
    return str(source) == STDIN or (path.exists() and not path.is_file() and not path.is_dir())


def suffix(source: str | Path) -> str:
    """`.csv` of x.csv, X.CSV and x.csv.gz."""
    path = Path(str(source).lower())
    return Path(path.stem).suffix if path.suffix in COMPRESSED_SUFFIXES else path.suffix


@contextmanager
def opened(source: str | Path) -> Iterator[io.BufferedReader]:
    """The unpacked bytes of an input. Raises `DataError` where it cannot be read or is of an unknown kind."""
    try:
        with _raw(source) as raw, _unpacked(raw) as stream:
            first = stream.peek(PEEKED)
            for magic, what, remedy in FOREIGN:
                if first.startswith(magic):
                    raise DataError.at(shown(source), None, what, remedy)
            yield stream
    except (gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError) as error:
        raise DataError.at(shown(source), None, f"cannot be decompressed: {error}", "copy or create it again") from None
    except (OSError, ValueError) as error:
        if isinstance(error, (UnicodeError, BlockingIOError)):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError.at(shown(source), None, f"cannot be read: {reason}", "check the file") from None


def text_stream(stream: io.BufferedReader, name: str, newline: str | None = None) -> io.TextIOWrapper:
    """A byte stream as UTF-8 text without its byte-order mark; other bytes turn into surrogates.

    Surrogates cannot come from UTF-8, so `check_utf8` finds the exact line. UTF-16 is refused at once.
    """
    first = stream.peek(PEEKED)[:PEEKED]
    if first.startswith(UTF_16) or b"\x00" in first[:2]:
        raise DataError.at(name, None, "is UTF-16 or UTF-32 text, not UTF-8", convert("UTF-16"))
    return io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline=newline)


def check_utf8(line: str, name: str, number: int) -> None:
    """Raises `DataError` for a line that was not UTF-8."""
    if line.isascii():
        return
    try:
        line.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError.at(
            name, number, "is not UTF-8 (probably Latin-1 or Windows-1252)", convert("WINDOWS-1252")
        ) from None


def convert(encoding: str) -> str:
    """The remedy for another encoding."""
    return f"convert it: iconv -f {encoding} -t UTF-8 FILE > FILE.utf8"


@contextmanager
def _raw(source: str | Path) -> Iterator[io.BufferedReader]:
    if str(source) == STDIN:
        binary = getattr(sys.stdin, "buffer", None)
        yield binary if binary is not None else io.BufferedReader(io.BytesIO(sys.stdin.read().encode()))
        return
    path = Path(source)
    if path.is_dir():
        raise DataError.at(str(source), None, "is a directory", "name a file in it")
    if not path.exists():
        near = did_you_mean(path.name, (p.name for p in path.parent.glob("*"))) if path.parent.is_dir() else ""
        raise DataError.at(str(source), None, f"no such file{near}", "check the path")
    with path.open("rb") as stream:
        yield stream


@contextmanager
def _unpacked(raw: io.BufferedReader) -> Iterator[io.BufferedReader]:
    first = raw.peek(PEEKED)
    unpack = next((unpack for magic, unpack in UNPACKERS if first.startswith(magic)), None)
    if unpack is None:
        yield raw
        return
    with cast(io.BufferedReader, io.BufferedReader(unpack(raw))) as stream:
        yield stream


def _zstd(raw: IO[bytes]) -> Any:
    """pyarrow is there for Parquet, and brings Zstandard along."""
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")


UNPACKERS: tuple[tuple[bytes, Callable[[IO[bytes]], Any]], ...] = (
    (b"\x1f\x8b", lambda raw: gzip.GzipFile(fileobj=raw)),
    (b"BZh", bz2.BZ2File),
    (b"\xfd7zXZ\x00", lzma.LZMAFile),
    (b"\x28\xb5\x2f\xfd", _zstd),
)
