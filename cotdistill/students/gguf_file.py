"""GGUF files: which one a folder holds, and what its header says, read without the vocabulary.

The weights are read by transformers. The `gguf` package takes seconds for a header, as it lists every token of the
vocabulary; here arrays are stepped over (format: ggml's docs/gguf.md, versions 2 and 3, little-endian).
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cotdistill.errors import Unavailable
from cotdistill.students.model_files import check_model_file

MAGIC = b"GGUF"
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
TEXT, ARRAY = 8, 9
VERSIONS = (2, 3)
ENDS = tuple(f"tokenizer.ggml.{name}_token_id" for name in ("eos", "eot", "eom"))  # text, turn, message


def is_gguf(file: Path) -> bool:
    """Whether a path is a GGUF file by its name."""
    return file.suffix.lower() == ".gguf" and file.is_file()


def gguf_of(folder: Path) -> Path | None:
    """The GGUF file that a folder without safetensors is the model of. Raises `Unavailable` where there are several."""
    files = sorted(file for file in folder.iterdir() if is_gguf(file))
    if not files or any(folder.glob("*.safetensors")):
        return None
    if len(files) > 1:
        raise Unavailable(
            f"{folder} holds {len(files)} GGUF files; give one of them: {', '.join(file.name for file in files)}"
        )
    return files[0]


def check_gguf(file: Path) -> None:
    """Raise `Unavailable` for a GGUF file that is damaged, cut off or one part of several."""
    check_model_file(file)
    parts = header(file).get("split.count", 1)
    if parts > 1:
        raise Unavailable(f"{file}: one of {parts} parts of a GGUF file; join them with: llama-gguf-split --merge")


def ends_of(file: Path) -> list[int]:
    """Ids that end what the model generates: of a text, and where they are named of a turn and of a message."""
    metadata = header(file)
    return list(dict.fromkeys(int(metadata[name]) for name in ENDS if name in metadata))


def header(file: Path) -> dict[str, Any]:
    """The file's settings by name, of arrays their lengths. Raises `Unavailable` for a file that cannot be read."""
    try:
        with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _settings(data)
    except (OSError, ValueError, struct.error) as error:
        raise Unavailable(f"{file}: damaged or cut off ({error}); copy or download it again") from None


@dataclass
class _Cursor:
    data: mmap.mmap
    at: int = 0

    def number(self, kind: str) -> Any:
        (value,) = struct.unpack_from(f"<{kind}", self.data, self.at)
        self.at += struct.calcsize(f"<{kind}")
        return value

    def span(self) -> bytes:
        size = self.number("Q")
        self.at += size
        if self.at > len(self.data):
            raise ValueError("its header is cut off")
        return self.data[self.at - size : self.at]

    def value(self, kind: int) -> Any:
        """The next value; of an array, which is passed over, how many it has."""
        if kind in SCALARS:
            return self.number(SCALARS[kind])
        if kind == TEXT:
            return self.span().decode("utf-8", "replace")
        if kind != ARRAY:
            raise ValueError(f"unknown value type {kind}")
        of, count = self.number("I"), self.number("Q")
        if of in SCALARS:
            self.at += count * struct.calcsize(f"<{SCALARS[of]}")
        else:
            for _ in range(count):
                self.value(of)
        return count


def _settings(data: mmap.mmap) -> dict[str, Any]:
    if data[:4] != MAGIC:
        raise ValueError("it does not begin with GGUF")
    cursor = _Cursor(data, 4)
    version, tensors, settings = cursor.number("I"), cursor.number("Q"), cursor.number("Q")
    if version not in VERSIONS:
        raise ValueError(f"version {version}, not 2 or 3")
    values = {}
    for _ in range(settings):
        name = cursor.span().decode("utf-8", "replace")
        values[name] = cursor.value(cursor.number("I"))
    ends = [_end(cursor) for _ in range(tensors)]
    alignment = values.get("general.alignment", 32)
    if cursor.at + -cursor.at % alignment + max(ends, default=0) > len(data):
        raise ValueError("its last weights are missing")
    return values


def _end(cursor: _Cursor) -> int:
    """Where the next weights of the header end, counted from where all weights begin."""
    from gguf import GGML_QUANT_SIZES

    cursor.span()
    shape = [cursor.number("Q") for _ in range(cursor.number("I"))]
    kind, at = cursor.number("I"), int(cursor.number("Q"))
    block, size = GGML_QUANT_SIZES.get(kind, (1, 0))
    return at + int(math.prod(shape) // block * size)
