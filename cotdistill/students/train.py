"""The one training loop: `(coef * nll).sum().backward()` for every strategy, family and device.

Nothing but the step number is state: data order, dropout and learning rate are functions of (seed, step), so a
run killed at any moment and started again equals the uninterrupted one, bit for bit on the CPU.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from math import ceil, cos, pi
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from cotdistill.config import DistillConfig
from cotdistill.console import progress
from cotdistill.errors import UsageError
from cotdistill.seeds import derive
from cotdistill.students import checkpoints
from cotdistill.students.batches import for_rank, micro_batches, step_indices, step_rows
from cotdistill.students.encode import EncodedSet
from cotdistill.students.families import Student

Reweight = Callable[[Tensor, Tensor], Tensor]  # (coef, nll) -> coef, e.g. EDIT's gate; both [N]


@dataclass(frozen=True)
class Trained:
    """What a training run did."""

    steps: int
    loss: float  # of the last step
    seconds: float
    processes: int
    tokens: int  # input positions computed, all processes
    resumed_from: int


def train(student: Student, data: EncodedSet, config: DistillConfig, folder: Path,
          reweight: Reweight | None = None) -> Trained:
    """Train `student` in place on `data`; write metrics.jsonl, timings.jsonl and checkpoints under `folder`."""
    accelerator = _accelerator(student, config)
    steps = total_steps(config, len(data.samples))
    optimizer = _optimizer(student.model, config)
    start = checkpoints.restore(folder / "checkpoints", student.model, optimizer)
    model, optimizer = accelerator.prepare(student.model, optimizer)
    model.train()
    log = _Log(folder, start) if accelerator.is_main_process else None
    began, tokens, loss = time.perf_counter(), 0, float("nan")
    with progress("training", steps - start) as advance:
        for step in range(start, steps):
            torch.manual_seed(derive(config.seed, "dropout", step, accelerator.process_index))
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, step, steps)
            by_form, seen = _accumulate(student, model, data, config, step, accelerator, reweight)
            accelerator.clip_grad_norm_(model.parameters(), config.clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            tokens += seen
            losses = {form.name: by_form[at] / form.share for at, form in enumerate(data.forms)}
            loss = sum(by_form)
            if log is not None:
                log.write(step, loss, losses, optimizer.param_groups[0]["lr"], tokens, time.perf_counter() - began)
            if config.checkpoint_every and (step + 1) % config.checkpoint_every == 0 and step + 1 < steps:
                accelerator.wait_for_everyone()
                if accelerator.is_main_process:
                    checkpoints.save(folder / "checkpoints", step + 1, accelerator.unwrap_model(model), optimizer,
                                     config.keep_checkpoints)
            advance(1, f"loss {loss:.3f}")
    student.model = accelerator.unwrap_model(model).eval()
    return Trained(steps, loss, time.perf_counter() - began, accelerator.num_processes, tokens, start)


def total_steps(config: DistillConfig, examples: int) -> int:
    """`--steps`, or the optimizer steps of `--epochs` (default 10, SCOTT's)."""
    if config.steps is not None:
        return config.steps
    return max(1, ceil((config.epochs or 10.0) * examples / config.batch_size))


def learning_rate(config: DistillConfig, step: int, steps: int) -> float:
    """Linear warm-up over `warmup` * steps, then constant, linear to 0 or half a cosine to 0."""
    warm = ceil(config.warmup * steps)
    if step < warm:
        return config.lr * (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    return config.lr * {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + cos(pi * done))}[config.schedule]


def _accumulate(student: Student, model: Any, data: EncodedSet, config: DistillConfig, step: int,
                accelerator: Accelerator, reweight: Reweight | None) -> tuple[list[float], int]:
    """Gradients of one optimizer step over its micro-batches; (loss share of each form, input positions)."""
    indices = step_indices(len(data.samples), config.batch_size, config.seed, step)
    rows = step_rows([data.samples[at] for at in indices], data.forms)
    batches = list(for_rank(micro_batches(rows, config.token_budget), accelerator.process_index,
                            accelerator.num_processes))
    by_form = torch.zeros(len(data.forms), device=accelerator.device)
    for at, batch_rows in enumerate(batches):
        batch = student.collate(batch_rows)
        # DDP averages gradients over processes; coef already holds the whole step's denominators.
        with accelerator.no_sync(model) if at + 1 < len(batches) else nullcontext(), accelerator.autocast():
            nll = student.token_nll(batch, model)
            coef = batch.coef if reweight is None else reweight(batch.coef, nll)
            weighted = coef * nll
            accelerator.backward(weighted.sum() * accelerator.num_processes)
        by_form.index_add_(0, batch.forms, weighted.detach())
    totals = accelerator.reduce(by_form, "sum")
    return totals.tolist(), sum(len(row.tree.ids) + len(row.tree.source if row.tree.source is not None else ())
                                for row in rows)


def _accelerator(student: Student, config: DistillConfig) -> Accelerator:
    if config.dtype == "float16" and student.model.config.model_type in ("t5", "mt5", "umt5"):
        raise UsageError("float16 gives NaN on T5 (its activations overflow); use --dtype bfloat16")
    precision = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}[config.dtype]
    return Accelerator(cpu=config.device == "cpu", mixed_precision=precision)


def _optimizer(model: Any, config: DistillConfig) -> torch.optim.Optimizer:
    if config.optimizer == "adafactor":
        from transformers.optimization import Adafactor

        # SCOTT's settings: a given rate, neither relative steps nor parameter scaling.
        return Adafactor(model.parameters(), lr=config.lr, scale_parameter=False, relative_step=False,
                         warmup_init=False, weight_decay=config.weight_decay)
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.requires_grad and p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.lr, betas=config.betas, fused=True)


class _Log:
    """metrics.jsonl holds what is deterministic, timings.jsonl what was measured: outside every equality."""

    def __init__(self, folder: Path, start: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.metrics = _kept_lines(folder / "metrics.jsonl", start)
        self.timings = _kept_lines(folder / "timings.jsonl", start)

    def write(self, step: int, loss: float, losses: dict[str, float], lr: float, tokens: int, seconds: float) -> None:
        _append(self.metrics, {"step": step + 1, "loss": loss, "losses": losses, "lr": lr})
        _append(self.timings, {"step": step + 1, "seconds": round(seconds, 3), "input_tokens": tokens})


def _kept_lines(path: Path, steps: int) -> Path:
    """Cut a log back to the steps a checkpoint holds, so that a resumed log equals an uninterrupted one."""
    if path.exists():
        lines = path.read_text().splitlines(keepends=True)[:steps]
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join(lines))
        os.replace(temporary, path)
    return path


def _append(path: Path, record: dict[str, Any]) -> None:
    with path.open("a") as out:
        out.write(json.dumps(record) + "\n")
