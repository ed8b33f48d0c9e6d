"""Where question rows come from: the embedded world, a file, or stdin."""

from __future__ import annotations

from collections.abc import Sequence

from cotdistill.data.records import Example
from cotdistill.data.rows import read_examples
from cotdistill.demo import world
from cotdistill.errors import UsageError, did_you_mean

DEMO = "demo"


def load_examples(name: str = DEMO, split: str | None = None, limit: int | None = None, data_seed: int = 0,
                  columns: str | None = None) -> list[Example]:
    """The question rows that `--data NAME` names, at most `limit` of them.

    `demo` and `demo:stow` are the embedded world (splits of their own, `train` where none is named); everything
    else is a file of JSON lines, `-` for stdin, of which `split` keeps the rows that say they belong to it.
    Raises `UsageError` for a world or split that does not exist, `DataError` for rows that cannot be read.
    """
    if is_world(name):
        rows = world.rows(_world(name), split or "train", limit, data_seed)
        return [Example.model_validate(row, strict=False) for row in rows]
    return _of_split(read_examples(name), name, split)[:limit]


def training_rows(name: str, loaded: Sequence[Example], data_seed: int = 0) -> Sequence[Example]:
    """The rows from which demonstrations are drawn: the training split, in a file the rows that do not say another."""
    if is_world(name):
        return load_examples(name, "train", None, data_seed)
    return [row for row in loaded if row.split in (None, "train")]


def is_world(name: str) -> bool:
    """Whether `name` is the embedded world."""
    return name == DEMO or name.startswith(DEMO + ":")


def _world(name: str) -> str:
    return name.partition(":")[2] or DEMO


def _of_split(rows: list[Example], name: str, split: str | None) -> list[Example]:
    if split is None:
        return rows
    known = sorted({row.split for row in rows if row.split})
    if split not in known:
        raise UsageError(f"--split {split}: {name} has no such split{did_you_mean(split, known)}; "
                         f"its rows name {', '.join(known) or 'none'}")
    return [row for row in rows if row.split == split]
