"""Interventions on one core: thirteen walks a question with the rationale filled in, against one plain walk."""

from __future__ import annotations

import os
import random
from functools import cache

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # for every variant alike

from cotdistill.decoding.continuous_batching import ContinuousDecoder
from cotdistill.decoding.decode import Decoder
from tests.benchmarks.peers import Advance
from tests.benchmarks.rounds import Variant
from tests.benchmarks.turns import Asked, Table, asked, ids, run
from tests.benchmarks.workload import llama

MODULE = "tests.benchmarks.probes"
QUESTIONS, ANSWER, BATCH = 48, 3, 16
KEPT = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.25, 0.5, 0.75, 1.0)  # of the rationale, a walk each


@cache
def plain() -> list[Asked]:
    """Question in; rationale, connector and answer out."""
    return asked(QUESTIONS, 1, 0)


@cache
def probes() -> list[Asked]:
    """Question, some rationale and the connector in, the answer out."""
    draw = random.Random(1)
    connector = ids(draw, 5, 5)
    made = []
    for question in plain():
        for kept in KEPT:
            rationale = ids(draw, question.length, question.length)[: int(kept * question.length)]
            made.append(Asked(((*question.prompts[0], *rationale, *connector),), ANSWER))
    return made


def walked(kind: type, what: list[Asked]) -> Advance:
    """All sessions through one decoder."""
    decoder = kind(llama(), batch_size=BATCH)

    def advance(steps: int) -> None:
        for _ in range(steps):
            decoder.run([question.session() for question in what])

    return advance


VARIANTS = [
    Variant("all probes, slots", lambda: walked(ContinuousDecoder, probes()), QUESTIONS),
    Variant(
        "plain evaluation, slots",
        lambda: walked(ContinuousDecoder, plain()),
        QUESTIONS,
        bar=0.25,
        note="probes may cost 4x this",
    ),
    Variant("all probes, plain batches", lambda: walked(Decoder, probes()), QUESTIONS),
]


def tables() -> list[Table]:
    """One table."""
    return [("probes", VARIANTS, {"questions": QUESTIONS, "walks a question": len(KEPT)})]


if __name__ == "__main__":
    raise SystemExit(0 if run(MODULE, VARIANTS, tables) else 1)
