"""The one training loop: `(coef * nll).sum().backward()` for every strategy, family and device.

Nothing but the step number is state: data order, dropout and learning rate are functions of (seed, step), so
a run killed at any moment and started again equals the uninterrupted one, bit for bit on the CPU.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from torch import Tensor
from torch.distributed import is_initialized

from cotdistill.config import DistillConfig
from cotdistill.console import progress, warn
from cotdistill.errors import Unavailable
from cotdistill.seeds import derive
from cotdistill.strategies.forms import Reweight
from cotdistill.students.encode import EncodedSet
from cotdistill.students.student import Student
from cotdistill.training import checkpoints, objective
from cotdistill.training.accelerators import accelerator_for, has_dropout
from cotdistill.training.batches import for_rank, micro_batches, step_indices, step_trees
from cotdistill.training.cpu_kernels import CpuKernels, keep_freed_memory, switched_on, trim_heap
from cotdistill.training.divergence import LossWatch
from cotdistill.training.memory import OutOfMemory, TokenBudget, default_budget, out_of_memory_raised
from cotdistill.training.metrics_log import MetricsLog
from cotdistill.training.on_policy import Lesson, OnPolicy
from cotdistill.training.optimizers import clip_in_step, learning_rate, optimizer_for
from cotdistill.training.packed_attention import PACKED, using_attention
from cotdistill.training.process_group import settle_group
from cotdistill.training.recipes import total_steps
from cotdistill.training.run_trackers import finish_trackers
from cotdistill.training.sharding import assembled, outline, shard
from cotdistill.training.stages import Stages, epochs_of
from cotdistill.training.teaching import Teaching

GIB = 1 << 30
DevAccuracy = Callable[[Student], float]  # generated answers on the dev rows; never a loss


@dataclass(frozen=True)
class Trained:
    """What a training run did."""

    steps: int
    loss: float  # of the last step
    seconds: float
    processes: int
    tokens: int  # input positions computed, all processes
    best_step: int | None = None  # the step whose weights were kept, where dev accuracy chose
    dev_accuracy: float | None = None


class Loop:
    """Trains `student` in place on `data`; writes metrics.jsonl, timings.jsonl and checkpoints under `folder`.

    `run` makes all of a run's steps, `advance` some (benchmarks take turns).

    `reweight`: (coef, nll) -> coef. `dev_accuracy` chooses the weights that are kept and may stop early.
    `plain`: padded rows and the model's own logits, the reference that every fast path is tested against.
    `teaching`: the teacher's distributions, which the trees' targets refer to. `stages`: what is learned instead of
    `data` in later passes over the rows. `on_policy`: the examples of each step that the student writes itself.
    `key`: the run's; checkpoints carry it, and those of another run are refused with `UsageError`.
    """

    def __init__(
        self,
        student: Student,
        data: EncodedSet,
        config: DistillConfig,
        folder: Path,
        reweight: Reweight | None = None,
        dev_accuracy: DevAccuracy | None = None,
        plain: bool = False,
        key: str = "",
        teaching: Teaching | None = None,
        stages: Stages | None = None,
        on_policy: OnPolicy | None = None,
    ) -> None:
        self.teaching, self.stages, self.epoch, self.on_policy = teaching, stages, 0, on_policy
        self.student, self.data, self.config, self.folder = student, data, config, folder
        self.reweight, self.dev_accuracy = reweight, dev_accuracy
        self.packed = not plain and objective.can_pack(student)
        self.decoding = student.model.config._attn_implementation
        self.plain = plain or not objective.head_is_linear(student)
        self.steps = total_steps(config, len(data.samples))
        self.joins = is_initialized()  # a group that lasts longer than this run
        self.accelerator = accelerator_for(student, config, folder)
        self.sharded = config.parallel == "fsdp" and self.accelerator.num_processes > 1
        if self.accelerator.num_processes > 1 and has_dropout(student.model):
            warn("dropout is drawn per process: the loss curve depends on the number of processes")
        if config.parallel == "fsdp" and not self.sharded:
            warn("--parallel fsdp: with one process, nothing is sharded")
        if self.sharded:
            self.outline = outline(student.model)
            shard(self.accelerator.prepare_model(student.model, evaluation_mode=True), self.accelerator.device)
        optimizer = optimizer_for(student.model, config)
        self.progress = checkpoints.restore(self.checkpoints, student.model, optimizer, key)
        if self.accelerator.is_main_process:
            checkpoints.clean(self.checkpoints)
        limit = None if config.max_memory is None else int(config.max_memory * GIB)
        device = self.accelerator.device
        tokens = self.progress.token_budget or config.token_budget or default_budget(device, student.model)
        self.budget = TokenBudget(device, tokens, limit)
        if self.accelerator.device.type == "cpu":
            keep_freed_memory()
        if config.checkpoint_activations:
            self.budget.checkpoint_activations(student.model)
        if config.compile:
            _compile_layers(student.model)
        if self.sharded:
            self.model, self.optimizer = student.model, self.accelerator.prepare(optimizer)
        else:
            self.model, self.optimizer = self.accelerator.prepare(student.model, optimizer)
        # On MPS the gradients are clipped apart: that its update divides by `grad_scale` was never tried.
        self.fused = (
            config.optimizer == "adamw" and config.dtype != "float16" and not self.sharded and device.type != "mps"
        )
        on_cpu = device.type == "cpu" and not plain and switched_on()
        self.kernels = CpuKernels(
            loss=on_cpu,
            layers=on_cpu and config.dtype == "float32" and not config.compile,
            # In place, a product would write where autograd sums the teacher's term.
            vocabulary=on_cpu and self.accelerator.num_processes == 1 and not self.plain and on_policy is None,
        )

    @property
    def checkpoints(self) -> Path:
        """Where this run's checkpoints lie."""
        return self.folder / "checkpoints"

    def run(self) -> Trained:
        """All remaining steps."""
        started = self.progress.step
        with progress("training", self.steps - started) as show:
            log = self._metrics_log(show)
            self.advance(self.steps - started, log)
        best = self._finish()
        settle_group()
        finish_trackers(self.accelerator)
        if not self.joins:
            self.accelerator.end_training()
        return Trained(self.progress.step, log.loss, log.seconds, self.accelerator.num_processes, log.inputs, *best)

    def advance(self, steps: int, log: MetricsLog | None = None) -> None:
        """Up to `steps` optimizer steps, with the evaluations and checkpoints that fall due."""
        log = log or self._metrics_log(lambda count, note: None)
        self.model.train()
        model = self.student.model
        with self.kernels.inside(model), using_attention(model, PACKED if self.packed else None):
            for _ in range(steps):
                if self.progress.stopped:
                    break
                self._step(log)
                if self._due(self._dev_every):
                    self._evaluate(log)
                if self._due(self.config.checkpoint_every):
                    log.flush()
                    self._save()
        log.flush()

    def _metrics_log(self, show: Callable[[int, str], None]) -> MetricsLog:
        log = MetricsLog(self.folder, self.data.forms, self.accelerator, self.progress.step, show, self.config.repair)
        if not self.config.allow_divergence:
            # Where what is learned changes, its loss says nothing of the first one's.
            changes = self.stages is not None or self.on_policy is not None
            watch = LossWatch(self.steps if changes else ceil(self.config.warmup * self.steps))
            watch.replay(log.metrics)  # cut back already to where the run goes on
            log.check = lambda step, loss: watch.check(step, loss, self._first_loss)
        return log

    def _step(self, log: MetricsLog) -> None:
        """One optimizer step, repeated with smaller micro-batches where memory did not suffice."""
        step = self.progress.step
        lr = learning_rate(self.config, step, self.steps, self._epoch_of(step))
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        if self.stages is not None:
            self._enter_stage(self.stages, step)
        lesson = self._lesson(step)
        while True:
            self._draw_dropout_of(step)
            try:
                with out_of_memory_raised():
                    by_form = self._accumulate(lesson)
                break
            except OutOfMemory as error:
                if self.accelerator.num_processes > 1:  # the others would wait for this one's gradients
                    raise Unavailable(
                        f"out of memory in one of {self.accelerator.num_processes} processes ({error}); "
                        "set a smaller --token-budget"
                    ) from error
                self.optimizer.zero_grad(set_to_none=True)
                self.budget.shrink(self.student.model, error)
        if self.config.clip and self.fused:
            clip_in_step(self.model, self.optimizer.optimizer, self.config.clip)
        elif self.config.clip:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.clip)
        if not self.fused and self.accelerator.device.type == "cpu":
            trim_heap()  # an update that is not fused makes several copies of a gradient
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.progress.step, self.progress.token_budget = step + 1, self.budget.tokens
        log.add(
            step + 1,
            self.accelerator.reduce(by_form, "sum"),
            lr,
            sum(tree.size for tree in lesson.trees),
            sum(len(tree.tokens) for tree in lesson.trees),
            lesson.said,
        )

    def _draw_dropout_of(self, step: int) -> None:
        """Let dropout be drawn as this step's; a CPU's generator alone is seeded a hundred times as fast as all."""
        on_cpu = self.accelerator.device.type == "cpu"
        seed = torch.default_generator.manual_seed if on_cpu else torch.manual_seed
        seed(derive(self.config.seed, "dropout", step, self.accelerator.process_index))

    def _epoch_of(self, step: int) -> int:
        """Passes over the rows that are complete when a step begins."""
        return step * self.config.batch_size // len(self.data.samples)

    def _enter_stage(self, stages: Stages, step: int) -> None:
        """Encode the pass that `step` lies in, if it is another than before."""
        epoch, size = self._epoch_of(step), len(self.data.samples)
        if epoch != self.epoch:
            self.data = stages.data(epoch, epochs_of(self.steps, self.config.batch_size, size), self.data)
            self.epoch = epoch
        if stages.resets_optimizer and step > 0 and self._epoch_of(step - 1) != epoch:
            self.optimizer.optimizer.state.clear()

    def _lesson(self, step: int) -> Lesson:
        """What one optimizer step learns from."""
        indices = step_indices(len(self.data.samples), self.config.batch_size, self.config.seed, step)
        rows = [self.data.samples[at] for at in indices]
        if self.on_policy is None:
            return Lesson(step_trees(rows, self.data.forms))
        with using_attention(self.student.model, self.decoding):
            lesson = self.on_policy.lesson(self.student, step, indices, rows, self.data.forms)
        self.model.train()
        return lesson

    def _first_loss(self) -> float:
        """The loss now of the first step's examples, under the first step's dropout."""
        self._draw_dropout_of(0)
        with torch.no_grad():
            shares = self.accelerator.reduce(self._accumulate(self._lesson(0), learn=False), "sum")
        return float(shares.sum())

    def _accumulate(self, lesson: Lesson, learn: bool = True) -> Tensor:
        """Gradients of one optimizer step over this process's micro-batches; the loss share of each form
        [forms]. `learn` False: the losses alone.
        """
        accelerator = self.accelerator
        ranks = accelerator.num_processes
        tellers = [teller for teller in (self.teaching, lesson.scores) if teller is not None]
        cut = micro_batches(lesson.trees, self.budget.tokens, self.packed, ranks)
        batches = list(for_rank(cut, accelerator.process_index, ranks))
        by_form = torch.zeros(len(self.data.forms), device=accelerator.device)
        products = self.kernels.products(self.student.model, batches)
        for at, batch_trees in enumerate(batches):
            batch = objective.collate(self.student, batch_trees, self.packed, tellers)
            with accelerator.no_sync(self.model) if at + 1 < len(batches) else nullcontext():
                total, each = objective.loss(self.student, batch, self.model, self.reweight, self.plain, products)
                self.budget.check()
                # DDP averages gradients over processes; coef already holds the whole step's denominators.
                if learn:
                    accelerator.backward(total * ranks if ranks > 1 else total)
            by_form.index_add_(0, batch.forms, each)
        return by_form

    @property
    def _dev_every(self) -> int | None:
        if self.dev_accuracy is None:
            return None
        return self.config.dev_every or max(1, len(self.data.samples) // self.config.batch_size)

    def _due(self, every: int | None) -> bool:
        step = self.progress.step
        return every is not None and (step % every == 0 or step == self.steps or self.progress.stopped)

    def _evaluate(self, log: MetricsLog) -> None:
        """Generated dev accuracy; the best weights are kept, and `patience` evaluations without a better one stop."""
        assert self.dev_accuracy is not None
        accuracies = [0.0]
        main = self.accelerator.is_main_process
        student = copy.copy(self.student)
        if self.sharded:
            student.model = assembled(self.outline, self.student.model, main)
        if main:
            student.model.eval()
            with using_attention(student.model, self.decoding):
                accuracies[0] = self.dev_accuracy(student)
            self.model.train()
        accuracy = broadcast_object_list(accuracies)[0]
        log.dev(self.progress.step, accuracy)
        if accuracy > self.progress.best:
            self.progress.best, self.progress.best_step, self.progress.waited = (accuracy, self.progress.step, 0)
            checkpoints.save_best(self.checkpoints, self.student.model, self.progress, main)
        else:
            self.progress.waited += 1
            self.progress.stopped = self.config.patience is not None and self.progress.waited >= self.config.patience

    def _save(self) -> None:
        self.accelerator.wait_for_everyone()
        checkpoints.save(
            self.checkpoints,
            self.student.model,
            self.optimizer,
            self.progress,
            self.config.keep_checkpoints,
            self.accelerator.is_main_process,
        )

    def _finish(self) -> tuple[int, float] | tuple[None, None]:
        """Leave the trained (or the best) weights in the student."""
        if self.sharded:
            self.student.model = assembled(self.outline, self.student.model)
        else:
            self.student.model = self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        self.student.model.eval()
        if self.dev_accuracy is None:
            return None, None
        self.accelerator.wait_for_everyone()
        checkpoints.load_best(self.checkpoints, self.student.model, self.progress.best_step)
        return self.progress.best_step, self.progress.best


def _compile_layers(model: Any) -> None:
    """torch.compile, layer by layer: one compilation serves all, and lengths may differ by batch."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    for module in model.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.compile(dynamic=True)
