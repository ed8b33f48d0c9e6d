"""The cells of a grid that are still to be queued, in their order: those that can begin, and those that wait.

A cell that waits is looked at again when what it waits for is there, not whenever anything is: a grid of n cells costs
O(n log n) in all.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from heapq import heappop, heappush

from cotdistill.grid.arms import Arm
from cotdistill.grid.axes import Swept

Wanted = tuple[Arm, int, Swept]  # arm, seed, a candidate of the sweep


class Waiting:
    """`blocker`: what a cell of an arm with a seed waits for; None: nothing."""

    def __init__(self, wanted: Iterable[Wanted], blocker: Callable[[Arm, int], Hashable | None]) -> None:
        self.cells, self.blocker = list(wanted), blocker
        self.ready = list(range(len(self.cells)))  # a heap of places in `cells`
        self.blocked: dict[Hashable, list[int]] = {}
        self.last = -1

    def next(self) -> Wanted | None:
        """The first cell that waits for nothing; it is no longer among them."""
        while self.ready:
            self.last = heappop(self.ready)
            arm, seed, _ = self.cells[self.last]
            by = self.blocker(arm, seed)
            if by is None:
                return self.cells[self.last]
            self.blocked.setdefault(by, []).append(self.last)
        return None

    def again(self) -> None:
        """Take back the cell that `next` gave last: it has to wait after all."""
        heappush(self.ready, self.last)

    def release(self, by: Hashable, lost: Callable[[Arm], bool] = lambda arm: False) -> list[Wanted]:
        """What cells wait for is there, or will not come: those of arms that are `lost` without it wait no longer."""
        places = self.blocked.pop(by, [])
        for at in places:
            if not lost(self.cells[at][0]):
                heappush(self.ready, at)
        return [self.cells[at] for at in places if lost(self.cells[at][0])]
