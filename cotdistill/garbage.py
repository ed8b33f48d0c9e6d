"""Python's collector of reference cycles, out of the way while modules are loaded and rows are read."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """No search for cycles inside the block; afterwards as before.

    Loading torch and transformers makes a million objects that stay, and the collector goes through all of them each
    time that they have grown by a quarter: a sixth of the start of whatever trains or answers. Rows that are read and
    held are another million, none of them in a cycle.
    """
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()
