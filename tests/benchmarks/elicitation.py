"""Contrastive elicitation on one core: slots against the published loop, one row and two forwards a token."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # for every variant alike

import torch
from transformers import DynamicCache

from cotdistill.decoding.continuous_batching import ContinuousDecoder
from cotdistill.decoding.contrast import Contrast
from cotdistill.decoding.decode import Decoder
from cotdistill.students.student import Student
from tests.benchmarks.peers import Advance
from tests.benchmarks.rounds import Variant
from tests.benchmarks.turns import Asked, Table, asked, peak, run
from tests.benchmarks.workload import llama

MODULE = "tests.benchmarks.elicitation"
QUESTIONS, PREFIX, LAMBDA = 64, 600, 0.5


@cache
def questions() -> list[Asked]:
    """What every variant decodes."""
    return asked(QUESTIONS, 2, PREFIX)


@torch.inference_mode()
def published(student: Student, question: Asked) -> list[int]:
    """SCOTT's loop: both prompts computed for every question, then two forwards a token."""
    caches = [DynamicCache(), DynamicCache()]
    fed = [torch.tensor([ids], device=student.device) for ids in question.prompts]
    out: list[int] = []
    while True:
        supported, perturbed = (
            student.model(input_ids=ids, past_key_values=held, use_cache=True, logits_to_keep=1).logits[0, -1]
            for ids, held in zip(fed, caches, strict=True)
        )
        score = supported.float().log_softmax(-1) - LAMBDA * perturbed.float().log_softmax(-1)
        out.append(int(score.argmax()))
        if len(out) == question.length:
            return out
        fed = [torch.tensor([out[-1:]], device=student.device)] * 2


def loop() -> Advance:
    """The published way."""
    student = llama()
    published(student, replace(questions()[0], length=2))

    def advance(steps: int) -> None:
        for _ in range(steps):
            for question in questions():
                published(student, question)

    return advance


def decoded(kind: type, batch_size: int) -> Advance:
    """One of our decoders."""
    student = llama()
    decoder = kind(student, Contrast(LAMBDA), batch_size)
    decoder.run([replace(questions()[0], length=2).session()])

    def advance(steps: int) -> None:
        for _ in range(steps):
            decoder.run([question.session() for question in questions()])

    return advance


def slots(batch_size: int) -> Variant:
    """Continuous batching at one batch size."""
    return Variant(f"slots, B={batch_size}", lambda: decoded(ContinuousDecoder, batch_size), QUESTIONS)


def differing() -> int:
    """Tokens that differ from the published loop's, over 16 questions."""
    student = llama()
    chosen = questions()[:16]
    sessions = [question.session() for question in chosen]
    ContinuousDecoder(student, Contrast(LAMBDA), 16).run(sessions)
    return sum(
        a != b
        for question, session in zip(chosen, sessions, strict=True)
        for a, b in zip(published(student, question), session.out, strict=True)
    )


def memory() -> dict[str, str]:
    """MiB of a batch as measured, beside the prompts' keys and values if they were copied to every row."""
    token = 2 * 6 * 256 * 4 / 2**20  # keys and values, layers, width, float32
    return {
        f"B={size}": f"{peak(MODULE, slots(size)):.0f} MiB (copied: {2 * size * PREFIX * token:.0f})"
        for size in (1, 8, 16, 32)
    }


LOOP = Variant("published loop", loop, QUESTIONS)
PLAIN = Variant("plain batches, B=8", lambda: decoded(Decoder, 8), QUESTIONS)
VARIANTS = [slots(16), slots(8), PLAIN, LOOP]
SERVED = [*VARIANTS, slots(1), slots(32)]


def tables() -> list[Table]:
    """One table a batch size."""
    differ = differing()
    facts = {"questions": QUESTIONS, "prompt": PREFIX, "differing tokens": differ}
    return [
        ("elicitation-16", [VARIANTS[0], PLAIN, replace(LOOP, bar=9.0)], {**facts, **memory()}),
        ("elicitation-8", [VARIANTS[1], PLAIN, replace(LOOP, bar=6.0)], facts),
    ]


if __name__ == "__main__":
    raise SystemExit(0 if run(MODULE, VARIANTS, tables, SERVED) else 1)
