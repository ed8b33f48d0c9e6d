"""Which students stay on disk; the others are removed as soon as their cell has answered everything.

A cell's record names what was dropped, with the digests it had. A student that is needed again later is made
again by the same training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from cotdistill.config import DEMO, DistillConfig
from cotdistill.data.files import JsonObject, remove, writing
from cotdistill.data.runcard import read_card
from cotdistill.grid.cells import Cell

Keep = Literal["all", "best", "none"]
Rank = tuple[float, int]
PARTS = ("student", "checkpoints")  # of a run: what is dropped


class Keeping:
    """Decides cell by cell, as they finish, which students are no longer needed."""

    def __init__(self, keep: Keep | None, seeds: Sequence[int], out: Path) -> None:
        self.keep, self.seeds, self.out = keep, seeds, out
        self.leading: dict[tuple[str, str], tuple[Rank, Cell]] = {}  # by arm and purpose

    def done(self, cell: Cell, record: JsonObject) -> Iterator[Cell]:
        """Cells whose students can be removed, now that this one is done.

        Of a sweep the best candidate so far stays, as it may be the one that is compared. `best` keeps that seed of an
        arm that answers most dev rows right; the first of equals, and the first where there are no dev rows.
        """
        keep = kept(self.keep, cell.settings)
        if keep == "all":
            return
        if keep == "none" and cell.purpose == "compare":
            yield cell
            return
        place, rank = (cell.arm.label, cell.purpose), self._rank(cell, record)
        before = self.leading.get(place)
        if before is not None and before[0] >= rank:
            yield cell
            return
        self.leading[place] = (rank, cell)
        if before is not None:
            yield before[1]

    def _rank(self, cell: Cell, record: JsonObject) -> Rank:
        if cell.purpose == "sweep":
            (figures,) = record["sets"].values()
            return float(figures["accuracy"]), -cell.order
        accuracy = read_card(cell.run(self.out)).trained["dev_accuracy"]
        return accuracy or 0.0, -self.seeds.index(cell.seed)


def kept(keep: Keep | None, settings: DistillConfig) -> Keep:
    """Which students trained in this way are kept, unless `keep` says so: the embedded one and adapters are small."""
    if keep is not None:
        return keep
    adapter = settings.lora is not None and not settings.merge_lora
    return "all" if settings.student == DEMO or adapter else "none"


def without_student(record: JsonObject) -> JsonObject:
    """A cell's record once its student is gone: `dropped` has the digest of each of its files."""
    gone = {name: digest for name, digest in record["files"].items() if "/student/" in name}
    left = {name: digest for name, digest in record["files"].items() if name not in gone}
    return {**record, "files": left, "dropped": {**record.get("dropped", {}), **gone}}


def drop_student(run: Path) -> None:
    """Remove a run's student and checkpoints."""
    with writing(run):
        for part in PARTS:
            remove(run / part)
