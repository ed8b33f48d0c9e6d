"""What a training run reports: metrics.jsonl (deterministic), timings.jsonl (measured), trackers, the bar's
note.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from cotdistill.errors import DataError
from cotdistill.strategies.forms import Form


@dataclass(frozen=True)
class Finished:
    """One optimizer step whose losses may still be on their way from the device."""

    step: int  # counted from 1
    by_form: Tensor  # loss share of each form [forms], on the CPU once `ready`
    ready: torch.cuda.Event | None
    lr: float
    inputs: int  # positions computed
    learned: int  # targets


class Curves:
    """Collects finished steps one step late, so that no step waits for the device just to be reported."""

    def __init__(
        self,
        folder: Path,
        forms: list[Form],
        accelerator: Accelerator,
        start: int,
        advance: Callable[[int, str], None],
    ) -> None:
        self.forms, self.accelerator, self.advance = forms, accelerator, advance
        self.began, self.inputs, self.learned = time.perf_counter(), 0, 0
        self.loss = float("nan")
        self.pending: Finished | None = None
        self.metrics, self.timings = folder / "metrics.jsonl", folder / "timings.jsonl"
        if accelerator.is_main_process:
            folder.mkdir(parents=True, exist_ok=True)
            for path in (self.metrics, self.timings):
                _cut(path, start)

    @property
    def seconds(self) -> float:
        """Since training began."""
        return time.perf_counter() - self.began

    def add(self, step: int, by_form: Tensor, lr: float, inputs: int, learned: int) -> None:
        """Take one step's losses without waiting for them; write the step before."""
        ready = None
        if by_form.is_cuda:
            by_form = by_form.to("cpu", non_blocking=True)
            ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
            ready.record()
        before, self.pending = self.pending, Finished(step, by_form, ready, lr, inputs, learned)
        self._write(before)

    def flush(self) -> None:
        """Write what is pending: before a checkpoint, an evaluation and at the end."""
        before, self.pending = self.pending, None
        self._write(before)

    def dev(self, step: int, accuracy: float) -> None:
        """One evaluation on the dev rows."""
        self.flush()
        if self.accelerator.is_main_process:
            _append(self.metrics, {"step": step, "dev_accuracy": accuracy})
        self.accelerator.log({"dev_accuracy": accuracy}, step=step)

    def _write(self, done: Finished | None) -> None:
        if done is None:
            return
        if done.ready is not None:
            done.ready.synchronize()
        shares = done.by_form.tolist()
        self.loss = sum(shares)
        if self.loss != self.loss:
            raise DataError(
                f"the loss is not a number at step {done.step}; use a lower --lr or --dtype float32"
            )
        losses = {form.name: share / form.share for form, share in zip(self.forms, shares, strict=True)}
        self.inputs += done.inputs
        self.learned += done.learned
        rate = self.learned / max(self.seconds, 1e-9)
        if self.accelerator.is_main_process:
            _append(self.metrics, {"step": done.step, "loss": self.loss, "losses": losses, "lr": done.lr})
            _append(
                self.timings,
                {
                    "step": done.step,
                    "seconds": round(self.seconds, 3),
                    "input_tokens": self.inputs,
                    "learned_tokens": self.learned,
                },
            )
        self.accelerator.log(
            {
                "loss": self.loss,
                "lr": done.lr,
                "learned_tokens_per_second": rate,
                **{f"loss/{name}": loss for name, loss in losses.items()},
            },
            step=done.step,
        )
        each = " ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
        self.advance(1, f"loss {self.loss:.3f} ({each}), {rate:,.0f} tokens learned/s")


def _cut(path: Path, step: int) -> None:
    """Cut a log back to what a checkpoint holds, so that a resumed log equals an uninterrupted one."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines(keepends=True):
        try:
            if json.loads(line)["step"] > step:
                break
        except json.JSONDecodeError:  # the line that was being written when the run died
            break
        kept.append(line)
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(kept))
    os.replace(temporary, path)


def _append(path: Path, record: dict[str, Any]) -> None:
    with path.open("a") as out:
        out.write(json.dumps(record) + "\n")
