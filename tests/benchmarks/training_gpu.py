"""Students of SmolLM2-135M's and Qwen2.5's shapes on one GPU in bfloat16: ours, HF Trainer and TRL.

`python -m tests.benchmarks.training_gpu [--size 135m|0.5b|1.5b] [--rounds 3]`. TRL is measured where it is installed,
with FlashAttention and with Liger's kernels where those are. Steps are large enough that the GPU is the limit, not the
launching of kernels. `--size tiny`: a minute on a CPU, which shows that all of it runs.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from cotdistill.students.student import Student
from tests.benchmarks.rounds import Row, Variant, compare, device_name, interleaved, matmul_rate, report, serve
from tests.benchmarks.trainers import Work
from tests.benchmarks.workload import items, words

ROWS, ROUNDS, PACKED = 512, 3, 2048
CHAINS = (150, 450)  # tokens of a rationale
MODULE = "tests.benchmarks.training_gpu"


@dataclass(frozen=True)
class Size:
    """A student's shape, a step's examples, and how many peers' weights fit on the GPU beside ours."""

    width: int
    layers: int
    heads: int
    pairs: int  # key-value heads
    inner: int
    vocabulary: int
    examples: int  # HF Trainer's whole logits have to fit
    beside: int
    device: str = "cuda"
    steps: int = 4  # of a turn


SIZES = {
    "135m": Size(576, 30, 9, 3, 1536, 49_152, examples=128, beside=8),
    "0.5b": Size(896, 24, 14, 2, 4864, 151_936, examples=32, beside=2),
    "1.5b": Size(1536, 28, 12, 2, 8960, 151_936, examples=16, beside=1),
    "tiny": Size(64, 2, 2, 1, 128, 32_000, examples=4, beside=8, device="cpu", steps=1),
}


def qwen(size: Size, attention: str = "sdpa", device: str | None = None) -> Student:
    """Random weights, float32 under autocast as every peer has it; `device` meta: a shape without weights."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=size.vocabulary,
        hidden_size=size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.pairs,
        intermediate_size=size.inner,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        attn_implementation=attention,
    )
    with torch.device(device or size.device):
        return Student(Qwen2ForCausalLM(config), words())


def work(size: Size, attention: str = "sdpa", device: str | None = None) -> Work:
    """The rows, and our settings."""
    dtype = "bfloat16" if size.device == "cuda" else "float32"
    settings = {"lr": 1e-5, "dtype": dtype, "device": size.device}
    rows = partial(items, ROWS if size.device == "cuda" else 8, rationale=CHAINS)
    model = partial(qwen, size, attention, device)
    return Work(model, rows, size.examples, row_length=PACKED, settings=settings)


@cache
def packed(size: Size) -> tuple[int, float]:
    """TRL's packed rows per step that hold about as many examples as the others' steps, and how many they hold."""
    held = work(size, device="meta").packed_examples()
    rows = max(1, round(size.examples / held))
    return rows, rows * held


def variants(size: Size) -> list[Variant]:
    """All do one chain per example; CasCoD's second loss stands on the same chain."""
    given, count = work(size), size.examples
    listed = [Variant("ours, cot", given.ours("cot"), count), Variant("HF Trainer, cot", given.hf("cot"), count)]
    if size.device == "cuda":
        listed += [
            Variant("ours, CasCoD", given.ours("cascod"), count, note="at most 1.15 over cot"),
            Variant("ours, cot, compiled", given.ours("cot", compile=True), count),
        ]
    if importlib.util.find_spec("trl"):
        rows, held = packed(size)
        flash = importlib.util.find_spec("flash_attn") and size.device == "cuda"
        attending = work(size, "flash_attention_2") if flash else given
        listed += [
            Variant("TRL, cot", given.trl("cot", count), count, bar=3.0),
            Variant("TRL, padding-free cot", attending.trl("cot", count, padding_free=True), count, bar=1.5),
            Variant("TRL, packed cot", attending.trl("cot", rows, packing=True), held, bar=1.5),
        ]
        if importlib.util.find_spec("liger_kernel") and size.device == "cuda":
            liger = attending.trl("cot", rows, packing=True, use_liger_kernel=True)
            listed.append(Variant("TRL, packed cot, Liger", liger, held, bar=1.5))
    return [replace(variant, steps=size.steps) for variant in listed]


def measured(listed: Sequence[Variant], beside: int, rounds: int) -> tuple[list[Row], list[str]]:
    """Rows of all that ran, each beside ours, `beside` peers at a time; the names of those that did not.

    A peer that does not fit, or does not run with the versions found here, costs only its own row.
    """
    ours, *peers = listed
    rows: list[Row] = []
    failed: list[str] = []
    groups = [peers[at : at + beside] for at in range(0, len(peers), beside)]
    while groups:
        group = groups.pop(0)
        try:
            found = compare([ours, *group], *interleaved(MODULE, [ours, *group], rounds))
        except RuntimeError as died:
            print(died, file=sys.stderr, flush=True)
            failed += [group[0].name] if len(group) == 1 else []
            groups += [[peer] for peer in group if len(group) > 1]
        else:
            rows += found[bool(rows) :]  # ours once
    return rows, failed


def main() -> bool:
    """One table; skipped without a GPU."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve")
    parser.add_argument("--size", choices=SIZES, default="0.5b")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    chosen = parser.parse_args()
    if chosen.serve:
        size = SIZES[chosen.serve.rpartition(" @ ")[2]]
        serve(next(variant for variant in variants(size) if variant.name == chosen.serve.rpartition(" @ ")[0]))
        return True
    size = SIZES[chosen.size]
    if size.device == "cuda" and not torch.cuda.is_available():
        print("training_gpu: no CUDA device here, nothing measured", file=sys.stderr)
        return True
    listed = [replace(variant, name=f"{variant.name} @ {chosen.size}") for variant in variants(size)]
    rate = matmul_rate(8192, 20) if size.device == "cuda" else matmul_rate()
    rows, failed = measured(listed, size.beside, chosen.rounds)
    shape = work(size, device="meta")
    useful = shape.useful_gflop("cot")
    tokens = statistics.mean(len(trees[0].ids) for trees in shape.encoded(shape.model(), "cot", "none").samples)
    for row in rows:
        used = row.examples_per_second * useful / rate
        row.note = f"{row.examples_per_second * tokens:,.0f} tok/s, useful MFU {used:.0%} {row.note}"
    facts = {
        "device": device_name(),
        "matmul TFLOP/s": round(rate / 1e3, 2),
        "torch": torch.__version__,
        "examples per step": size.examples,
        "tokens per example": round(tokens),
        "rounds": chosen.rounds,
        "did not run": ", ".join(failed) or "none",
    }
    return bool(rows) and report(f"training-gpu-{chosen.size}", rows, facts) and not failed


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
