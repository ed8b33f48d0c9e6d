"""A small run with dropout, to be killed and resumed."""

from __future__ import annotations

from pathlib import Path

import torch

from cotdistill.config import DistillConfig
from cotdistill.training.train import Loop
from tests.models import student
from tests.training.learning import encode

STEPS = 40


def main(folder: Path, optimizer: str) -> None:
    """40 steps on gpt2 with dropout, a checkpoint every third."""
    torch.manual_seed(1)
    pupil = student("gpt2")
    for module in pupil.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.1
    config = DistillConfig.model_validate(
        {
            "steps": STEPS,
            "batch_size": 3,
            "lr": 1e-3,
            "device": "cpu",
            "optimizer": optimizer,
            "checkpoint_every": 3,
            "token_budget": 150,
        }
    )
    Loop(pupil, encode(pupil, "cascod", count=8), config, folder).run()
