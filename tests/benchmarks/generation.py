"""Greedy generation on one core: slots with refill against generate() at batch 16, prompts sorted."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # for every variant alike

import torch
from transformers import StoppingCriteria, StoppingCriteriaList

from cotdistill.decoding.continuous_batching import ContinuousDecoder
from cotdistill.students.student import Student
from tests.benchmarks.peers import Advance
from tests.benchmarks.rounds import Variant
from tests.benchmarks.turns import Asked, Table, asked, run
from tests.benchmarks.workload import llama

MODULE = "tests.benchmarks.generation"
QUESTIONS, BATCH = 96, 16


class OwnLength(StoppingCriteria):  # type: ignore[misc]
    """Each row ends after its own number of tokens, as a trained model's rows end at their stop token."""

    def __init__(self, prompt: int, lengths: list[int], device: torch.device) -> None:
        self.ends = prompt + torch.tensor(lengths, device=device)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        return input_ids.shape[1] >= self.ends


@cache
def questions() -> list[Asked]:
    """What every variant decodes."""
    return asked(QUESTIONS, 1, 0)


@torch.inference_mode()
def generated(student: Student, given: list[Asked], size: int = BATCH) -> dict[Asked, list[int]]:
    """transformers' way: batches of questions of similar length, padded on the left; in the order they were asked."""
    out: dict[Asked, list[int]] = {}
    by_length = sorted(given, key=lambda question: len(question.prompts[0]))
    for at in range(0, len(by_length), size):
        batch = by_length[at : at + size]
        width = max(len(question.prompts[0]) for question in batch)
        pads = [width - len(question.prompts[0]) for question in batch]
        ids = torch.tensor([[2] * pad + list(question.prompts[0]) for pad, question in zip(pads, batch, strict=True)])
        mask = torch.tensor([[0] * pad + [1] * (width - pad) for pad in pads])
        lengths = [question.length for question in batch]
        found = student.model.generate(
            ids.to(student.device),
            attention_mask=mask.to(student.device),
            do_sample=False,
            max_new_tokens=max(lengths),
            eos_token_id=None,
            pad_token_id=2,
            stopping_criteria=StoppingCriteriaList([OwnLength(width, lengths, student.device)]),
        )
        for question, row in zip(batch, found, strict=True):
            out[question] = row[width : width + question.length].tolist()
    return {question: out[question] for question in given}


def decoded(student: Student) -> dict[Asked, list[int]]:
    """Continuous batching."""
    sessions = {question: question.session() for question in questions()}
    ContinuousDecoder(student, batch_size=BATCH).run(list(sessions.values()))
    return {question: session.out for question, session in sessions.items()}


def repeated(way: Any) -> Advance:
    """A way as a variant's work."""
    student = llama()
    student.model.eval()

    def advance(steps: int) -> None:
        for _ in range(steps):
            way(student)

    return advance


VARIANTS = [
    Variant("slots", lambda: repeated(decoded), QUESTIONS),
    Variant("generate()", lambda: repeated(lambda student: generated(student, questions())), QUESTIONS, bar=1.4),
]


def tables() -> list[Table]:
    """Speed, and whether the tokens are the same."""
    student = llama()
    student.model.eval()
    ours, theirs = decoded(student), generated(student, questions())
    differ = sum(a != b for question in questions() for a, b in zip(ours[question], theirs[question], strict=True))
    return [("generation", VARIANTS, {"questions": QUESTIONS, "batch": BATCH, "differing tokens": differ})]


if __name__ == "__main__":
    raise SystemExit(0 if run(MODULE, VARIANTS, tables) else 1)
