"""Training with the teacher's distributions (`--kd`) against plain training: memory and time of the same steps."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from datetime import date
from pathlib import Path

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

import numpy as np
import torch

from cotdistill.config import DistillConfig
from cotdistill.data.distributions import Distributions, Recorded, recorded_key, save, vocabulary_digest
from cotdistill.data.records import Item
from cotdistill.strategies.join import join
from cotdistill.strategies.registry import create
from cotdistill.students.student import Student
from cotdistill.training.teaching import taught
from cotdistill.training.train import Loop
from tests.benchmarks import peers
from tests.benchmarks.rounds import RESULTS, Variant, interleaved, serve
from tests.benchmarks.workload import VOCABULARY, encoded, items, llama

MODULE, ROWS, SIZE, K, ROUNDS = "tests.benchmarks.kd", 64, 16, 32, 5
MEMORY = 1.3  # bar: what a step needs on top of weights and optimizer state, with --kd over without


def distributions(student: Student, rows: list[Item], file: Path) -> None:
    """A file of random ones, K tokens along each rationale."""
    draw, recorded = np.random.default_rng(0), {}
    for row in rows:
        for rationale in row.rationales:
            tokens = np.array(student.tokens.segment(" " + rationale.text), np.int32)
            ids = ((draw.integers(VOCABULARY, size=(len(tokens), 1)) + 997 * np.arange(K)) % VOCABULARY).astype(
                np.int32
            )
            logprobs = np.log(draw.dirichlet(np.ones(K + 1), len(tokens))[:, :K]).astype(np.float16)
            recorded[recorded_key(row.id, rationale.kind, rationale.text)] = Recorded(tokens, ids, logprobs)
    save(file, Distributions.of(recorded, vocabulary_digest(student.tokens.tokenizer.get_vocab()), K))


def training(kd: str | None) -> peers.Advance:
    """Our loop on cot, with or without the term."""
    student, rows, folder = llama(), items(ROWS), Path(tempfile.mkdtemp())
    config = DistillConfig(steps=100_000, batch_size=SIZE, lr=1e-4, device="cpu", schedule="constant", kd=kd)
    data, teaching = encoded(student, "cot", rows), None
    if kd is not None:
        distributions(student, rows, folder / "kd.safetensors")
        config = config.model_copy(update={"kd_file": folder / "kd.safetensors"})
        data, teaching = taught(config, data, join(rows, create("cot"))[0])
    return Loop(student, data, config, folder, teaching=teaching).advance


VARIANTS = [
    Variant("plain", lambda: training(None), SIZE, steps=2),
    *(Variant(kd, lambda kd=kd: training(kd), SIZE, steps=2) for kd in ("kl", "reverse-kl", "jsd:0.5")),  # type: ignore[misc]
]


def main() -> bool:
    """Print and keep the memory of a step, and the seconds of the same steps, over those of plain training."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if given.serve:
        serve(next(variant for variant in VARIANTS if variant.name == given.serve))
        return True
    rates, memory = interleaved(MODULE, VARIANTS, given.rounds)
    found = {}
    for variant, own in zip(VARIANTS, rates, strict=True):
        seconds = statistics.median(plain / one for plain, one in zip(rates[0], own, strict=True))
        part = memory[variant.name] / memory["plain"]
        found[variant.name] = {"MiB": memory[variant.name], "memory": part, "seconds": seconds}
        missed = "" if part <= MEMORY else "  MISSED"
        print(f"{variant.name:10} {memory[variant.name]:6.0f} MiB, {part:.2f}x{missed}; {seconds:.2f}x the seconds")
    RESULTS.mkdir(exist_ok=True)
    kept = {"torch": torch.__version__, "bar": MEMORY, "found": found}
    (RESULTS / f"kd-{date.today().isoformat()}.json").write_text(json.dumps(kept, indent=1) + "\n")
    return all(record["memory"] <= MEMORY for record in found.values())


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
