"""Whether a grid fits: the memory and disk its cells take and what this machine has free, before any cell is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cotdistill.errors import UsageError
from cotdistill.grid.choose_executor import workers_of
from cotdistill.grid.executors import together
from cotdistill.grid.keeping import Keep, kept
from cotdistill.grid.plan import Plan
from cotdistill.grid.watching import few
from cotdistill.students.devices import device_of
from cotdistill.training.footprint import Footprint, footprint
from cotdistill.training.room import free_disk, free_memory, gib, lighter, needed


def footprints(plan: Plan) -> dict[str, Footprint]:
    """{arm: the footprint of one of its cells}; each way of training is measured once, and nothing is loaded.

    Raises `UsageError` that names every arm whose options its student cannot honour.
    """
    looked: dict[tuple[object, ...], Footprint] = {}
    taken: dict[str, Footprint] = {}
    wrong: dict[str, list[str]] = {}
    for arm in plan.arms:
        way = arm.student, arm.training
        try:
            if way not in looked:
                looked[way] = footprint(plan.distilled(arm, 0, 1))
            taken[arm.label] = looked[way]
        except UsageError as error:
            wrong.setdefault(str(error), []).append(arm.label)
    if wrong:
        raise UsageError("; ".join(f"{few(labels, 3)}: {problem}" for problem, labels in wrong.items()))
    return taken


def check_room(plan: Plan, taken: Mapping[str, Footprint]) -> None:
    """Raise `UsageError` with the numbers, and the option that would help, where memory or disk do not suffice."""
    if plan.config.ray is not None:
        return  # the cells run on other machines
    workers = workers_of(plan.config, len(plan.arms) * len(plan.config.seeds))
    need, free = disk_of_grid(plan, taken, workers), free_disk(plan.out)
    if need > free:
        least = disk_of_grid(plan, taken, workers, "none")
        remedy = "--keep-students none" if least < need and least <= free else "--lora r=8, or another --out"
        raise UsageError(
            f"--out {plan.out}: the grid's students and checkpoints would take {gib(need)} of disk, and "
            f"{gib(free)} are free; use {remedy}"
        )
    free, processes = free_memory(plan.config.device), together(plan.config.gpus_per_cell)
    on_gpu = device_of(plan.config.device).startswith("cuda")  # of which every process has its own
    alone, at_once = (1, 1) if on_gpu else (processes, workers * processes)
    for arm in plan.arms:
        settings = plan.distilled(arm, 0, 1)
        need = needed(settings, taken[arm.label], processes)
        if need * at_once > free:
            raise UsageError(
                f"{arm.label}: training takes {gib(need)} of memory"
                + (f" in each of {at_once} processes" if at_once > 1 else "")
                + f", and {gib(free)} are free; use "
                + ("--jobs 1" if need * alone <= free else lighter(settings, free // alone, processes))
            )


def disk_of_grid(plan: Plan, taken: Mapping[str, Footprint], workers: int, keep: Keep | None = None) -> int:
    """Bytes that the students which are kept take, and those of the cells under way with their checkpoints."""
    under_way = max(one.disk for one in taken.values())
    return sum(_kept(plan, taken, keep)) + workers * under_way


def _kept(plan: Plan, taken: Mapping[str, Footprint], keep: Keep | None) -> Iterator[int]:
    for arm in plan.arms:
        policy = keep or kept(plan.config.keep_students, plan.distilled(arm, 0, 1))
        count = {"all": len(plan.config.seeds), "best": 1, "none": 0}[policy]
        yield count * taken[arm.label].saved
