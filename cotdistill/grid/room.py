"""Whether a grid fits: what its cells take of memory and disk against what this machine has free, before any is run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import torch

from cotdistill.config import DistillConfig
from cotdistill.errors import UsageError
from cotdistill.grid.arms import Arm
from cotdistill.grid.crews import workers_of
from cotdistill.grid.keeping import Keep, kept
from cotdistill.grid.plan import Plan
from cotdistill.grid.watching import few
from cotdistill.students.devices import device_of
from cotdistill.students.footprint import Footprint, changed, footprint
from cotdistill.students.memory import SMALLEST

LIGHTER = (("--checkpoint-activations", {"checkpoint_activations": True}),
           (f"--token-budget {SMALLEST}", {"token_budget": SMALLEST}),
           ("--lora r=8", {"lora": "r=8", "merge_lora": False}))  # what makes a run fit, the mildest first


def footprints(plan: Plan) -> dict[str, Footprint]:
    """{arm: what one of its cells takes}; each way of training is looked at once, and nothing is loaded.

    Raises `UsageError` that names every arm whose options its student cannot honour.
    """
    looked: dict[tuple[object, ...], Footprint | UsageError] = {}
    for arm in plan.arms:
        if (arm.student, arm.training) not in looked:
            try:
                looked[arm.student, arm.training] = footprint(plan.distilled(arm, 0, 1))
            except UsageError as error:
                looked[arm.student, arm.training] = error
    wrong = {str(one): [arm.label for arm in plan.arms if looked[arm.student, arm.training] is one]
             for one in looked.values() if isinstance(one, UsageError)}
    if wrong:
        raise UsageError("; ".join(f"{few(labels, 3)}: {said}" for said, labels in wrong.items()))
    return {arm.label: one for arm in plan.arms if isinstance(one := looked[arm.student, arm.training], Footprint)}


def check_room(plan: Plan, taken: Mapping[str, Footprint]) -> None:
    """Raise `UsageError` with the figure, and with the option that would make it fit, where something does not."""
    if plan.config.ray is not None:
        return  # the nodes are not this machine
    workers = workers_of(plan.config, len(plan.arms) * len(plan.config.seeds))
    need, free = disk(plan, taken, workers), free_disk(plan.out)
    if need > free:
        least = disk(plan, taken, workers, "none")
        remedy = "--keep-students none" if least < need and least <= free else "--lora r=8, or another --out"
        raise UsageError(f"--out {plan.out}: the grid's students and checkpoints would take {gib(need)} of disk, and "
                         f"{gib(free)} are free; give {remedy}")
    on_gpu = device_of(plan.config.device).startswith("cuda")
    free = free_memory(plan.config.device)
    for arm in plan.arms:
        at_once = 1 if on_gpu else workers
        if taken[arm.label].memory * at_once > free:
            raise UsageError(f"{arm.label}: training takes {gib(taken[arm.label].memory)} of memory"
                             + (f" in each of {at_once} workers" if at_once > 1 else "")
                             + f", and {gib(free)} are free; give {_remedy(plan, arm, at_once, free)}")


def _remedy(plan: Plan, arm: Arm, at_once: int, free: int) -> str:
    settings: DistillConfig = plan.distilled(arm, 0, 1)
    if at_once > 1 and footprint(settings).memory <= free:
        return "--jobs 1"
    for option, values in LIGHTER:
        if (settings.lora is None or "lora" not in values) and changed(settings, **values).memory <= free:
            return option
    return "a smaller --student, or a machine with more"


def disk(plan: Plan, taken: Mapping[str, Footprint], workers: int, keep: Keep | None = None) -> int:
    """Bytes that the students which are kept take, and those of the cells under way with their checkpoints."""
    return sum(_kept(plan, taken, keep)) + workers * max(
        one.saved + one.checkpoint * (plan.config.keep_checkpoints + 1 if plan.config.checkpoint_every else 0)
        for one in taken.values())


def _kept(plan: Plan, taken: Mapping[str, Footprint], keep: Keep | None) -> Iterator[int]:
    for arm in plan.arms:
        policy = keep or kept(plan.config, plan.distilled(arm, 0, 1))
        count = {"all": len(plan.config.seeds), "best": 1, "none": 0}[policy]
        yield count * taken[arm.label].saved


def free_disk(out: Path) -> int:
    """Bytes free where a directory is or will be."""
    return shutil.disk_usage(next(one for one in (out, *out.absolute().parents) if one.exists())).free


def free_memory(device: str) -> int:
    """Bytes free on a GPU, or in main memory."""
    where = device_of(device)
    if where.startswith("cuda"):
        return int(torch.cuda.mem_get_info(torch.device(where))[0])
    return int(psutil.virtual_memory().available)


def gib(count: float) -> str:
    """`1.4 GiB`, `310 MiB`."""
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count / (1 << 20):.1f} MiB"
