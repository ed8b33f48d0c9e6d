"""A seal over named arrays: detects a bit flipped on disk, which loads silently and trains into NaN."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

Array = tuple[str, str, tuple[int, ...], Any]  # name, dtype, shape, its bytes as a buffer


def seal(arrays: Iterable[Array], **notes: Any) -> str:
    """sha256 over every array's name, type, shape and bytes, in the order of the names, and over the notes."""
    total = hashlib.sha256(repr(sorted(notes.items())).encode())
    for name, dtype, shape, content in sorted(arrays, key=lambda array: array[0]):
        total.update(f"{name} {dtype} {shape}".encode())
        total.update(content)
    return total.hexdigest()
