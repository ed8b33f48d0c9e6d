"""The question sets an ablation is evaluated on: the first is in-domain, the others are out of domain."""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from shutil import rmtree
from stat import S_ISREG
from tempfile import mkdtemp
from typing import Any

from cotdistill.config.common import BadRows
from cotdistill.console import warn
from cotdistill.data.bad_rows import STOP
from cotdistill.data.files import write_text
from cotdistill.data.inputs import is_pipe
from cotdistill.data.records import Example, Item
from cotdistill.data.tasks import data_set_of, dev_split, load_examples
from cotdistill.errors import UsageError
from cotdistill.evaluation.overlap import Asked, contamination
from cotdistill.evaluation.set_names import check_names, named_splits, set_name
from cotdistill.grid.rows import GridRows

Version = tuple[int, ...]


@dataclass(frozen=True)
class QuestionSet:
    """A question set of `--data`, and its name in tables."""

    spec: str
    split: str | None
    limit: int | None = None
    data_seed: int = 0
    named: str | None = None
    columns: str | None = None  # --map
    bad: BadRows = STOP

    @property
    def shifted(self) -> bool:
        """Whether a spurious cue of its questions no longer helps."""
        data_set = data_set_of(self.spec)
        return data_set is not None and self.split in data_set.shifted

    @property
    def name(self) -> str:
        """NAME of `--data NAME=FILE`, else `demo-shift`, or the file's stem."""
        return self.named or set_name(self.spec, self.split)

    def examples(self) -> tuple[Example, ...]:
        """Its question rows, read once while the file is the same."""
        return _read(self, _version(self.spec))


def question_sets(
    data: Sequence[str],
    trained_on: str | None,
    split: str | None = None,
    data_seed: int = 0,
    columns: str | None = None,
    bad: BadRows = STOP,
) -> list[QuestionSet]:
    """The sets of `--data`; by default those of the data set that was trained on.

    Without `split` a registered data set means all splits that it is evaluated on, one of the hub its test or
    validation split. `trained_on`: what the rationales were elicited on, None for rows from elsewhere.
    """
    specs = list(data) or ([trained_on] if trained_on and data_set_of(trained_on) else [])
    if not specs:
        raise UsageError("ablate needs question rows to evaluate on: --data FILE (repeatable, in-domain first)")
    sets = [
        QuestionSet(spec, one, None, data_seed, name, columns, bad) for name, spec, one in named_splits(specs, split)
    ]
    check_names([one.name for one in sets])
    return [_readable_again(one) for one in sets]


def _readable_again(chosen: QuestionSet) -> QuestionSet:
    """A set that comes through a pipe, copied to a file that lasts as long as the command: workers read it as well."""
    return _copied(chosen, _version(chosen.spec)) if is_pipe(chosen.spec) else chosen


@lru_cache(maxsize=16)
def _copied(chosen: QuestionSet, version: Version) -> QuestionSet:
    rows = chosen.examples()
    folder = Path(mkdtemp(prefix="cotdistill-"))
    atexit.register(rmtree, folder, ignore_errors=True)
    copy = folder / "questions.jsonl"
    write_text(copy, "".join(example.line() + "\n" for example in rows))
    return QuestionSet(str(copy), None, chosen.limit, chosen.data_seed, chosen.name)


def contaminations(sets: Sequence[QuestionSet], rows: GridRows) -> dict[str, dict[str, Any]]:
    """{set: how much of it is among the rows that some arm trains on}; warns where questions are."""
    ids = rows.common.union(*rows.own.values())
    training = [Asked(item.question, item.choices) for item in next(iter(rows.by_decoding.values())) if item.id in ids]
    found = {one.name: contamination(training, [Asked(e.question, e.choices) for e in one.examples()]) for one in sets}
    for name, shared in found.items():
        if shared["exact"]:
            warn(f"{name}: {100 * shared['exact']:.1f} % of the questions are also in the training rows")
    return found


def _version(spec: str) -> Version:
    """What tells the file of a name from another one of that name, or from itself before it was changed: a process may
    run several grids. Empty for what is no file."""
    try:
        seen = os.stat(spec)
    except (OSError, ValueError):
        return ()
    return (seen.st_dev, seen.st_ino, *((seen.st_mtime_ns, seen.st_size) if S_ISREG(seen.st_mode) else ()))


@lru_cache(maxsize=16)
def _read(chosen: QuestionSet, version: Version) -> tuple[Example, ...]:
    return tuple(load_examples(chosen.spec, chosen.split, chosen.limit, chosen.data_seed, chosen.columns, chosen.bad))


def dev_set(
    dev: str | None,
    trained_on: str | None,
    held_out: Sequence[Item],
    out: Path,
    data_seed: int = 0,
    columns: str | None = None,
    bad: BadRows = STOP,
) -> QuestionSet:
    """What a sweep chooses by: `--dev`, the dev split of the data set trained on, or the rows held out of training."""
    if dev is not None:
        return _readable_again(QuestionSet(dev, dev_split(dev), None, data_seed, None, columns, bad))
    if trained_on and (data_set := data_set_of(trained_on)) is not None and data_set.dev is not None:
        return QuestionSet(trained_on, data_set.dev, None, data_seed)
    path = out / "rows" / "dev.jsonl"
    write_text(path, "".join(item.example().line() + "\n" for item in held_out))
    return QuestionSet(str(path), None)
