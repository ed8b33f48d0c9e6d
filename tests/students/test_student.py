"""Every family: every strategy takes steps, the fast path equals the plain one, save, load with Auto classes,
walk.
"""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from cotdistill.config import DistillConfig
from cotdistill.decoding.decode import Decoder
from cotdistill.decoding.walk import walk
from cotdistill.strategies.registry import create, entries
from cotdistill.students.load import load_student
from cotdistill.students.student import Student
from cotdistill.training.objective import can_pack
from cotdistill.training.train import Loop
from tests.models import items
from tests.students.family_models import FAMILIES, make
from tests.training.learning import distance, encode, step_gradient

STRATEGIES = [entry.name for entry in entries() if entry.value is not None]
UNPACKED = {"t5", "flan-t5-like", "mt5-like", "bart"}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_strategy_takes_the_step_of_the_plain_path(family: str) -> None:
    pupil = make(family)
    assert can_pack(pupil) == (family not in UNPACKED)
    for name in STRATEGIES:
        strategy = create(name)
        plain = encode(pupil, name, count=3, sharing="none")
        loss, gradient = step_gradient(pupil, plain, strategy, budget=1, plain=True)
        fast_loss, fast = step_gradient(pupil, encode(pupil, name, count=3), strategy, budget=300)
        assert fast_loss == pytest.approx(loss, rel=1e-4, abs=1e-6), name
        assert distance(fast, gradient) < 1e-4, name


@pytest.mark.parametrize("family", FAMILIES)
def test_trained_saved_loaded_and_walked(family: str, tmp_path: Path) -> None:
    pupil, strategy = make(family), create("cascod")
    config = DistillConfig(steps=3, batch_size=4, lr=1e-3, device="cpu")
    before, _ = step_gradient(pupil, encode(pupil, strategy))
    assert Loop(pupil, encode(pupil, strategy), config, tmp_path).run().steps == 3
    after, _ = step_gradient(pupil, encode(pupil, strategy))
    assert after < before
    pupil.save(tmp_path / "student")
    again = load_student(str(tmp_path / "student"))
    assert type(again.model) is type(pupil.model)
    assert step_gradient(again, encode(again, strategy))[0] == pytest.approx(after, rel=1e-5)
    encoder = again.encoder()
    walked = walk(Decoder(again), encoder, strategy, [row.example() for row in items(2)], max_new_tokens=4)
    assert len(walked) == 2
    assert torch.isfinite(next(again.model.parameters())).all()


def test_a_trial_runs_once_until_the_model_changes() -> None:
    pupil, runs = make("llama"), []

    def trial(tried: Student) -> int:
        runs.append(tried)
        return len(runs)

    assert [pupil.tried(trial), pupil.tried(trial)] == [1, 1]
    copied = copy.copy(pupil)
    assert copied.tried(trial) == 1
    copied.changed()
    assert [copied.tried(trial), pupil.tried(trial)] == [2, 1]
    assert runs == [pupil, copied]
