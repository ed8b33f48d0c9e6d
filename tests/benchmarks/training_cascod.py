"""CasCoD training on one core: ours against the published ways, a user's loop, HF Trainer and TRL."""

from __future__ import annotations

import argparse
import importlib.util
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as __main__ does, for every variant alike

import torch

from cotdistill.config import DistillConfig
from cotdistill.students.student import Student
from cotdistill.training.train import Loop
from tests.benchmarks import peers
from tests.benchmarks.gradients import gradient_distance
from tests.benchmarks.rounds import Variant, compare, interleaved, matmul_rate, report, serve
from tests.benchmarks.workload import encoded, items, llama

ROWS, SIZE, ROUNDS = 64, 16, 5
Model = Callable[[], Student]
MODULE = "tests.benchmarks.training_cascod"


def ours(model: Model, strategy: str, size: int, **settings: object) -> Callable[[], peers.Advance]:
    """Our loop, advanced optimizer step by optimizer step."""

    def start() -> peers.Advance:
        student = model()
        data = encoded(student, strategy, items(ROWS))
        config = DistillConfig(steps=100_000, batch_size=size, lr=1e-4, device="cpu", schedule="constant", **settings)
        return Loop(student, data, config, Path(tempfile.mkdtemp())).advance

    return start


def plain(
    model: Model, strategy: str, size: int, loss: Callable[..., torch.Tensor], width: int | None = None
) -> Callable[[], peers.Advance]:
    """A hand-written loop with torch's default AdamW."""

    def start() -> peers.Advance:
        student = model()
        optimizer = torch.optim.AdamW(student.model.parameters(), lr=1e-4)
        return peers.loop(student, encoded(student, strategy, items(ROWS), "none"), size, loss, optimizer, width)

    return start


def trainer(model: Model, strategy: str, size: int) -> Callable[[], peers.Advance]:
    """HF Trainer."""

    def start() -> peers.Advance:
        student = model()
        return peers.hf_trainer(student, encoded(student, strategy, items(ROWS), "none"), size)

    return start


def trl(model: Model, strategy: str, size: int, packing: bool) -> Callable[[], peers.Advance]:
    """TRL's SFTTrainer."""

    def start() -> peers.Advance:
        student = model()
        return peers.trl_trainer(student, encoded(student, strategy, items(ROWS), "none"), size, packing)

    return start


def packed_examples(model: Model, max_length: int = 1024) -> float:
    """How many plain chain-of-thought examples a row of TRL's packing holds on average."""
    from datasets import Dataset
    from trl.data_utils import pack_dataset

    student = model()
    ids = [[*trees[0].ids.tolist(), 0] for trees in encoded(student, "cot", items(ROWS), "none").samples]
    return ROWS / len(pack_dataset(Dataset.from_dict({"input_ids": ids}), max_length))


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


def published(model: Model) -> list[Variant]:
    """Against the published code, at its 4 examples a step."""
    made = [
        Variant("ours, 4 examples a step", ours(model, "cascod", 4), 4, steps=8),
        Variant(
            "published, padded to 1024",
            plain(model, "cascod", 4, peers.concatenated, 1024),
            4,
            bar=40,
            memory_bar=1 / 20,
        ),
    ]
    return [*made, as_started(made[-1])]


def users(model: Model) -> list[Variant]:
    """Against what is in use, 16 examples a step."""
    made = [
        Variant("ours", ours(model, "cascod", SIZE), SIZE, steps=2),
        Variant(
            "ours, plain cot", ours(model, "cot", SIZE), SIZE, steps=2, note="CasCoD costs 1 over this; at most 1.15"
        ),
        Variant(
            "concat, padded to longest",
            plain(model, "cascod", SIZE, peers.concatenated),
            SIZE,
            bar=6,
            memory_bar=1 / 10,
        ),
        Variant("two forwards, padded", plain(model, "cascod", SIZE, peers.two_forwards), SIZE, bar=3.5),
        Variant("HF Trainer, two losses", trainer(model, "cascod", SIZE), SIZE, bar=5),
        Variant("HF Trainer, plain chain", trainer(model, "cot", SIZE), SIZE, bar=3),
    ]
    if importlib.util.find_spec("trl"):
        made += [
            Variant("TRL, two sequences", trl(model, "cascod", 2 * SIZE, False), SIZE, bar=10),
            Variant("TRL, packed plain cot", trl(model, "cot", 1, True), packed_examples(model), steps=3, bar=3.5),
        ]
    close = [peer for peer in made if peer.name.startswith(("HF Trainer, plain", "TRL"))]
    return [*made, *map(as_started, close), *map(switched, close)]


def useful_gflop(model: Model) -> float:
    """Least work of one example: its tokens once through the layers, its learned tokens once through the
    head.
    """
    student = model()
    data = encoded(student, "cascod", items(ROWS), "chain")
    layers = sum(p.numel() for name, p in student.model.named_parameters() if ".layers." in name and p.ndim == 2)
    head = student.model.get_output_embeddings().weight.numel()
    config = student.model.config
    total = 0
    for trees in data.samples:
        for tree in trees:
            length = len(tree.ids)
            attention = 2 * length * length * config.hidden_size * config.num_hidden_layers  # causal half of 4 T^2 D
            total += 3 * (2 * length * layers + 2 * len(set(tree.positions.tolist())) * head + attention)
    return total / len(data.samples) / 1e9


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


def run(name: str, variants: list[Variant], model: Model) -> bool:
    """Measure, print and keep one table."""
    rate = matmul_rate()
    rates, memory = interleaved(MODULE, variants, ROUNDS)
    rate = max(rate, matmul_rate())
    rows = compare(variants, rates, memory)
    rows[0].gradient = gradient_distance(model(), "cascod", items(SIZE))
    used = rows[0].examples_per_second * useful_gflop(model) / rate
    facts = {
        "model": f"{model().model.num_parameters() / 1e6:.1f} M",
        "examples a step": variants[0].examples,
        "rounds": ROUNDS,
        "matmul GFLOP/s": round(rate, 1),
        "useful MFU of ours": f"{used:.0%} (bar 45%)",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
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
