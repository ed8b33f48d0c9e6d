"""Several processes asking one teacher (`torchrun -m cotdistill elicit`): the same rows as one process.

Rank 0 alone reads the rows and writes the result; every rank has its own model and its own part of the calls.
"""

from __future__ import annotations

import os
from typing import Any, TypeVar

T = TypeVar("T")


class ProcessGroup:
    """This process among `size`; alone, broadcasting and gathering do nothing."""

    def __init__(self) -> None:
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0")) if self.size > 1 else 0
        if self.size > 1:
            from torch import distributed

            if not distributed.is_initialized():
                distributed.init_process_group("gloo")

    @staticmethod
    def many() -> bool:
        """Whether this is one of several processes."""
        return int(os.environ.get("WORLD_SIZE", "1")) > 1

    def broadcast(self, value: T | None) -> T:
        """Rank 0's value, on every rank."""
        box: list[Any] = [value]
        if self.size > 1:
            from torch import distributed

            distributed.broadcast_object_list(box)
        shared: T = box[0]
        return shared

    def gather(self, value: T) -> list[T]:
        """Every rank's value, on rank 0; elsewhere an empty list."""
        if self.size == 1:
            return [value]
        from torch import distributed

        gathered: list[Any] | None = [None] * self.size if self.rank == 0 else None
        distributed.gather_object(value, gathered)
        return gathered or []

    def close(self) -> None:
        """Leave the group."""
        if self.size > 1:
            from torch import distributed

            from cotdistill.training.process_group import settle_group

            settle_group()
            distributed.destroy_process_group()
