"""The sides of a comparison: a name and its runs (seeds), as given on the command line."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cotdistill.data.inputs import title
from cotdistill.errors import UsageError
from cotdistill.outcomes.files import How, read_run
from cotdistill.outcomes.scored import Scored

Run = list[Scored]  # the outcomes of one seed, each item once


@dataclass(frozen=True)
class Side:
    """`runs`: one per seed, and per epoch of a seed."""

    name: str
    paths: tuple[str, ...]
    runs: tuple[Run, ...]

    @cached_property
    def tasks(self) -> list[str]:
        """The tasks that its items name."""
        return list(dict.fromkeys(outcome.task for run in self.runs for outcome in run if outcome.task))


def read_sides(named: Sequence[str], how: How) -> list[Side]:
    """`FILE`, `NAME=FILE` or `NAME=FILE,FILE` (seeds), where a FILE may be a directory or a pattern as `runs/cot-*`.

    Raises `UsageError` for fewer than two sides, or a duplicate name.
    """
    paths = [_paths(text) for text in named]
    names = _names([_split(text)[0] for text in named], paths)
    return [
        Side(name, tuple(mine), tuple(_epochs([read_run(path, how) for path in mine])))
        for name, mine in zip(names, paths, strict=True)
    ]


def _split(text: str) -> tuple[str | None, str]:
    """(name, files); a file whose own name holds an `=` is a file."""
    name, equals, files = text.partition("=")
    return (None, text) if not equals or not name or "/" in name or Path(text).exists() else (name, files)


def _paths(text: str) -> list[str]:
    files = _split(text)[1]
    pieces = [files] if Path(files).exists() else [piece for piece in files.split(",") if piece]
    paths = [
        path for piece in pieces for path in (sorted(glob.glob(piece)) if not Path(piece).exists() else []) or [piece]
    ]
    if not paths:
        raise UsageError(f"{text!r} names no file; a side is FILE, or NAME=FILE,FILE with a file for each seed")
    if twice := [path for path, count in Counter(paths).items() if count > 1]:
        raise UsageError(f"{text!r} names {twice[0]} twice; each file is a seed of its own")
    return paths


def _names(given: Sequence[str | None], paths: Sequence[Sequence[str]]) -> list[str]:
    """The names; where none is given, the shortest ends of the first paths that tell the sides apart."""
    if len(given) < 2:
        raise UsageError("compare needs two sides or more: cotdistill compare A.jsonl B.jsonl")
    names = [name or title(mine[0]) for name, mine in zip(given, paths, strict=True)]
    for depth in range(2, 9):
        if len(set(names)) == len(names):
            break
        names = [
            name or "/".join((*Path(mine[0]).parts[-depth:-1], title(mine[0])))
            for name, mine in zip(given, paths, strict=True)
        ]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UsageError(f"two sides are called {twice[0]!r}; name them: NAME=FILE")
    return names


def _epochs(runs: Sequence[Run]) -> list[Run]:
    """Runs with each item once: repetitions of the items (epochs) are runs of their own."""
    return [
        [outcome for outcome in run if outcome.epoch == epoch]
        for run in runs
        for epoch in sorted({outcome.epoch for outcome in run})
    ]
