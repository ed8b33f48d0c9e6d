"""Training at real size on one core: SmolLM2-135M on CommonsenseQA with recorded chains, ours beside what is in use.

`python -m tests.benchmarks.training_real [TABLE...] [--rounds 2]`. Model and rows are found as the tests that read
them find them (tests/real.py: COTDISTILL_SMOLLM2, COTDISTILL_DATA); where they are absent nothing is measured.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as __main__ does, for every variant alike

import pytest
import torch

from cotdistill.config import ElicitConfig
from cotdistill.data.records import Item
from cotdistill.eliciting import load_pool
from cotdistill.students.load import load_student
from cotdistill.students.student import Student
from cotdistill.teachers.recorded import RECORDED, replayed
from tests import real
from tests.benchmarks import peers
from tests.benchmarks.gradients import gradient_distance
from tests.benchmarks.rounds import Variant, compare, interleaved, matmul_rate, processor, report, serve
from tests.benchmarks.trainers import Work

ROWS, SIZE, ROUNDS = 64, 4, 2
QUESTIONS = "commonsenseqa.train"
PALM, LLAMA = "palm-540b", "llama3-70b-L3"
ADAPTERS = "r=16,alpha=32"
MODULE = "tests.benchmarks.training_real"


def smollm2() -> Student:
    """The pretrained student, in float32."""
    return load_student(str(real.smollm2()), device=torch.device("cpu"))


@cache
def rows(*teachers: str) -> list[Item]:
    """The first questions with their teachers' chains, as `elicit --teacher recorded:` reads and judges them.

    PaLM answers a question once: SCOTT's pairs are a wrong chain of PaLM's, which argues for a wrong answer, and a
    right one of Llama's for the same question.
    """
    files = ",".join(str(real.data(f"teacher/{QUESTIONS}.{teacher}.jsonl")) for teacher in teachers)
    both = len(teachers) > 1
    config = ElicitConfig(
        data=str(real.data(f"normalised/{QUESTIONS}.jsonl")), teacher=RECORDED + files, counterfactual=both
    )
    read = list(replayed(config, load_pool(config)[: 8 * ROWS]))
    return [item for item in read if item.kept("factual") and (item.kept("counterfactual") or not both)][:ROWS]


def work(lora: str | None, *teachers: str) -> Work:
    """A packed row of TRL's holds about as many examples as the others' steps."""
    return Work(smollm2, partial(rows, *teachers), SIZE, lora, row_length=384)


def two_losses(given: Work, serving: bool) -> list[Variant]:
    """CasCoD: ours on one chain, the others on two sequences of an example."""
    made = [
        Variant("ours, CasCoD", given.ours("cascod"), SIZE),
        Variant("two forwards", given.loop("cascod", peers.two_forwards), SIZE),
        Variant("HF Trainer, two losses", given.hf("cascod"), SIZE),
    ]
    if importlib.util.find_spec("trl"):
        made.append(Variant("TRL, two sequences", given.trl("cascod", 2 * SIZE), SIZE, bar=5))
    return made


def plain_chain(given: Work, serving: bool) -> list[Variant]:
    """Plain chain of thought: one sequence an example for everybody."""
    made = [
        Variant("ours, cot", given.ours("cot"), SIZE),
        Variant("HF Trainer, plain chain", given.hf("cot"), SIZE, bar=2),
    ]
    if importlib.util.find_spec("trl"):
        held = 1.0 if serving else given.packed_examples()
        made += [
            Variant("TRL, packed", given.trl("cot", 1, packing=True), held, bar=2),
            Variant("TRL, padding-free", given.trl("cot", SIZE, padding_free=True), SIZE),
        ]
    return made


def scott(given: Work, serving: bool) -> list[Variant]:
    """SCOTT with the tags first, as published."""
    return [
        Variant("ours, SCOTT", given.ours("scott"), SIZE),
        Variant("two forwards", given.loop("scott", peers.two_forwards), SIZE),
    ]


# Strategy, work and variants of each table: few enough processes that their weights and optimizer states fit in memory
# beside each other.
TABLES: dict[str, tuple[str, Work, Callable[[Work, bool], list[Variant]]]] = {
    "cot": ("cot", work(None, PALM), plain_chain),
    "cascod": ("cascod", work(None, PALM), two_losses),
    "scott": ("scott", work(None, PALM, LLAMA), scott),
    "cot-lora": ("cot", work(ADAPTERS, PALM), plain_chain),
    "cascod-lora": ("cascod", work(ADAPTERS, PALM), two_losses),
}


def variants(table: str, serving: bool = False) -> list[Variant]:
    """Of one table, which their names end in; `serving`: to be started here, not to be compared."""
    _, given, made = TABLES[table]
    return [replace(variant, name=f"{variant.name} @ {table}") for variant in made(given, serving)]


def run(table: str, rounds: int) -> bool:
    """Measure, print and keep one table."""
    strategy, given, _ = TABLES[table]
    busy, listed, peak = processor(), variants(table), matmul_rate()
    gflop: dict[str, float] = {}
    rates, memory = interleaved(MODULE, listed, rounds, gflop)
    peak = max(peak, matmul_rate())
    found = compare(listed, rates, memory, gflop)
    found[0].gradient = gradient_distance(given.student(), strategy, given.rows()[:2])
    facts = {
        "model": f"SmolLM2-135M{f', LoRA {given.lora}' if given.lora else ''}",
        "examples a step": SIZE,
        "rounds": rounds,
        "matmul GFLOP/s": round(peak, 1),
        "useful MFU of ours": f"{found[0].examples_per_second * given.useful_gflop(strategy) / peak:.0%}",
        **busy,
    }
    return report(f"training-real-{table}", found, facts)


def main() -> bool:
    """Some tables or all; `--serve NAME` is what a measured process is started with."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    parser = argparse.ArgumentParser()
    parser.add_argument("tables", nargs="*", help=", ".join(TABLES))
    parser.add_argument("--serve")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    chosen = parser.parse_args()
    if chosen.serve:
        listed = variants(chosen.serve.rpartition(" @ ")[2], serving=True)
        serve(next(variant for variant in listed if variant.name == chosen.serve))
        return True
    try:
        real.smollm2(), rows(PALM), rows(PALM, LLAMA)
    except pytest.skip.Exception as absent:
        print(f"training_real: nothing measured, {absent}", file=sys.stderr)
        return True
    done = [run(table, chosen.rounds) for table in chosen.tables or TABLES]
    return all(done)


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
