"""The product computes what examples/minimal.py writes out: tokens, losses, weights and answers."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from cotdistill.config import DistillConfig
from cotdistill.data.records import Item, Rationale
from cotdistill.decoding.choose_decoder import decoder_for
from cotdistill.decoding.walk import Walked, walk
from cotdistill.strategies.forms import FillContext
from cotdistill.strategies.join import join
from cotdistill.students.load import load_student
from cotdistill.students.student import Student
from cotdistill.training import objective
from cotdistill.training.train import Loop
from cotdistill.world import questions

FILE = Path(__file__).parents[1] / "examples/minimal.py"
STEPS = 8


@pytest.fixture(scope="module")
def minimal() -> ModuleType:
    spec = importlib.util.spec_from_file_location("minimal", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return questions.rows("demo", "train", 40)


def elicited(row: dict[str, Any]) -> Item:
    """A row of the world with its own rationale, as `elicit` would give it."""
    rationale = Rationale(
        kind="factual",
        text=row["rationale"],
        answer=row["answer"],
        correct=True,
        label="keep",
        teacher="world",
        decoding={},
        prompt=None,
        finished=True,
    )
    told = {name: row[name] for name in ("id", "task", "split", "question", "answer")}
    return Item(**told, choices=tuple(row["choices"]), rationales=(rationale,))


@pytest.fixture(scope="module")
def trained(minimal, rows, tmp_path_factory) -> tuple[Student, list[float], Student, list[float]]:  # type: ignore[no-untyped-def]
    """The student by the plain loop and by the product, with the loss of every step."""
    plain, fast = load_student("demo"), load_student("demo")
    plain_losses = minimal.train(plain.model, plain.tokenizer, rows, STEPS)
    samples, _ = join([elicited(row) for row in rows], minimal.STRATEGY)
    data = objective.training_encoder(fast).encode(samples, minimal.STRATEGY, FillContext(0, fast.tokens.segment))
    config = DistillConfig(strategy="cascod", steps=STEPS, batch_size=minimal.BATCH, lr=minimal.LR, device="cpu")
    folder = tmp_path_factory.mktemp("run")
    Loop(fast, data, config, folder).run()
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return plain, plain_losses, fast, [json.loads(line)["loss"] for line in lines]


def test_short_enough_to_read() -> None:
    assert len(FILE.read_text().splitlines()) <= 150


def test_the_tokens_learned_are_the_same(minimal: ModuleType, rows: list[dict[str, Any]]) -> None:
    student = load_student("demo")
    samples, _ = join([elicited(row) for row in rows], minimal.STRATEGY)
    encoder = student.encoder()
    data = encoder.encode(samples, minimal.STRATEGY, FillContext(0, student.tokens.segment))
    for row, trees in zip(rows, data.samples, strict=True):
        by_form = {int(tree.forms[0]): tree for tree in trees}
        for at, form in enumerate(minimal.STRATEGY.forms):
            ids, given = minimal.sequence(student.tokenizer, form, minimal.slots_of(row))
            assert by_form[at].ids.tolist() == ids[:-1]
            assert by_form[at].tokens.tolist() == ids[given:]
            assert by_form[at].positions.tolist() == list(range(given - 1, len(ids) - 1))


def test_the_loss_of_every_step_is_the_same(trained) -> None:  # type: ignore[no-untyped-def]
    _, plain, _, fast = trained
    assert len(plain) == len(fast) == STEPS
    assert fast == pytest.approx(plain, abs=1e-5)
    assert plain[-1] < plain[0]


def test_the_weights_learned_are_the_same(trained) -> None:  # type: ignore[no-untyped-def]
    plain, _, fast, _ = trained
    start = dict(load_student("demo").model.named_parameters())
    pairs = list(zip(plain.model.named_parameters(), fast.model.parameters(), strict=True))
    moved = torch.cat([(weight - start[name]).flatten() for (name, weight), _ in pairs]).norm()
    apart = torch.cat([(weight - other).flatten() for (_, weight), other in pairs]).norm()
    assert moved > 0
    assert apart < 1e-3 * moved


def test_the_answers_are_the_same(minimal: ModuleType, trained, rows: list[dict[str, Any]]) -> None:  # type: ignore[no-untyped-def]
    student = trained[0]
    asked = questions.rows("demo", "shift", 6)
    walked: list[Walked] = walk(
        decoder_for(student),
        student.encoder(),
        minimal.STRATEGY,
        [elicited(row).example() for row in asked],
        max_new_tokens=24,
    )
    plain = [minimal.walk(student.model, student.tokenizer, row, max_new_tokens=24) for row in asked]
    assert [(one.rationale, one.answer) for one in walked] == plain
    assert any(answer for _, answer in plain)
