"""Where question rows come from: the embedded world, a file, or stdin."""

from __future__ import annotations

from cotdistill.data.records import Example
from cotdistill.data.rows import read_examples
from cotdistill.demo import world
from cotdistill.errors import UsageError, did_you_mean

DEMO = "demo"


def load_examples(name: str = DEMO, split: str | None = None, limit: int | None = None,
                  data_seed: int = 0) -> list[Example]:
    """The question rows that `--data NAME` names, at most `limit` of them.

    `demo` and `demo:stow` are the embedded world (splits of their own, `train` where none is named); everything
    else is a file of JSON lines, `-` for stdin, of which `split` keeps the rows that say they belong to it.
    Raises `UsageError` for a world or split that does not exist, `DataError` for rows that cannot be read.
    """
    if name == DEMO or name.startswith(DEMO + ":"):
        wanted = name.partition(":")[2] or DEMO
        return [Example.model_validate(row, strict=False)
                for row in world.rows(wanted, split or "train", limit, data_seed)]
    return _of_split(read_examples(name), name, split)[:limit]


def _of_split(rows: list[Example], name: str, split: str | None) -> list[Example]:
    if split is None:
        return rows
    known = sorted({row.split for row in rows if row.split})
    if split not in known:
        raise UsageError(f"--split {split}: {name} has no such split{did_you_mean(split, known)}; "
                         f"its rows name {', '.join(known) or 'none'}")
    return [row for row in rows if row.split == split]
