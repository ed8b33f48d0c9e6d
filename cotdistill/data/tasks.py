"""Where question rows come from: a registered data set (`demo`, a plug-in's), the hub, a file, or stdin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from cotdistill.config import DEMO
from cotdistill.config.common import BadRows
from cotdistill.data.bad_rows import STOP
from cotdistill.data.columns import Columns
from cotdistill.data.hub import PREFIX, held_out_split, load_hub
from cotdistill.data.questions import read_questions, read_unanswered
from cotdistill.data.records import Example, Question
from cotdistill.errors import DataError, UsageError, did_you_mean
from cotdistill.plugins.data_sets import DataSet
from cotdistill.plugins.guard import plugin_code
from cotdistill.plugins.kinds import DATA
from cotdistill.plugins.registry import Entry

Q = TypeVar("Q", bound=Question)


def load_examples(
    name: str = DEMO,
    split: str | None = None,
    limit: int | None = None,
    data_seed: int = 0,
    columns: str | None = None,
    bad: BadRows = STOP,
) -> list[Example]:
    """The question rows that `--data NAME` names, at most `limit` of them.

    A registered name: that data set. `hf:NAME`: a data set of the hub. Anything else: JSON lines, a JSON array,
    CSV, TSV or Parquet, packed or not, `-` for stdin, of which `split` keeps the rows that say they
    belong to it. `columns` (--map) names the columns of foreign rows; `bad` says what is done
    with rows that cannot be read. Raises `UsageError` for a data set or split that does not exist, `DataError` for
    rows that cannot be read.
    """
    mapped = Columns.parse(columns) if columns is not None else None
    if mapped is not None and not mapped.of_questions:
        mapped = None  # the map describes recordings
    if (entry := _registered(name)) is not None:
        return list(islice(_examples(entry, split, data_seed), limit))
    if name.startswith(PREFIX):
        return load_hub(name, split, mapped, bad)[:limit]
    examples = read_questions(name, mapped, split, bad)
    return (examples if mapped is not None else _of_split(examples, name, split))[:limit]


def load_questions(
    name: str,
    split: str | None = None,
    limit: int | None = None,
    data_seed: int = 0,
    columns: str | None = None,
    bad: BadRows = STOP,
) -> list[Question]:
    """`load_examples` for what is only asked: rows need no answer, and none is kept of those that have one."""
    if data_set_of(name) is not None or name.startswith(PREFIX):
        fields = set(Question.model_fields)
        rows = load_examples(name, split, limit, data_seed, columns, bad)
        return [Question.model_validate(row.model_dump(include=fields)) for row in rows]
    mapped = Columns.parse(columns, answered=False) if columns is not None else None
    questions = read_unanswered(name, mapped, split, bad)
    return (questions if mapped is not None else _of_split(questions, name, split))[:limit]


def demonstration_rows(
    name: str, loaded: Sequence[Example], data_seed: int = 0, columns: str | None = None
) -> Sequence[Example]:
    """The rows that demonstrations are drawn from: the training split; of a file, rows of no other split."""
    if (registered := data_set_of(name)) is not None:
        return load_examples(name, registered.train, None, data_seed)
    if name.startswith(PREFIX) and any(row.split not in (None, "train") for row in loaded):
        return load_examples(name, "train", None, data_seed, columns)
    return [row for row in loaded if row.split in (None, "train")]


def evaluation_splits(name: str) -> list[str | None]:
    """The splits of `--data NAME` that are evaluated on where none is named; None: all of its rows."""
    if (registered := data_set_of(name)) is not None:
        return list(registered.evaluated)
    return [held_out_split(name) if name.startswith(PREFIX) else None]


def dev_split(name: str) -> str | None:
    """The split of `--dev NAME`; None: all of its rows."""
    if name.startswith(PREFIX):
        return held_out_split(name, test=False)
    registered = data_set_of(name)
    if registered is not None and registered.dev is None:
        raise UsageError(f"--dev {name}: the data set has no dev split; choose another for --dev")
    return None if registered is None else registered.dev


def has_dev(name: str) -> bool:
    """Whether a name is a registered data set with a split that chooses a checkpoint."""
    registered = data_set_of(name)
    return registered is not None and registered.dev is not None


def data_set_of(name: str) -> DataSet | None:
    """The data set registered under a name; None for a file, the hub or stdin."""
    entry = _registered(name)
    return None if entry is None else entry.value


def _registered(name: str) -> Entry[DataSet] | None:
    entry, family = DATA.find(name), name.partition(":")[0]
    if entry is None and family != name and DATA.find(family) is not None:
        raise DATA.unknown(name)
    if entry is None and _is_bare(name) and did_you_mean(name, DATA.names()):
        raise DATA.unknown(name)
    return entry


def _is_bare(name: str) -> bool:
    """Whether a name says of no file, hub or stream where it is, and no file of that name is there."""
    return name.isidentifier() and not Path(name).exists()


def _examples(entry: Entry[DataSet], split: str | None, seed: int) -> Iterator[Example]:
    """The rows of one split, checked; what the data set's own code does wrong is said with its name."""
    data, where = entry.value, f"data set {entry.name!r} of {entry.origin}"
    assert data is not None
    split = split or data.train
    if split not in data.splits:
        known = ", ".join(data.splits)
        raise UsageError(f"no split {split!r} in {entry.name!r}{did_you_mean(split, data.splits)}; there are {known}")
    with plugin_code(where):
        rows = iter(data.rows(split, seed))
    seen: set[str] = set()
    for number in count():
        with plugin_code(where):
            row = next(rows, None)
        if row is None:
            return
        example = _example(row, where, entry.name, split, number)
        if example.id in seen:
            raise DataError(f"{where}, row {number} of {split}: the id {example.id!r} is taken by an earlier row")
        seen.add(example.id)
        yield example


def _example(row: Mapping[str, Any], where: str, name: str, split: str, number: int) -> Example:
    if not isinstance(row, Mapping):
        raise DataError(f"{where}, row {number} of {split}: {row!r:.80} is not a mapping of fields to values")
    told = {"id": f"{name}-{split}-{number:05d}", "task": name, "split": split, "choices": None}
    try:
        return Example.model_validate(told | dict(row), strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"])) or "the row"
        raise DataError(f"{where}, row {number} of {split}: {at}: {first['msg']}") from None


def _of_split(rows: list[Q], name: str, split: str | None) -> list[Q]:
    if split is None:
        return rows
    known = sorted({row.split for row in rows if row.split})
    if split not in known:
        raise UsageError(
            f"--split {split}: {name} has no such split{did_you_mean(split, known)}; "
            f"its rows name {', '.join(known) or 'none'}"
        )
    return [row for row in rows if row.split == split]


def shard_of(examples: Sequence[Example], shard: str | None) -> list[Example]:
    """Part I of N consecutive parts: the concatenated files of the parts are the whole file."""
    if shard is None:
        return list(examples)
    first, _, last = shard.partition("/")
    if not (first.isdigit() and last.isdigit() and 1 <= int(first) <= int(last)):
        raise UsageError(f"--shard takes I/N with I from 1 to N, such as 3/8, not {shard!r}")
    part, parts = int(first), int(last)
    return list(examples[len(examples) * (part - 1) // parts : len(examples) * part // parts])
