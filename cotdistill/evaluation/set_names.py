"""What a question set is called in tables and files: `--data NAME=FILE`, else the file's stem or the data set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from cotdistill.data.tasks import evaluation_splits
from cotdistill.errors import UsageError
from cotdistill.escaping import visible

LONGEST = 200  # bytes of a name, which becomes a file's: with its suffixes below the 255 of most file systems


def named_set(spec: str) -> tuple[str | None, str]:
    """`NAME=FILE` in its two parts; a plain FILE has no name of its own."""
    name, equals, file = spec.partition("=")
    return (name, file) if equals and name and not os.path.exists(spec) else (None, spec)


def named_splits(data: Sequence[str], split: str | None) -> list[tuple[str | None, str, str | None]]:
    """(name, spec, split) of every set of `--data`; without `--split` all that a data set is evaluated on."""
    found: list[tuple[str | None, str, str | None]] = []
    for name, spec in map(named_set, data):
        splits = [split] if split else evaluation_splits(spec)
        found += [(name if name is None or len(splits) == 1 else f"{name}-{one}", spec, one) for one in splits]
    return found


def set_name(spec: str, split: str | None) -> str:
    """A short name for tables and files: the file's stem or the data set, and the split."""
    name = Path(spec).name.removesuffix(".jsonl").replace(":", "-") if spec != "-" else "stdin"
    return f"{name}-{split}" if split else name


def check_names(names: Sequence[str]) -> None:
    """Names are names, not paths, and differ. Raises `UsageError`."""
    for name in names:
        if not name.strip(" .") or {*"/\\\n\t"} & {*name} or visible(name) != name or len(name.encode()) > LONGEST:
            raise UsageError(
                f"--data: {name[:60]!r} is not a valid name for a set: use printable text "
                "without slashes, at most 200 bytes"
            )
    for twice in dict.fromkeys(name for name in names if names.count(name) > 1):
        raise UsageError(f"--data: two sets are named {twice}; name one differently with NAME=FILE")
