"""Every strategy learns eight rows and walks back every answer; an encoder-decoder one strategy of each plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from cotdistill.config import DistillConfig
from cotdistill.decoding.decode import Decoder
from cotdistill.decoding.walk import walk
from cotdistill.strategies.forms import FillContext
from cotdistill.strategies.join import join
from cotdistill.strategies.registry import create, entries
from cotdistill.training.objective import training_encoder
from cotdistill.training.train import Loop
from tests.models import items, student

# edit-krsl scores only what differs between two chains: a second stage, tested in test_edit_krsl.
STRATEGIES = [entry.name for entry in entries() if entry.value is not None and entry.name != "edit-krsl"]


# T5 takes three times the steps. Others' rows and gradients on it are compared in test_invariance and test_parity.
ON_T5 = ["answer-only", "cot", "post-cot", "scott", "cascod", "mt-cot"]


@pytest.mark.parametrize(
    ("family", "name"), [*(("llama", name) for name in STRATEGIES), *(("t5", name) for name in ON_T5)]
)
def test_overfits_eight_rows_and_walks_back_every_answer(name: str, family: str, tmp_path: Path) -> None:
    strategy, pupil = create(name), student(family, width=64)
    rows = items(8)
    samples, left_out = join(rows, strategy)
    assert len(samples) == 8
    assert not left_out
    encoder = training_encoder(pupil)
    scores = lambda id, text, answer: [float(len(word)) for word in text.split()]  # noqa: E731
    # A strategy that changes as training goes on is tried as it is at the end.
    context = FillContext(0, pupil.tokens.segment, scores, epoch=9, progress=0.99)
    data = encoder.encode(samples, strategy, context)
    pace: dict[str, float] = {"steps": 480, "lr": 1e-3, "warmup": 0.1} if family == "t5" else {"steps": 150, "lr": 3e-3}
    config = DistillConfig(
        **pace, batch_size=8, betas=(0.9, 0.98), device="cpu", token_budget=4096, schedule="linear", weight_decay=0.0
    )
    trained = Loop(pupil, data, config, tmp_path).run()
    assert trained.loss < 0.1
    walked = walk(Decoder(pupil), encoder, strategy, [row.example() for row in rows])
    assert [found.answer for found in walked] == [row.answer for row in rows]
    assert all(found.finished for found in walked)
