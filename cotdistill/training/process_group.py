"""The process group of a distributed run: leaving it without a deadlock."""

from __future__ import annotations

import time

from torch import distributed

PAUSE = 0.05  # seconds; gloo's threads need the GIL for microseconds


def settle_group() -> None:
    """Wait until no thread of the process group has work left; call it before the group is destroyed.

    Gloo's threads drop the tensors of the last collective after it has returned, and need the GIL for that.
    Destroying the group joins those threads with the GIL held (torch 2.13): short runs sometimes hung there.
    """
    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        time.sleep(PAUSE)  # releases the GIL


def several_processes() -> bool:
    """Whether this process trains together with others, from one run to the next."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def wait_for_group() -> None:
    """Wait until every process that trains together with this one has got here."""
    if several_processes():
        distributed.barrier()
