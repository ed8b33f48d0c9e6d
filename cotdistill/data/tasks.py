"""Where question rows come from: the embedded world, the hub, a file, or stdin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from cotdistill.data.columns import Columns, example_of
from cotdistill.data.hub import PREFIX, is_table, load_hub, load_table
from cotdistill.data.records import Example
from cotdistill.data.rows import STDIN, json_lines, read_examples
from cotdistill.demo import world
from cotdistill.errors import DataError, UsageError, did_you_mean

DEMO = "demo"


def load_examples(name: str = DEMO, split: str | None = None, limit: int | None = None, data_seed: int = 0,
                  columns: str | None = None) -> list[Example]:
    """The question rows that `--data NAME` names, at most `limit` of them.

    `demo` and `demo:stow`: the embedded world. `hf:NAME`: a data set of the hub. A .csv, .tsv or .parquet
    file: a table. Anything else: JSON lines, `-` for stdin, of which `split` keeps the rows that say they
    belong to it. `columns` (--map) says which column is what where the names are not ours. Raises
    `UsageError` for a world or split that does not exist, `DataError` for rows that cannot be read.
    """
    mapped = Columns.parse(columns) if columns is not None else None
    if is_world(name):
        rows = world.rows(_world(name), split or "train", limit, data_seed)
        return [Example.model_validate(row, strict=False) for row in rows]
    if name.startswith(PREFIX):
        return _unique(load_hub(name, split, mapped)[:limit], name)
    if is_table(name):
        return _unique(load_table(Path(name), split, mapped)[:limit], name)
    if mapped is not None:
        source = "stdin" if name == STDIN else name
        return _unique([example_of(row, mapped, Path(name).name.split(".")[0], split, source, line)
                        for line, row in json_lines(name)][:limit], name)
    return _of_split(read_examples(name), name, split)[:limit]


def training_rows(name: str, loaded: Sequence[Example], data_seed: int = 0,
                  columns: str | None = None) -> Sequence[Example]:
    """The rows demonstrations are drawn from: the training split, of a file rows that name no other."""
    if is_world(name):
        return load_examples(name, "train", None, data_seed)
    if name.startswith(PREFIX) and any(row.split not in (None, "train") for row in loaded):
        return load_examples(name, "train", None, data_seed, columns)
    return [row for row in loaded if row.split in (None, "train")]


def _unique(rows: list[Example], name: str) -> list[Example]:
    """The rows, of which there is one at least and no two with the same id."""
    twice = [row_id for row_id, count in Counter(row.id for row in rows).items() if count > 1]
    if twice:
        raise DataError.at(name, None, f"id {twice[0]!r} stands more than once",
                           "map another column as id, or none")
    if not rows:
        raise DataError.at(name, None, "holds no rows", "give a data set with rows")
    return rows


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
