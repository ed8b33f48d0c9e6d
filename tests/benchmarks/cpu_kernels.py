"""What each of training's CPU kernels is worth on this processor: our loop with all of them, without one, without any.

The table goes into cotdistill/training/cpu_kernels.py.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from contextlib import nullcontext

import torch

from cotdistill.training import cpu_kernels, train
from tests.benchmarks import peers
from tests.benchmarks.rounds import Variant, clock, compare, interleaved, report, serve
from tests.benchmarks.training_cascod import ours
from tests.benchmarks.workload import llama, t5

SIZE, ROUNDS = 16, 3
MODULE = "tests.benchmarks.cpu_kernels"
MODELS = {"llama": llama, "t5": t5}


def without_products() -> None:
    """torch's own library multiplies."""
    cpu_kernels.onednn_leads = lambda: False  # type: ignore[assignment]


def without_vocabulary() -> None:
    """Autograd hands the vocabulary's gradients on."""
    cpu_kernels.InPlaceProducts = lambda *_: cpu_kernels.CpuProducts()  # type: ignore[assignment,misc]
    cpu_kernels.rows_added = lambda _: cpu_kernels.replaced({})


def without_heap() -> None:
    """Freed memory goes back to the kernel."""
    train.keep_freed_memory = lambda: None


def without_any() -> None:
    """The switch."""
    os.environ[cpu_kernels.SWITCH] = "off"


WITHOUT: dict[str, Callable[[], None] | None] = {
    "all": None,
    "without products": without_products,
    "without vocabulary": without_vocabulary,
    "without heap": without_heap,
    "off": without_any,
}


def variants(model: str) -> list[Variant]:
    """Our CasCoD loop on one model in every way."""

    def started(change: Callable[[], None] | None) -> Callable[[], peers.Advance]:
        def start() -> peers.Advance:
            if change is not None:
                change()
            return ours(MODELS[model], "cascod", SIZE)()

        return start

    return [Variant(f"{model}, {name}", started(change), SIZE, steps=1) for name, change in WITHOUT.items()]


def rates_of_libraries(size: int = 1024, repeats: int = 5) -> dict[str, float]:
    """GFLOP/s in float32 of torch's own library and of oneDNN, best of three, and oneDNN's distance from float64."""
    left, right = torch.randn(2, size, size)
    exact = left.double() @ right.double()
    best = {"MKL GFLOP/s": 0.0, "oneDNN GFLOP/s": 0.0}
    for _ in range(3):
        for name, setting in zip(best, (nullcontext, cpu_kernels._onednn), strict=True):
            with setting():
                began = clock()
                for _ in range(repeats):
                    product = left @ right
                best[name] = max(best[name], round(2 * size**3 * repeats / (clock() - began) / 1e9, 1))
    return {**best, "oneDNN from float64": float(f"{(product.double() - exact).norm() / exact.norm():.1e}")}


def main() -> bool:
    """A table per model; `--serve NAME` is what a measured process is started with."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve")
    chosen = parser.parse_args().serve
    if chosen:
        serve(next(variant for model in MODELS for variant in variants(model) if variant.name == chosen))
        return True
    facts = {"capability": torch.backends.cpu.get_cpu_capability(), "oneDNN leads": cpu_kernels.onednn_leads()}
    libraries = rates_of_libraries()
    for model in MODELS:
        rates, memory = interleaved(MODULE, variants(model), ROUNDS)
        rows = compare(variants(model), rates, memory)
        report(f"cpu-kernels-{model}", rows, {**facts, **libraries, "torch": torch.__version__})
    return True


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
