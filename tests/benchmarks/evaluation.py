"""`--probe all` on a real student: a chain-of-thought run of the embedded world, probes against the plain walk."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

from cotdistill.config import DistillConfig, EvaluateConfig
from cotdistill.data.records import Item, Rationale
from cotdistill.data.tasks import load_examples
from cotdistill.distilling import distill_items
from cotdistill.evaluation.asking import Walker
from cotdistill.evaluation.probes import chosen, donors, probes, sources
from cotdistill.strategies.registry import create
from cotdistill.students.load import load_student
from cotdistill.students.student import Student
from tests.benchmarks.rounds import RESULTS

QUESTIONS, ROUNDS, BATCH, STEPS = 300, 5, 32, 600
BAR = 4.0


def trained() -> Student:
    """The embedded base, distilled on the world's own proofs."""
    strategy = create("cot")
    items = [
        Item(
            id=one.id,
            task=one.task,
            split=one.split,
            question=one.question,
            choices=one.choices,
            answer=one.answer,
            rationales=(
                Rationale(
                    kind="factual",
                    text=one.rationale or "",
                    answer=one.answer,
                    correct=True,
                    label="keep",
                    teacher="proof",
                    decoding={},
                    prompt=None,
                    finished=True,
                ),
            ),
        )
        for one in load_examples("demo", "train", 600)
    ]
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        distill_items(DistillConfig(strategy="cot", steps=STEPS, out=run, device="cpu"), strategy, items, "proofs")
        return load_student(str(run / "student"))


def main() -> int:
    """Interleaved rounds of CPU seconds; 1 where the bar is missed."""
    student, strategy = trained(), create("cot")
    walker = Walker(lambda: student, strategy, "text", EvaluateConfig(batch_size=BATCH, calibrate=False))
    examples = load_examples("demo", "shift", QUESTIONS)
    predictions = {p.id: p for p in walker.predict(examples, BATCH)}
    wanted, given = probes(chosen(["all"]), (0.5,), strategy), sources(examples, [], 0)
    others = donors(list(predictions.values()), 0)
    right = sum(p.verdict == "right" for p in predictions.values()) / QUESTIONS
    print(f"{QUESTIONS} questions, {right:.0%} right, {len(wanted)} walks a question, batch {BATCH}")

    def probe() -> None:
        for at in range(0, QUESTIONS, 2 * BATCH):
            walker.probe(examples[at : at + 2 * BATCH], predictions, wanted, given, others)

    ratios = []
    for _ in range(ROUNDS):
        plain, probed = seconds(lambda: walker.predict(examples, BATCH)), seconds(probe)
        ratios.append(probed / plain)
        print(f"plain {plain:.2f} s, probes {probed:.2f} s: {probed / plain:.2f}x")
    ratio = statistics.median(ratios)
    print(f"--probe all costs {ratio:.2f}x plain evaluation (bar {BAR:g})")
    record = {"questions": QUESTIONS, "walks": len(wanted), "batch": BATCH, "ratios": ratios, "median": ratio}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"evaluation-{date.today()}.json").write_text(json.dumps(record, indent=2) + "\n")
    return int(ratio > BAR)


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one turn."""
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    sys.exit(main())
