"""SCOTT training on one core: T5 against the published loop, a causal student against two forwards."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

import torch
from transformers.optimization import Adafactor

from cotdistill.config import DistillConfig
from cotdistill.students.student import Student
from cotdistill.training.train import Loop
from tests.benchmarks import peers
from tests.benchmarks.gradients import gradient_distance
from tests.benchmarks.rounds import Variant, compare, interleaved, report, serve
from tests.benchmarks.workload import encoded, items, llama, t5

ROWS, SIZE, ROUNDS = 64, 16, 5  # 16 examples a step, as published
MODULE = "tests.benchmarks.training_scott"


def ours(model: Callable[[], Student], optimizer: str, **params: Any) -> Callable[[], peers.Advance]:
    """Our loop."""

    def start() -> peers.Advance:
        student = model()
        config = DistillConfig.model_validate(
            {
                "steps": 100_000,
                "batch_size": SIZE,
                "lr": 3e-5,
                "device": "cpu",
                "schedule": "constant",
                "optimizer": optimizer,
                "weight_decay": 0.0,
            }
        )
        data = encoded(student, "scott", items(ROWS), **params)
        return Loop(student, data, config, Path(tempfile.mkdtemp())).advance

    return start


def theirs(
    model: Callable[[], Student],
    loss: Callable[..., torch.Tensor],
    optimizer: Callable[[Any], Any],
    width: int | None = None,
    **params: Any,
) -> Callable[[], peers.Advance]:
    """A hand-written loop."""

    def start() -> peers.Advance:
        student = model()
        data = encoded(student, "scott", items(ROWS), "none", **params)
        return peers.loop(student, data, SIZE, loss, optimizer(student.model.parameters()), width)

    return start


def seq2seq() -> list[Variant]:
    """T5; Adafactor with the paper's settings in all but the last."""
    adafactor = partial(Adafactor, lr=3e-5, scale_parameter=False, relative_step=False, warmup_init=False)
    loop = peers.seq2seq_forwards
    return [
        Variant("ours, Adafactor", ours(t5, "adafactor"), SIZE, steps=2),
        Variant(
            "published loop, padded to 128",
            theirs(t5, loop, adafactor, 128),
            SIZE,
            bar=2.3,
            memory_bar=1 / 10,
            note="cuts targets off at 128",
        ),
        Variant("two forwards, padded to longest", theirs(t5, loop, adafactor), SIZE),
        Variant("ours, fused AdamW", ours(t5, "adamw"), SIZE, steps=2),
    ]


def causal(place: str) -> list[Variant]:
    """A decoder-only student; tags first as published, or behind the question, where the forms share it."""
    adamw = partial(torch.optim.AdamW, lr=3e-5)
    return [
        Variant(f"ours, tag {place}", ours(llama, "adamw", tag_place=place), SIZE, steps=2),
        Variant(
            f"two forwards, tag {place}",
            theirs(llama, peers.two_forwards, adamw, tag_place=place),
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
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
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
