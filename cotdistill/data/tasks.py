"""Where question rows come from: the embedded world, the hub, a file, or stdin."""

from __future__ import annotations

from collections.abc import Sequence

from cotdistill.config.common import BadRows
from cotdistill.data.bad_rows import STOP
from cotdistill.data.columns import Columns
from cotdistill.data.hub import PREFIX, held_out_split, load_hub
from cotdistill.data.questions import read_questions
from cotdistill.data.records import Example
from cotdistill.demo import world
from cotdistill.errors import UsageError, did_you_mean

DEMO = "demo"


def load_examples(name: str = DEMO, split: str | None = None, limit: int | None = None, data_seed: int = 0,
                  columns: str | None = None, bad: BadRows = STOP) -> list[Example]:
    """The question rows that `--data NAME` names, at most `limit` of them.

    `demo` and `demo:stow`: the embedded world. `hf:NAME`: a data set of the hub. Anything else: JSON lines, a
    JSON array, CSV, TSV or Parquet, packed or not, `-` for stdin, of which `split` keeps the rows that say they
    belong to it. `columns` (--map) says which column is what where the names are not ours; `bad` what is done
    with rows that cannot be read. Raises `UsageError` for a world or split that does not exist, `DataError` for
    rows that cannot be read.
    """
    mapped = Columns.parse(columns) if columns is not None else None
    if mapped is not None and not mapped.of_questions:
        mapped = None  # it describes recordings
    if is_world(name):
        rows = world.rows(_world(name), split or "train", limit, data_seed)
        return [Example.model_validate(row, strict=False) for row in rows]
    if name.startswith(PREFIX):
        return load_hub(name, split, mapped, bad)[:limit]
    found = read_questions(name, mapped, split, bad)
    return (found if mapped is not None else _of_split(found, name, split))[:limit]


def training_rows(name: str, loaded: Sequence[Example], data_seed: int = 0,
                  columns: str | None = None) -> Sequence[Example]:
    """The rows demonstrations are drawn from: the training split, of a file rows that name no other."""
    if is_world(name):
        return load_examples(name, "train", None, data_seed)
    if name.startswith(PREFIX) and any(row.split not in (None, "train") for row in loaded):
        return load_examples(name, "train", None, data_seed, columns)
    return [row for row in loaded if row.split in (None, "train")]


def evaluation_split(name: str) -> str | None:
    """The split of `--data NAME` that is evaluated on where none is named; None: all of its rows."""
    return held_out_split(name) if name.startswith(PREFIX) else None


def dev_split(name: str) -> str | None:
    """The split of `--dev NAME`; None: all of its rows."""
    if name.startswith(PREFIX):
        return held_out_split(name, test=False)
    return "dev" if is_world(name) else None


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
