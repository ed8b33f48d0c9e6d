"""Strategies that learn other things as training goes on: their rows are encoded anew in each pass over them.

A stage is a function of the step number alone, like everything else in the loop: a run that is resumed in the middle of
a pass encodes that pass again and goes on as if it had never stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from cotdistill.errors import DataError
from cotdistill.students.encode import EncodedSet


@dataclass(frozen=True)
class Stages:
    """What a progressive strategy learns in each pass. `encode`: (epoch, progress) -> its token trees."""

    encode: Callable[[int, float], EncodedSet]
    resets_optimizer: bool = False

    def data(self, epoch: int, epochs: int, first: EncodedSet) -> EncodedSet:
        """What is learned in pass `epoch` of `epochs`, the same samples in the same order as in the first.

        Raises `DataError` where the strategy loses or wins samples on the way.
        """
        data = self.encode(epoch, epoch / epochs)
        if data.ids != first.ids:
            raise DataError(
                f"rows: {len(data.ids)} samples can be encoded in epoch {epoch + 1} and {len(first.ids)} in the first "
                f"({dict(data.dropped)}); set --max-length so that the same ones fit throughout"
            )
        return data


def epochs_of(steps: int, batch_size: int, samples: int) -> int:
    """Passes over the rows that a run of so many steps begins."""
    return max(1, ceil(steps * batch_size / samples))
