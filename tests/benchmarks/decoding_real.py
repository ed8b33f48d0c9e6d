"""Decoding at real size: SmolLM2-135M in float32 on one thread against transformers' own ways and llama.cpp.

`python -m tests.benchmarks.decoding_real [--rounds 2] [--cases 1x100 2x100 8x100 8x600] [--length 32]`. A case is
QUESTIONSxTOKENS; of 600 tokens 500 are demonstrations that all prompts begin with. llama.cpp is measured where
llama-cpp-python and gguf are installed. Variants take turns in one process and share the weights
(llama.cpp has its own).
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # for every variant alike

import pytest
import torch
from transformers import ContinuousBatchingConfig, GenerationConfig

from cotdistill.decoding.continuous_batching import ContinuousDecoder
from cotdistill.decoding.contrast import Contrast
from cotdistill.decoding.narrow_products import ROWS
from cotdistill.students.load import load_student
from cotdistill.students.student import Student
from tests.benchmarks.elicitation import LAMBDA, published
from tests.benchmarks.llama_cpp import LlamaCpp
from tests.benchmarks.rounds import Variant, compare, report
from tests.benchmarks.turns import Asked
from tests.real import smollm2

Way = Callable[[list[Asked]], list[list[int]]]
PLAIN_ORDER = "cotdistill.decoding.continuous_batching.narrow_products"


@dataclass(frozen=True)
class Case:
    """So many questions of so many tokens each, the `shared` first ones the same in all."""

    questions: int
    tokens: int

    @property
    def shared(self) -> int:
        """Demonstrations before the question."""
        return max(0, self.tokens - 100)

    def asked(self, student: Student, length: int, contexts: int = 1) -> list[Asked]:
        """Prompts cut from this folder's README: text that the model knows the likes of."""
        text = "".join(path.read_text() for path in sorted(Path(__file__).parents[2].glob("cotdistill/*/README.md")))
        ids = student.tokens.first(text)
        draw, own = random.Random(self.tokens), self.tokens - self.shared
        starts = [draw.randrange(self.shared, len(ids) - own) for _ in range(self.questions)]
        prompts = [(*ids[: self.shared], *ids[at : at + own]) for at in starts]
        return [Asked(tuple(prompt[: len(prompt) - 3 * k] for k in range(contexts)), length) for prompt in prompts]


def ours(student: Student, asked: list[Asked], plain_order: bool = False) -> list[list[int]]:
    """Continuous batching at the batch size of the question; `plain_order`: every product as nn.Linear has it."""
    sessions = [question.session() for question in asked]
    rule = {} if len(asked[0].prompts) == 1 else {"rule": Contrast(LAMBDA)}
    with patch(PLAIN_ORDER, lambda model: nullcontext()) if plain_order else nullcontext():
        ContinuousDecoder(student, batch_size=len(asked), **rule).run(sessions)
    return [session.out for session in sessions]


def generated(student: Student, asked: list[Asked], **options: Any) -> list[list[int]]:
    """generate() over all questions as one batch."""
    ids = torch.tensor([question.prompts[0] for question in asked])
    length = asked[0].length
    with torch.inference_mode():
        found = student.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            generation_config=GenerationConfig(
                max_new_tokens=length, do_sample=False, eos_token_id=None, pad_token_id=2, **options
            ),
        )
    return found[:, ids.shape[1] :].tolist()  # type: ignore[no-any-return]


def served(student: Student, asked: list[Asked]) -> list[list[int]]:
    """The continuous batching behind `transformers serve`, in this process: no HTTP counts against it."""
    tokens = sum(len(question.prompts[0]) + question.length for question in asked)
    settings = ContinuousBatchingConfig(
        page_size=32, num_blocks=tokens // 32 + 4 * len(asked), max_batch_tokens=1024, use_async_batching=False
    )
    before = student.model.config._attn_implementation
    found = student.model.generate_batch(
        [list(question.prompts[0]) for question in asked],
        generation_config=GenerationConfig(
            max_new_tokens=asked[0].length, do_sample=False, eos_token_id=-1, pad_token_id=2
        ),
        continuous_batching_config=settings,
        warmup=False,
    )
    student.model.set_attn_implementation(before)
    by_number = sorted(found.items(), key=lambda entry: int(entry[0].rsplit("_", 1)[-1]))
    return [output.generated_tokens for _, output in by_number]


def ways(student: Student, case: Case, llama: LlamaCpp | None) -> dict[str, Way]:
    """The variants of a case, ours first."""
    made: dict[str, Way] = {
        "ours": lambda asked: ours(student, asked),
        "generate(), dynamic cache": lambda asked: generated(student, asked),
        "generate(), static cache": lambda asked: generated(
            student, asked, cache_implementation="static", disable_compile=True
        ),
        "generate_batch(), continuous": lambda asked: served(student, asked),
    }
    if case.questions in ROWS:
        made["ours, nn.Linear's order"] = lambda asked: ours(student, asked, plain_order=True)
    if llama is not None:
        made["llama.cpp, float32"] = lambda asked: llama.generate(
            [list(question.prompts[0]) for question in asked], case.shared, asked[0].length
        )
    return made


def unlike(expected: list[list[int]], found: list[list[int]]) -> int:
    """Tokens that are not the expected ones; one that differs changes most of those behind it."""
    pairs = zip(expected, found, strict=True)
    return sum(a != b for one, other in pairs for a, b in zip(one, other, strict=True))


def measure(name: str, found: dict[str, Way], asked: list[Asked], rounds: int, facts: dict[str, Any]) -> None:
    """Interleaved rounds of one case: its table, with the tokens in which each way differs from ours."""
    rates: dict[str, list[float]] = {way: [] for way in found}
    differing: dict[str, int] = {}
    names = list(found)
    expected = found[names[0]](asked)
    for turn in range(rounds):
        for way in [*names[turn % len(names) :], *names[: turn % len(names)]]:
            began = time.process_time()
            out = found[way](asked)
            rates[way].append(sum(map(len, out)) / (time.process_time() - began))
            differing[way] = unlike(expected, out)
    variants = [Variant(way, lambda: lambda steps: None, 1, note=f"{differing[way]} tokens differ") for way in names]
    rows = compare(variants, list(rates.values()), {})
    report(name, rows, {"unit": "tokens per CPU second", "rounds": rounds, **facts, "torch": torch.__version__})


def main() -> int:
    """Every case's table; says why where there is nothing to measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--cases", nargs="+", default=["1x100", "2x100", "8x100", "32x100", "1x600", "8x600", "32x600"])
    parser.add_argument("--length", type=int, default=32)
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        student = load_student(str(smollm2()))
    except pytest.skip.Exception as skipped:
        print(f"decoding_real skipped: {skipped}")
        return 0
    peer = all(importlib.util.find_spec(package) for package in ("llama_cpp", "gguf"))
    llama = LlamaCpp(student) if peer else None
    facts = {"new tokens": options.length, "llama.cpp": llama.features() if llama else "not installed"}
    for case in (Case(*map(int, name.split("x"))) for name in options.cases):
        measure(
            f"decoding-real-{case.questions}x{case.tokens}",
            ways(student, case, llama),
            case.asked(student, options.length),
            options.rounds,
            facts,
        )
    measure(
        "decoding-real-contrastive-2x100",
        {
            "ours, contrastive": lambda asked: ours(student, asked),
            "ours, nn.Linear's order": lambda asked: ours(student, asked, plain_order=True),
            "published loop": lambda asked: [published(student, question) for question in asked],
        },
        Case(2, 100).asked(student, options.length, 2),
        options.rounds,
        facts,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
