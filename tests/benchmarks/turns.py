"""Decoding variants take turns in their own processes; questions are ids of CommonsenseQA's lengths."""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from cotdistill.decoding.decode import Prompt
from tests.benchmarks.rounds import Variant, Worker, compare, report, serve
from tests.benchmarks.workload import VOCABULARY
from tests.decoding.sessions import FreeSession

ROUNDS = 5
Table = tuple[str, list[Variant], dict[str, Any]]  # its name, variants (ours first), facts


@dataclass(frozen=True)
class Asked:
    """One prompt a context, as ids, and how many tokens are decoded (random weights stop nowhere)."""

    prompts: tuple[tuple[int, ...], ...]
    length: int

    def session(self) -> FreeSession:
        """A fresh session."""
        return FreeSession([Prompt(list(ids)) for ids in self.prompts], self.length)


def ids(draw: random.Random, low: int, high: int) -> tuple[int, ...]:
    """Between `low` and `high` random ids, none of them special."""
    return tuple(draw.randrange(300, VOCABULARY) for _ in range(draw.randint(low, high)))


def asked(count: int, contexts: int, prefix: int, seed: int = 0) -> list[Asked]:
    """Questions of 30-80 ids behind a shared prefix, their contexts ending in 1-6; 20-120 ids are decoded."""
    draw = random.Random(seed)
    shared = ids(draw, prefix, prefix)
    made = []
    for _ in range(count):
        question = ids(draw, 30, 80)
        made.append(
            Asked(
                tuple((*shared, *question, *(ids(draw, 1, 6) if contexts > 1 else ())) for _ in range(contexts)),
                draw.randint(20, 120),
            )
        )
    return made


def rates(module: str, variants: list[Variant], rounds: int = ROUNDS) -> list[list[float]]:
    """Examples per second of every variant in every round; each waits for its turn, the first one changes."""
    workers = [Worker(module, variant) for variant in variants]
    try:
        found: list[list[float]] = [[] for _ in variants]
        for turn in range(rounds):
            for step in range(len(workers)):
                at = (turn + step) % len(workers)
                found[at].append(variants[at].examples / workers[at].ask("advance 1"))
        return found
    finally:
        for worker in workers:
            worker.close()


def peak(module: str, variant: Variant) -> float:
    """MiB a variant needs on top of the model."""
    worker = Worker(module, variant)
    try:
        return worker.ask("peak 1")
    finally:
        worker.close()


def run(
    module: str, variants: list[Variant], tables: Callable[[], list[Table]], served: list[Variant] | None = None
) -> bool:
    """Measure, then print and keep all tables; `--serve NAME` is what a measured process is started with."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    if options.serve:
        serve(next(variant for variant in served or variants if variant.name == options.serve))
        return True
    measured = rates(module, variants, options.rounds)
    found = {variant.name: rate for variant, rate in zip(variants, measured, strict=True)}
    done = []
    for name, chosen, facts in tables():
        rows = compare(chosen, [found[variant.name] for variant in chosen], {})
        done.append(report(name, rows, {"rounds": options.rounds, **facts, "torch": torch.__version__}))
    return all(done)
