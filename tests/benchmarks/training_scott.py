"""SCOTT training on one core: T5 against the published loop, a causal student against two forwards."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from functools import partial
from typing import Any

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

import torch
from transformers.optimization import Adafactor

from cotdistill.students.student import Student
from tests.benchmarks import peers
from tests.benchmarks.gradients import gradient_distance
from tests.benchmarks.rounds import Variant, compare, interleaved, processor, report, serve
from tests.benchmarks.trainers import Work
from tests.benchmarks.workload import items, llama, t5

ROWS, SIZE, ROUNDS = 64, 16, 5  # 16 examples a step, as published
MODULE = "tests.benchmarks.training_scott"


def work(model: Callable[[], Student], optimizer: str, **params: Any) -> Work:
    """Rows, settings and parameters of the strategy that both sides are given."""
    settings = {"lr": 3e-5, "optimizer": optimizer, "weight_decay": 0.0}
    return Work(model, partial(items, ROWS), SIZE, settings=settings, params=params)


def seq2seq() -> list[Variant]:
    """T5; Adafactor with the paper's settings in all but the last."""
    adafactor = partial(Adafactor, lr=3e-5, scale_parameter=False, relative_step=False, warmup_init=False)
    given, loop = work(t5, "adafactor"), peers.seq2seq_forwards
    return [
        Variant("ours, Adafactor", given.ours("scott"), SIZE, steps=2),
        Variant(
            "published loop, padded to 128",
            given.loop("scott", loop, 128, adafactor),
            SIZE,
            bar=2.3,
            memory_bar=1 / 10,
            note="cuts targets off at 128",
        ),
        Variant("two forwards, padded to longest", given.loop("scott", loop, optimizer=adafactor), SIZE),
        Variant("ours, fused AdamW", given.ours("scott", optimizer="adamw"), SIZE, steps=2),
    ]


def causal(place: str) -> list[Variant]:
    """A decoder-only student; tags first as published, or behind the question, where the forms share it."""
    given = work(llama, "adamw", tag_place=place)
    adamw = partial(torch.optim.AdamW, lr=3e-5)
    return [
        Variant(f"ours, tag {place}", given.ours("scott"), SIZE, steps=2),
        Variant(
            f"two forwards, tag {place}",
            given.loop("scott", peers.two_forwards, optimizer=adamw),
            SIZE,
            bar=2.7 if place == "first" else 3.2,
        ),
    ]


def run(name: str, variants: list[Variant], model: Callable[[], Student], **params: Any) -> bool:
    """Measure, print and keep one table."""
    rates, memory = interleaved(MODULE, variants, ROUNDS)
    rows = compare(variants, rates, memory)
    rows[0].gradient = gradient_distance(model(), "scott", items(SIZE), **params)
    return report(
        name,
        rows,
        {
            "model": f"{model().model.num_parameters() / 1e6:.1f} M",
            "examples a step": SIZE,
            "rounds": ROUNDS,
            **processor(),
        },
    )


def main() -> bool:
    """All tables of this benchmark; `--serve NAME` is what a measured process is started with."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve")
    chosen = parser.parse_args().serve
    if chosen:
        every = (*seq2seq(), *causal("first"), *causal("last"))
        serve(next(variant for variant in every if variant.name == chosen))
        return True
    done = [
        run("training-scott-t5", seq2seq(), t5),
        run("training-scott-causal", causal("first"), llama),
        run("training-scott-causal-tag-last", causal("last"), llama, tag_place="last"),
    ]
    return all(done)


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
