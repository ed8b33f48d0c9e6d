"""The question sets an ablation is evaluated on: the first is in-domain, the others are out of domain."""

from __future__ import annotations

import atexit
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from cotdistill.config import DEMO
from cotdistill.config.common import BadRows
from cotdistill.console import warn
from cotdistill.data.bad_rows import STOP
from cotdistill.data.files import write_text
from cotdistill.data.inputs import is_pipe
from cotdistill.data.records import Example, Item
from cotdistill.data.tasks import dev_split, evaluation_split, is_world, load_examples
from cotdistill.demo import world
from cotdistill.errors import UsageError
from cotdistill.evaluation.overlap import Asked, overlap
from cotdistill.evaluation.set_names import check_names, named_set, set_name
from cotdistill.grid.rows import Rows

LEARNED_FROM = ("train", "dev")  # splits of the embedded world that no result may stand on


@dataclass(frozen=True)
class QuestionSet:
    """What `--data` names, and how tables call it."""

    spec: str
    split: str | None
    limit: int | None = None
    data_seed: int = 0
    named: str | None = None
    columns: str | None = None  # --map
    bad: BadRows = STOP

    @property
    def name(self) -> str:
        """What `--data NAME=FILE` says, else `demo-shift`, or the file's stem."""
        return self.named or set_name(self.spec, self.split)

    def examples(self) -> tuple[Example, ...]:
        """Its question rows, read once a process."""
        return _read(self)


def question_sets(data: Sequence[str], trained_on: str | None, split: str | None = None,
                  data_seed: int = 0, columns: str | None = None, bad: BadRows = STOP) -> list[QuestionSet]:
    """The sets of `--data`; by default every split of the embedded world that was not learned from.

    Without `split` a world means all of its own (`demo:stow` is one), a data set of the hub its test or validation
    split. `trained_on`: what the rationales were elicited on, None for rows from elsewhere.
    """
    specs = list(data) or ([trained_on] if trained_on and is_world(trained_on) else [])
    if not specs:
        raise UsageError("ablate needs question rows to evaluate on: --data FILE (repeatable, in-domain first)")
    found = []
    for name, spec in map(named_set, specs):
        splits = [split] if split else _splits(spec)
        found += [QuestionSet(spec, one, None, data_seed, name if name is None or len(splits) == 1 else f"{name}-{one}",
                              columns, bad) for one in splits]
    check_names([one.name for one in found])
    return [_readable_again(one) for one in found]


@lru_cache(maxsize=16)
def _readable_again(chosen: QuestionSet) -> QuestionSet:
    """A set that comes through a pipe as a file that lasts as long as the command: workers read it, too."""
    if not is_pipe(chosen.spec):
        return chosen
    rows = chosen.examples()
    folder = Path(mkdtemp(prefix="cotdistill-"))
    atexit.register(rmtree, folder, ignore_errors=True)
    copy = folder / "questions.jsonl"
    write_text(copy, "".join(example.line() + "\n" for example in rows))
    return QuestionSet(str(copy), None, chosen.limit, chosen.data_seed, chosen.name)


def _splits(spec: str) -> list[str | None]:
    if not is_world(spec):
        return [evaluation_split(spec)]
    return [split for split in world.splits(spec.partition(":")[2] or DEMO) if split not in LEARNED_FROM]


def overlaps(sets: Sequence[QuestionSet], rows: Rows) -> dict[str, dict[str, Any]]:
    """{set: how much of it stands among the rows that some arm trains on}; questions that do are said."""
    ids = rows.common.union(*rows.own.values())
    training = [Asked(item.question, item.choices) for item in next(iter(rows.by_decoding.values())) if item.id in ids]
    found = {one.name: overlap(training, [Asked(e.question, e.choices) for e in one.examples()]) for one in sets}
    for name, shared in found.items():
        if shared["exact"]:
            warn(f"{name}: {100 * shared['exact']:.1f} % of the questions stand in the training rows")
    return found


@lru_cache(maxsize=16)
def _read(chosen: QuestionSet) -> tuple[Example, ...]:
    return tuple(load_examples(chosen.spec, chosen.split, chosen.limit, chosen.data_seed, chosen.columns, chosen.bad))


def dev_set(dev: str | None, trained_on: str | None, held_out: Sequence[Item], out: Path,
            data_seed: int = 0, columns: str | None = None, bad: BadRows = STOP) -> QuestionSet:
    """Where a sweep chooses: `--dev`, the embedded world's dev split, or the rows held out of training."""
    if dev is not None:
        return _readable_again(QuestionSet(dev, dev_split(dev), None, data_seed, None, columns, bad))
    if trained_on and is_world(trained_on):
        return QuestionSet(trained_on, "dev", None, data_seed)
    path = out / "rows" / "dev.jsonl"
    write_text(path, "".join(item.example().line() + "\n" for item in held_out))
    return QuestionSet(str(path), None)
