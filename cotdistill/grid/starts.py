"""Arms that begin from another arm's student (`--student demo,arm:cot`): which cells wait for which, and how long the
student that they begin from stays on disk.

A cell begins from the student that the named arm made with the same seed. That student is known by the key of its run,
not by its files: it may be dropped when nothing needs it any more, and where a cell is missing later it is made again
by the same training. No arm can begin from itself: an arm is named by its label, which holds that of its own start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cotdistill.data.files import JsonObject
from cotdistill.errors import UsageError
from cotdistill.grid.arms import Arm
from cotdistill.grid.cells import Cell, cell_name
from cotdistill.grid.plan import Plan

Planned = tuple[str, int]  # the label of an arm, a seed


@dataclass(frozen=True)
class Restoring:
    """The student of a cell, by its name, that is made again for those that begin from it."""

    name: str


class Starts:
    """What is still to begin from each cell's student, and what may be removed after that."""

    def __init__(self, arms: Sequence[Arm], seeds: Sequence[int]) -> None:
        self.readers: dict[Planned, set[Planned]] = {}
        self.held: dict[Planned, Cell] = {}
        self.restoring: set[str] = set()  # names of cells
        for arm in arms:
            for seed in seeds if arm.start is not None else ():
                assert arm.start is not None
                self.readers.setdefault((arm.start.label, seed), set()).add((arm.label, seed))

    def blocker(self, arm: Arm, seed: int, records: Mapping[str, JsonObject]) -> str | None:
        """The name of the cell from whose student another begins, as long as that is not there."""
        if arm.start is None:
            return None
        name = cell_name(arm.start, seed, (), "compare")
        return name if name not in records or name in self.restoring else None

    def droppable(self, done: Cell, unneeded: Iterable[Cell]) -> Iterator[Cell]:
        """A cell is done: of the cells whose students need not be kept those from which nothing begins any more."""
        for cell in unneeded:
            if self.readers.get((cell.arm.label, cell.seed)):
                self.held[cell.arm.label, cell.seed] = cell
            else:
                yield cell
        for start, readers in self.readers.items():
            readers.discard((done.arm.label, done.seed))
            if not readers and start in self.held:
                yield self.held.pop(start)


def check_starts(plan: Plan) -> None:
    """Complain where cells that wait for one another cannot be run as asked."""
    if all(arm.start is None for arm in plan.arms):
        return
    for name, value in (("--sweep", plan.config.sweep), ("--shard", plan.config.shard)):
        if value:
            raise UsageError(
                f"--student arm:...: cells that begin from others' students do not go with {name}; omit one"
            )
