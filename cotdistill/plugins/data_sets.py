"""Named data sets: `--data NAME`.

@data_set("sums", evaluated=("test",), dev="dev")
def sums(split: str, seed: int) -> Iterator[dict]: ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

RowsOfSplit = Callable[[str, int], Iterable[Mapping[str, Any]]]


@dataclass(frozen=True)
class DataSet:
    """Question rows by split, made or read by `rows(split, seed)`: the same rows in the same order every time.

    A row has the fields of the row contract (`cotdistill schema`): question and answer, and as far as there are any
    choices and rationale. Without an id it gets NAME-SPLIT-NUMBER, without a task the data set's name.

    `evaluated`: the splits that results are taken on, the one in domain first. `train`, `dev`: those that are learned
    from, and that choose a checkpoint. `shifted`: those of `evaluated` in which a spurious cue no longer helps: there
    it is told how often a student follows it. `teacher`: who is asked where no teacher is named.
    """

    rows: RowsOfSplit
    evaluated: tuple[str, ...]
    train: str = "train"
    dev: str | None = None
    shifted: tuple[str, ...] = ()
    teacher: str | None = None

    @property
    def splits(self) -> tuple[str, ...]:
        """Every split, each once."""
        return tuple(dict.fromkeys(filter(None, (self.train, self.dev, *self.evaluated))))
