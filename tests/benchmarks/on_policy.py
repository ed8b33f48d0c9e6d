"""On-policy training (`distill --on-policy 1`) on one core against TRL's DistillationTrainer: the loss on the same
texts, and the tokens that are written and learned from in a second."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from pathlib import Path

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

import torch

from cotdistill.config import DistillConfig
from cotdistill.decoding.own_words import on_policy
from cotdistill.strategies.registry import create
from cotdistill.students.student import Student
from cotdistill.training.objective import can_pack, collate, head_is_linear, loss
from cotdistill.training.on_policy import OnPolicy
from cotdistill.training.packed_attention import PACKED, using_attention
from cotdistill.training.train import Loop
from cotdistill.training.training_set import TrainingRows, TrainingSet
from tests.benchmarks import peers
from tests.benchmarks.rounds import RESULTS, Variant, compare, interleaved, serve
from tests.benchmarks.workload import items, llama

MODULE, ROWS, SIZE, ROUNDS = "tests.benchmarks.on_policy", 64, 8, 5
SLOT = 24  # tokens that random weights write into each of cot's two slots: nearly always all that they may
BETAS = {"kl": 0.0, "reverse-kl": 1.0, "jsd:0.3": 0.3}  # TRL's names of the divergences
SAME = 1e-5  # bar: relative distance of loss and gradient from TRL's


def teacher_model() -> Student:
    """Three times the student's size."""
    return llama(width=512, layers=8, seed=1)


def settings(teacher: Path, **given: object) -> DistillConfig:
    """Every example of a step in the student's own words."""
    plain = {"steps": 100_000, "batch_size": SIZE, "lr": 1e-4, "device": "cpu", "schedule": "constant"}
    taught = {"teacher": str(teacher), "on_policy": 1.0, "on_policy_tokens": SLOT}
    return DistillConfig.model_validate({**plain, **taught, **given})


def prepared(config: DistillConfig, student: Student) -> tuple[TrainingSet, OnPolicy]:
    """What `distill` prepares before its loop."""
    rows = TrainingRows(config, create("cot"), items(ROWS), student)
    learned = rows.training_set()
    policy = on_policy(rows, learned)
    assert policy is not None
    return learned, policy


def saved(teacher: Student) -> Path:
    """Where a teacher lies, for `--teacher`."""
    folder = Path(tempfile.mkdtemp()) / "teacher"
    teacher.save(folder)
    return folder


def ours() -> peers.Advance:
    """The loop of `distill --on-policy 1`."""
    student, folder = llama(), Path(tempfile.mkdtemp())
    config = settings(saved(teacher_model()))
    learned, policy = prepared(config, student)
    return Loop(student, learned.data, config, folder, on_policy=policy).advance


def trl() -> peers.Advance:
    """TRL's trainer on the same questions; texts as long as both of our slots."""
    source = create("cot").form("cot").source
    prompts = [source.replace("{question}", row.question) for row in items(ROWS)]
    return peers.trl_on_policy(llama(), teacher_model(), prompts, SIZE, 2 * SLOT)


VARIANTS = [Variant("ours", ours, 2 * SLOT * SIZE), Variant("TRL DistillationTrainer", trl, 2 * SLOT * SIZE)]


def distances(student: Student, teacher: Student, how: str, **given: object) -> tuple[float, float]:
    """Relative distances of our loss and gradient from TRL's, on what the student writes in one step."""
    config = settings(saved(teacher), on_policy_divergence=how, **given)
    learned, policy = prepared(config, student)
    rows, forms = learned.data.samples[: config.batch_size], learned.data.forms
    lesson = policy.lesson(student, 0, range(config.batch_size), rows, forms)
    assert lesson.scores is not None
    packed = can_pack(student) and head_is_linear(student)

    def fast() -> torch.Tensor:
        with using_attention(student.model, PACKED if packed else None):
            return loss(student, collate(student, lesson.trees, packed, [lesson.scores]))[0]

    (own, slope), (wanted, other) = (
        differentiated(student, total)
        for total in (fast, lambda: peers.trl_divergence(student, teacher, lesson.trees, BETAS[how]))
    )
    return abs(own - wanted) / wanted, float((slope - other).norm() / other.norm())


def differentiated(student: Student, total: Callable[[], torch.Tensor]) -> tuple[float, torch.Tensor]:
    """A loss and its flat gradient."""
    student.model.zero_grad()
    found = total()
    found.backward()
    return float(found.detach()), torch.cat([weight.grad.flatten() for weight in student.model.parameters()])


def opinionated(student: Student) -> Student:
    """The same with distributions neither flat, as those of fresh weights are, nor so sharp that float32 decides."""
    with torch.no_grad():
        student.model.get_output_embeddings().weight *= 5
    return student


def main() -> bool:
    """Print and keep the distances from TRL's loss and gradient, and the speed beside its trainer's."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    if given.serve:
        serve(next(variant for variant in VARIANTS if variant.name == given.serve))
        return True
    if importlib.util.find_spec("trl") is None:
        print("on_policy: skipped, TRL is not installed (the extra `peers`)")
        return True
    apart = {}
    for how in BETAS:
        pair = opinionated(llama(128, 2)), opinionated(llama(192, 3, seed=1))
        apart[how] = distances(*pair, how, batch_size=4, on_policy_tokens=16)
        missed = "" if max(apart[how]) <= SAME else "  MISSED"
        print(f"{how:10} loss {apart[how][0]:.1e}, gradient {apart[how][1]:.1e} from TRL's{missed}")
    rows = compare(VARIANTS, *interleaved(MODULE, VARIANTS, given.rounds))
    for row in rows:
        print(
            f"{row.name:24} {row.examples_per_second:6.1f} tokens/s, ours is {row.ratio:.2f}x "
            f"({row.low:.2f} to {row.high:.2f}), {row.memory_mib:.0f} MiB"
        )
    RESULTS.mkdir(exist_ok=True)
    kept = {"torch": torch.__version__, "bar": SAME, "distances": apart, "rows": [asdict(row) for row in rows]}
    (RESULTS / f"on-policy-{date.today().isoformat()}.json").write_text(json.dumps(kept, indent=1) + "\n")
    return all(max(pair) <= SAME for pair in apart.values())


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
