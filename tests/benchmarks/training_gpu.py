"""Students of SmolLM2-135M's and Qwen2.5's shapes on one GPU in bfloat16: ours, HF Trainer and TRL.

`python -m tests.benchmarks.training_gpu [--size 135m|0.5b|1.5b] [--rounds 5]`. TRL is measured where it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from cotdistill.config import DistillConfig
from cotdistill.students.student import Student
from cotdistill.training.objective import can_pack
from cotdistill.training.train import Loop
from tests.benchmarks import peers
from tests.benchmarks.rounds import Variant, compare, interleaved, matmul_rate, report, serve
from tests.benchmarks.workload import encoded, items, words

ROWS, PACKED = 1024, 2048
EXAMPLES = {"135m": 16, "0.5b": 8, "1.5b": 4}  # per step: the peers' whole logits have to fit beside each other
SIZES = {  # width, layers, heads, key-value heads, inner width, vocabulary
    "135m": (576, 30, 9, 3, 1536, 49_152),
    "0.5b": (896, 24, 14, 2, 4864, 151_936),
    "1.5b": (1536, 28, 12, 2, 8960, 151_936),
}
MODULE = "tests.benchmarks.training_gpu"


def qwen(size: str) -> Student:
    """Random weights, float32 under autocast as every peer has it."""
    width, layers, heads, pairs, inner, vocabulary = SIZES[size]
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=pairs,
        intermediate_size=inner,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    with torch.device("cuda"):
        return Student(Qwen2ForCausalLM(config), words())


def ours(size: str, strategy: str, **settings: object) -> peers.Advance:
    """Our loop: packed rows, the variable-length kernel, the chunked head."""
    student = qwen(size)
    data = encoded(student, strategy, items(ROWS))
    if not can_pack(student):
        print("packed attention was not found exact on this GPU: padded rows", file=sys.stderr)
    config = DistillConfig.model_validate(
        {
            "steps": 100_000,
            "batch_size": EXAMPLES[size],
            "lr": 1e-5,
            "dtype": "bfloat16",
            "schedule": "constant",
            **settings,
        }
    )
    return Loop(student, data, config, Path(tempfile.mkdtemp())).advance


def hf(size: str) -> peers.Advance:
    """HF Trainer on plain chain-of-thought."""
    student = qwen(size)
    return peers.hf_trainer(student, encoded(student, "cot", items(ROWS), "none"), EXAMPLES[size])


def trl(size: str, packing: bool) -> peers.Advance:
    """TRL's SFTTrainer on plain chain-of-thought."""
    student = qwen(size)
    data = encoded(student, "cot", items(ROWS), "none")
    return peers.trl_trainer(student, data, packed_rows(size) if packing else EXAMPLES[size], packing, PACKED)


def lengths() -> list[int]:
    """Tokens of each plain chain-of-thought example."""
    from tests.benchmarks.workload import llama

    return [len(trees[0].ids) + 1 for trees in encoded(llama(64, 1), "cot", items(ROWS), "none").samples]


def per_row() -> float:
    """Examples in one packed row of TRL's."""
    return PACKED / (sum(lengths()) / ROWS)


def packed_rows(size: str) -> int:
    """TRL's packed rows per step that hold about as many examples as the others' steps."""
    return max(1, round(EXAMPLES[size] / per_row()))


def variants(size: str) -> list[Variant]:
    """All do one chain per example; CasCoD's second loss stands on the same chain."""

    def of(build: Callable[..., peers.Advance], *args: object, **settings: object) -> Callable[[], peers.Advance]:
        return partial(build, size, *args, **settings)

    count = EXAMPLES[size]
    listed = [
        Variant("ours, cot", of(ours, "cot"), count, steps=8),
        Variant("ours, CasCoD", of(ours, "cascod"), count, steps=8, note="at most 1.15 over cot"),
        Variant("ours, cot, compiled", of(ours, "cot", compile=True), count, steps=8),
        Variant("HF Trainer, cot", of(hf), count, steps=8),
    ]
    if importlib.util.find_spec("trl"):
        rows = packed_rows(size)
        listed += [
            Variant("TRL, cot", of(trl, False), count, steps=8, bar=3.0),
            Variant("TRL, packed cot", of(trl, True), rows * per_row(), steps=8, bar=1.5),
        ]
    return listed


def main() -> bool:
    """One table; skipped without a GPU."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve")
    parser.add_argument("--size", choices=SIZES, default="0.5b")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    if not torch.cuda.is_available():
        print("training_gpu: no CUDA device here, nothing measured", file=sys.stderr)
        return True
    if chosen.serve:
        name, _, size = chosen.serve.rpartition(" @ ")
        serve(next(variant for variant in variants(size) if variant.name == name))
        return True
    size = chosen.size
    listed = [
        Variant(f"{v.name} @ {size}", v.start, v.examples, v.steps, v.bar, v.memory_bar, v.note) for v in variants(size)
    ]
    rate = matmul_rate(8192, 20)
    rates, memory = interleaved(MODULE, listed, chosen.rounds)
    rows = compare(listed, rates, memory)
    tokens = sum(lengths()) / ROWS
    width, layers, heads, pairs, inner, vocabulary = SIZES[size]
    matrices = layers * (width * (2 * width + 2 * pairs * width // heads) + 3 * width * inner) + vocabulary * width
    for row in rows:
        used = 6 * matrices * row.examples_per_second * tokens / (rate * 1e9)
        row.note = f"{row.examples_per_second * tokens:,.0f} tok/s, MFU {used:.0%} {row.note}"
    return report(
        f"training-gpu-{size}",
        rows,
        {
            "device": torch.cuda.get_device_name(),
            "matmul TFLOP/s": round(rate / 1e3),
            "torch": torch.__version__,
            "examples per step": EXAMPLES[size],
            "tokens per example": round(tokens),
            "rounds": chosen.rounds,
        },
    )


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
