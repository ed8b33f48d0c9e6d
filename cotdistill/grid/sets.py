"""The question sets an ablation is evaluated on: the first is in-domain, the others are out of domain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cotdistill.config import DEMO
from cotdistill.data.files import write_text
from cotdistill.data.records import Example, Item
from cotdistill.data.tasks import is_world, load_examples
from cotdistill.demo import world
from cotdistill.errors import UsageError
from cotdistill.evaluation.set_names import check_names, set_name

LEARNED_FROM = ("train", "dev")  # splits of the embedded world that no result may stand on


@dataclass(frozen=True)
class QuestionSet:
    """What `--data` names, and how tables call it."""

    spec: str
    split: str | None
    limit: int | None = None
    data_seed: int = 0

    @property
    def name(self) -> str:
        """`demo-shift`, or the file's stem."""
        return set_name(self.spec, self.split)

    def examples(self) -> tuple[Example, ...]:
        """Its question rows, read once a process."""
        return _read(self)


def question_sets(data: Sequence[str], trained_on: str | None, data_seed: int = 0) -> list[QuestionSet]:
    """The sets of `--data`; by default every split of the embedded world that was not learned from.

    A world named without a split means all of its own; `demo:stow` is one. `trained_on`: what the rationales were
    elicited on, None for rows from elsewhere.
    """
    specs = list(data) or ([trained_on] if trained_on and is_world(trained_on) else [])
    if not specs:
        raise UsageError("ablate needs question rows to evaluate on: --data FILE (repeatable, in-domain first)")
    sets = [QuestionSet(spec, split, None, data_seed) for spec in specs for split in _splits(spec)]
    check_names([one.name for one in sets])
    return sets


def _splits(spec: str) -> list[str | None]:
    if not is_world(spec):
        return [None]
    return [split for split in world.splits(spec.partition(":")[2] or DEMO) if split not in LEARNED_FROM]


@lru_cache(maxsize=16)
def _read(chosen: QuestionSet) -> tuple[Example, ...]:
    return tuple(load_examples(chosen.spec, chosen.split, chosen.limit, chosen.data_seed))


def dev_set(dev: str | None, trained_on: str | None, held_out: Sequence[Item], out: Path,
            data_seed: int = 0) -> QuestionSet:
    """Where a sweep chooses: `--dev`, the embedded world's dev split, or the rows held out of training."""
    if dev is not None:
        return QuestionSet(dev, "dev" if is_world(dev) else None, None, data_seed)
    if trained_on and is_world(trained_on):
        return QuestionSet(trained_on, "dev", None, data_seed)
    path = out / "rows" / "dev.jsonl"
    write_text(path, "".join(item.example().line() + "\n" for item in held_out))
    return QuestionSet(str(path), None)
