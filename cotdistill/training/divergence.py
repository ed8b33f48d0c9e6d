"""Training that makes the loss worse: found early, distinguished from a hard batch, and stopped in one line.

A batch's loss is noisy, so a loss above the first one proves nothing. But the examples of the first step have a loss
that is known exactly, from before any update. Where the losses of many steps after the warm-up all lie above it, the
same examples are run once more: a student that is worse on them by more than a little than it was before has diverged.
A student that had learned them already, in a run before or in a first stage, has little left to win and wobbles.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from math import isfinite
from pathlib import Path

from cotdistill.errors import NothingLeft

PATIENCE = 8  # steps in a row above the first loss, before its examples are run again
WOBBLE = 0.1  # nats per learned token; an untrained student begins at some 2 to 10
REMEDY = "use a lower --lr, a --clip of 1, or --dtype float32; --allow-divergence continues"


class Diverged(NothingLeft):
    """Training made the student worse (exit 4)."""


class LossWatch:
    """Watches one run's losses. `warm`: steps of warm-up, after which they count."""

    def __init__(self, warm: int) -> None:
        self.warm = warm
        self.first = float("nan")
        self.above = 0

    def replay(self, metrics: Path) -> None:
        """Read the losses of an interrupted run that is resumed."""
        if metrics.is_file():
            for line in map(json.loads, metrics.read_text(encoding="utf-8").split("\n")[:-1]):
                if "loss" in line:
                    self._add(line["step"], line["loss"])

    def check(self, step: int, loss: float, first_again: Callable[[], float]) -> None:
        """Raise `Diverged` where the loss of `step`, counted from 1, shows it. `first_again`: the loss now of the
        examples of the first step."""
        if not isfinite(loss):
            raise Diverged(f"the loss is {loss} at step {step}; {REMEDY}")
        self._add(step, loss)
        if self.above < PATIENCE:
            return
        self.above, now = 0, first_again()
        if not now <= self.first + WOBBLE:
            raise Diverged(
                f"training diverged: at step {step} the loss of the first examples is {now:.3g}, and it was "
                f"{self.first:.3g} before any update; {REMEDY}"
            )

    def _add(self, step: int, loss: float) -> None:
        if step == 1:
            self.first = loss
        elif step > self.warm + 1:
            self.above = self.above + 1 if loss > self.first else 0
