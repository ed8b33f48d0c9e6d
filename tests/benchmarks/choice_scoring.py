"""Choice scoring on one core, five choices: ours against one forward a choice and lm-eval's hf backend."""

from __future__ import annotations

import logging
import os
import random
from dataclasses import dataclass
from functools import cache
from typing import Any

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # for every variant alike

import torch

from cotdistill.decoding.choice_scoring import Candidate, score_choices
from cotdistill.decoding.decode import Prompt
from cotdistill.students.student import Student
from tests.benchmarks.peers import Advance
from tests.benchmarks.rounds import Variant
from tests.benchmarks.turns import Table, run
from tests.benchmarks.workload import VOCABULARY, llama, word

MODULE = "tests.benchmarks.choice_scoring"
QUESTIONS, CHOICES = 40, 5
LM_EVAL_BATCHES = (4, 8, 16)


@dataclass(frozen=True)
class Multiple:
    """A question of 30-80 words and its choices of 1-6 words; every word is one token."""

    question: str
    choices: tuple[str, ...]


@cache
def questions() -> list[Multiple]:
    """What every variant scores."""
    draw = random.Random(0)

    def text(low: int, high: int) -> str:
        return "".join(" " + word(draw.randrange(VOCABULARY - 300)) for _ in range(draw.randint(low, high)))

    return [Multiple(text(30, 80), tuple(text(1, 6) for _ in range(CHOICES))) for _ in range(QUESTIONS)]


def best(scores: list[float]) -> int:
    """The most likely choice."""
    return max(range(len(scores)), key=scores.__getitem__)


def ours(student: Student) -> list[int]:
    """All questions in one call."""

    def ids(texts: list[str]) -> list[list[int]]:
        return list(student.tokenizer(texts, add_special_tokens=False)["input_ids"])

    prompts = [Prompt(found) for found in ids([question.question for question in questions()])]
    choices = [choice for question in questions() for choice in question.choices]
    made = [Candidate(text, tuple(found)) for text, found in zip(choices, ids(choices), strict=True)]
    candidates = [made[at : at + CHOICES] for at in range(0, len(made), CHOICES)]
    return [best([score.log_likelihood for score in found]) for found in score_choices(student, prompts, candidates)]


@torch.inference_mode()
def one_forward_a_choice(student: Student) -> list[int]:
    """What a user would write: question and choice through the model, logits of every position."""
    picked = []
    for question in questions():
        scores = []
        begin = len(student.tokenizer(question.question)["input_ids"])
        for choice in question.choices:
            ids = torch.tensor(student.tokenizer([question.question + choice])["input_ids"])
            chances = student.model(input_ids=ids, use_cache=False).logits[0, begin - 1 : -1].log_softmax(-1)
            scores.append(float(chances.gather(1, ids[0, begin:, None]).sum()))
        picked.append(best(scores))
    return picked


def harness(student: Student, batch_size: int) -> Any:
    """EleutherAI's lm-evaluation-harness around the same model, at its defaults."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    from lm_eval.models.huggingface import HFLM

    return HFLM(
        pretrained=student.model,
        tokenizer=student.tokenizer,
        batch_size=batch_size,
        max_length=512,
        add_bos_token=False,
    )


def by_harness(model: Any) -> list[int]:
    """Its loglikelihood requests, one a choice."""
    from lm_eval.api.instance import Instance

    requests = [
        Instance("loglikelihood", {}, (question.question, choice), at)
        for question in questions()
        for at, choice in enumerate(question.choices)
    ]
    found = [score for score, _ in model.loglikelihood(requests, disable_tqdm=True)]
    return [best(found[at : at + CHOICES]) for at in range(0, len(found), CHOICES)]


def repeated(way: Any, made: Any = lambda student: student) -> Advance:
    """A way as a variant's work."""
    student = llama()
    student.model.eval()
    model = made(student)

    def advance(steps: int) -> None:
        for _ in range(steps):
            way(model)

    return advance


VARIANTS = [
    Variant("ours", lambda: repeated(ours), QUESTIONS),
    Variant("one forward a choice", lambda: repeated(one_forward_a_choice), QUESTIONS, bar=6.0),
    *(
        Variant(
            f"lm-eval hf, batch {size}",
            lambda size=size: repeated(by_harness, lambda student: harness(student, size)),  # type: ignore[misc]
            QUESTIONS,
            bar=8.0,
        )
        for size in LM_EVAL_BATCHES
    ),
]


def tables() -> list[Table]:
    """Speed, and whether every question's argmax is the same."""
    student = llama()
    student.model.eval()
    picked = ours(student)
    facts = {
        "questions": QUESTIONS,
        "choices": CHOICES,
        "other argmax than one forward": sum(map(int.__ne__, picked, one_forward_a_choice(student))),
        "other argmax than lm-eval": sum(map(int.__ne__, picked, by_harness(harness(student, 8)))),
    }
    return [("choice-scoring", VARIANTS, facts)]


if __name__ == "__main__":
    raise SystemExit(0 if run(MODULE, VARIANTS, tables) else 1)
