"""What a training run reports: metrics.jsonl (deterministic), timings.jsonl (measured), trackers, the bar's note."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from cotdistill.data.files import write_bytes, writing
from cotdistill.data.logs import DAMAGE, append, read_lines, whole_lines
from cotdistill.errors import OutputError
from cotdistill.strategies.forms import Form
from cotdistill.training.run_trackers import tell_trackers


@dataclass(frozen=True)
class Finished:
    """One optimizer step whose losses may still be on their way from the device."""

    step: int  # counted from 1
    by_form: Tensor  # loss share of each form [forms], on the CPU once `ready`
    ready: torch.cuda.Event | None
    lr: float
    inputs: int  # positions computed
    learned: int  # targets
    on_policy: Mapping[str, int] | None = None  # what the student wrote for it


class MetricsLog:
    """Collects finished steps one step late, so that no step waits for the device just to be reported."""

    def __init__(
        self,
        folder: Path,
        forms: list[Form],
        accelerator: Accelerator,
        start: int,
        advance: Callable[[int, str], None],
        repair: bool = False,
        check: Callable[[int, float], None] = lambda step, loss: None,
    ) -> None:
        self.forms, self.accelerator, self.advance = forms, accelerator, advance
        self.check = check  # of every loss, before it is written
        self.began, self.inputs, self.learned = time.perf_counter(), 0, 0
        self.loss = float("nan")
        self.pending: Finished | None = None
        self.metrics, self.timings = folder / "metrics.jsonl", folder / "timings.jsonl"
        if accelerator.is_main_process:
            _cut(self.metrics, start, repair)
            with suppress(OSError, OutputError):  # measured times never stop anything
                _cut_timings(self.timings, start)

    @property
    def seconds(self) -> float:
        """Since training began."""
        return time.perf_counter() - self.began

    def add(
        self,
        step: int,
        by_form: Tensor,
        lr: float,
        inputs: int,
        learned: int,
        on_policy: Mapping[str, int] | None = None,
    ) -> None:
        """Take one step's losses without waiting for them; write the step before."""
        ready = None
        if by_form.is_cuda:
            by_form = by_form.to("cpu", non_blocking=True)
            ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
            ready.record()
        before, self.pending = self.pending, Finished(step, by_form, ready, lr, inputs, learned, on_policy)
        self._write(before)

    def flush(self) -> None:
        """Write what is pending: before a checkpoint, an evaluation and at the end."""
        before, self.pending = self.pending, None
        self._write(before)
        if self.accelerator.is_main_process:
            append(self.metrics, [])  # on the disk: no checkpoint may outlive the lines before it

    def dev(self, step: int, accuracy: float) -> None:
        """One evaluation on the dev rows."""
        self.flush()
        if self.accelerator.is_main_process:
            append(self.metrics, [_line({"step": step, "dev_accuracy": accuracy})], sync=False)
        tell_trackers(self.accelerator, {"dev_accuracy": accuracy}, step)

    def _write(self, done: Finished | None) -> None:
        if done is None:
            return
        if done.ready is not None:
            done.ready.synchronize()
        shares = done.by_form.tolist()
        self.loss = sum(shares)
        self.check(done.step, self.loss)
        losses = {form.name: share / form.share for form, share in zip(self.forms, shares, strict=True)}
        self.inputs += done.inputs
        self.learned += done.learned
        rate = self.learned / max(self.seconds, 1e-9)
        if self.accelerator.is_main_process:
            metrics: dict[str, Any] = {"step": done.step, "loss": self.loss, "losses": losses, "lr": done.lr}
            if done.on_policy is not None:
                metrics["on_policy"] = dict(done.on_policy)
            times = {
                "step": done.step,
                "seconds": round(self.seconds, 3),
                "input_tokens": self.inputs,
                "learned_tokens": self.learned,
            }
            append(self.metrics, [_line(metrics)], sync=False)
            with suppress(OSError, OutputError):
                append(self.timings, [_line(times)], sync=False)
        told = {"loss": self.loss, "lr": done.lr, "learned_tokens_per_second": rate}
        tell_trackers(self.accelerator, {**told, **flat_losses(losses)}, done.step)
        each = " ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
        self.advance(1, f"loss {self.loss:.3f} ({each}), {rate:,.0f} tokens learned/s")


def flat_losses(losses: Mapping[str, float]) -> dict[str, float]:
    """The losses of the forms by the names under which trackers show them: a group beside `loss`."""
    return {f"losses/{form}": loss for form, loss in losses.items()}


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode()


def _cut(path: Path, step: int, repair: bool) -> None:
    """Cut a log back to what a checkpoint holds, so that a resumed log equals an uninterrupted one."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        steps = read_lines(path, _step, repair)
        _keep(path, sum(logged <= step for logged in steps))


def _cut_timings(path: Path, step: int) -> None:
    """The same for measured times, without those lines that cannot be read."""
    if path.exists():
        lines = [line for line in whole_lines(path) if _is_up_to(line, step)]
        write_bytes(path, b"".join(line + b"\n" for line in lines))


def _keep(path: Path, count: int) -> None:
    write_bytes(path, b"".join(line + b"\n" for line in whole_lines(path)[:count]))


def _is_up_to(line: bytes, step: int) -> bool:
    try:
        return _step(line) <= step
    except DAMAGE:
        return False


def _step(line: bytes) -> int:
    return int(json.loads(line)["step"])
