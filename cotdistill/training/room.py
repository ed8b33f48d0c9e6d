"""Whether a run fits: what it takes of memory and disk against what this machine has free, before it is begun."""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import torch

from cotdistill.config import DistillConfig
from cotdistill.errors import UsageError
from cotdistill.students.devices import device_of
from cotdistill.training.footprint import Footprint, footprint
from cotdistill.training.memory import SMALLEST

LIGHTER = (
    ("--checkpoint-activations", {"checkpoint_activations": True}),
    (f"--token-budget {SMALLEST}", {"token_budget": SMALLEST}),
    ("--lora r=8", {"lora": "r=8", "merge_lora": False}),
    (
        f"--lora r=8 --token-budget {SMALLEST} --checkpoint-activations",
        {"lora": "r=8", "merge_lora": False, "token_budget": SMALLEST, "checkpoint_activations": True},
    ),
)  # what makes a run fit, the mildest first


def check_fits(config: DistillConfig, taken: Footprint, folder: Path) -> None:
    """Raise `UsageError` with the figure, and with the option that would make it fit, where a run does not."""
    need, free = taken.disk, free_disk(folder)
    if need > free:
        slim = config.lora is not None and not config.merge_lora
        remedy = "another --out" if slim else "--lora r=8 --no-merge-lora, or another --out"
        raise UsageError(
            f"--out {folder}: the student and its checkpoints would take {gib(need)} of disk, and {gib(free)} are "
            f"free; use {remedy}"
        )
    need, free = needed(config, taken), free_memory(config.device)
    if need > free:
        raise UsageError(f"training takes {gib(need)} of memory, and {gib(free)} are free; use {lighter(config, free)}")


def needed(config: DistillConfig, taken: Footprint, processes: int = 1) -> int:
    """Bytes of memory without which one of `processes` that train together cannot train.

    On a GPU micro-batches shrink by themselves until they fit; on a CPU a process that asks for too much is killed.
    """
    if device_of(config.device).startswith("cuda"):
        least = {"token_budget": SMALLEST, "checkpoint_activations": True}
        taken = footprint(config.model_copy(update=least))
    return taken.memory - (taken.states - taken.states // processes if config.parallel == "fsdp" else 0)


def lighter(config: DistillConfig, free: int, processes: int = 1) -> str:
    """The mildest option with which a run needs no more than `free` bytes of memory."""
    for option, values in LIGHTER:
        fewer = config.model_copy(update=values)
        if (config.lora is None or "lora" not in values) and needed(fewer, footprint(fewer), processes) <= free:
            return option
    return "a smaller --student, or a machine with more"


def free_disk(out: Path) -> int:
    """Bytes free where a directory is or will be."""
    return shutil.disk_usage(next(parent for parent in (out, *out.absolute().parents) if parent.exists())).free


def free_memory(device: str) -> int:
    """Bytes free on a GPU, or in main memory."""
    where = device_of(device)
    if where.startswith("cuda"):
        return int(torch.cuda.mem_get_info(torch.device(where))[0])
    return int(psutil.virtual_memory().available)


def gib(count: float) -> str:
    """`1.4 GiB`, `310 MiB`."""
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count / (1 << 20):.1f} MiB"
