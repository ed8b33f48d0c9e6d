"""CasCoD training on one core: ours against the published ways, a user's loop, HF Trainer and TRL."""

from __future__ import annotations

import argparse
import importlib.util
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as __main__ does, for every variant alike

import torch

from cotdistill.students.student import Student
from tests.benchmarks import peers
from tests.benchmarks.gradients import gradient_distance
from tests.benchmarks.rounds import Variant, compare, interleaved, matmul_rate, processor, report, serve
from tests.benchmarks.trainers import Work
from tests.benchmarks.workload import items, llama

ROWS, SIZE, ROUNDS = 64, 16, 5
MODULE = "tests.benchmarks.training_cascod"


def work(model: Callable[[], Student], size: int = SIZE) -> Work:
    """Rows and examples per step that every variant is given."""
    return Work(model, partial(items, ROWS), size)


def as_started(peer: Variant) -> Variant:
    """The peer without our command line's allocator setting, as its users start it."""
    return replace(peer, name=f"{peer.name}, as started", huge_pages=False)


def switched(peer: Variant) -> Variant:
    """The peer with all its products given to oneDNN by torch's own switch, which its users do not set (where
    the processor has AMX it means bfloat16): what the choice of the library alone is worth to it.
    """

    def start() -> peers.Advance:
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"
        return peer.start()

    return replace(peer, name=f"{peer.name}, by oneDNN", start=start, bar=None)


def published(model: Callable[[], Student]) -> list[Variant]:
    """Against the published code, at its 4 examples a step."""
    few = work(model, 4)
    made = [
        Variant("ours, 4 examples a step", few.ours("cascod"), 4, steps=8),
        Variant(
            "published, padded to 1024", few.loop("cascod", peers.concatenated, 1024), 4, bar=40, memory_bar=1 / 20
        ),
    ]
    return [*made, as_started(made[-1])]


def users(model: Callable[[], Student]) -> list[Variant]:
    """Against what is in use, 16 examples a step."""
    given = work(model)
    made = [
        Variant("ours", given.ours("cascod"), SIZE, steps=2),
        Variant("ours, plain cot", given.ours("cot"), SIZE, steps=2, note="CasCoD costs 1 over this; at most 1.15"),
        Variant("concat, padded to longest", given.loop("cascod", peers.concatenated), SIZE, bar=6, memory_bar=1 / 10),
        Variant("two forwards, padded", given.loop("cascod", peers.two_forwards), SIZE, bar=3.5),
        Variant("HF Trainer, two losses", given.hf("cascod"), SIZE, bar=5),
        Variant("HF Trainer, plain chain", given.hf("cot"), SIZE, bar=3),
    ]
    if importlib.util.find_spec("trl"):
        packed = given.trl("cot", 1, packing=True)
        made += [
            Variant("TRL, two sequences", given.trl("cascod", 2 * SIZE), SIZE, bar=10),
            Variant("TRL, packed plain cot", packed, given.packed_examples(), steps=3, bar=3.5),
        ]
    close = [peer for peer in made if peer.name.startswith(("HF Trainer, plain", "TRL"))]
    return [*made, *map(as_started, close), *map(switched, close)]


def wide() -> Student:
    """A model whose head is at most 20 % of its work: a big vocabulary buys nobody a ratio."""
    return llama(width=512, layers=12)


def small_head() -> list[Variant]:
    """The same comparison where the layers are most of the work; no bars."""
    chosen = [
        variant
        for variant in users(wide)
        if variant.name in ("ours", "two forwards, padded", "HF Trainer, two losses", "HF Trainer, plain chain")
    ]
    return [replace(variant, name=f"{variant.name}, small head", bar=None) for variant in chosen]


def run(name: str, variants: list[Variant], model: Callable[[], Student]) -> bool:
    """Measure, print and keep one table."""
    rate = matmul_rate()
    rates, memory = interleaved(MODULE, variants, ROUNDS)
    rate = max(rate, matmul_rate())
    rows = compare(variants, rates, memory)
    rows[0].gradient = gradient_distance(model(), "cascod", items(SIZE))
    used = rows[0].examples_per_second * work(model).useful_gflop("cascod") / rate
    facts = {
        "model": f"{model().model.num_parameters() / 1e6:.1f} M",
        "examples a step": variants[0].examples,
        "rounds": ROUNDS,
        "matmul GFLOP/s": round(rate, 1),
        "useful MFU of ours": f"{used:.0%} (bar 45%)",
        **processor(),
    }
    return report(name, rows, facts) and used >= 0.45


def main() -> bool:
    """All tables of this benchmark; `--serve NAME` is what a measured process is started with."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve")
    chosen = parser.parse_args().serve
    if chosen:
        serve(next(variant for variant in (*published(llama), *users(llama), *small_head()) if variant.name == chosen))
        return True
    done = [
        run("training-cascod-published", published(llama), llama),
        run("training-cascod", users(llama), llama),
        run("training-cascod-small-head", small_head(), wide),
    ]
    return all(done)


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
