"""Warm workers: processes that keep models, rows and tokens between the tasks they are given.

A task is a function of a `Workshop` and plain arguments. A worker that dies takes one task with it: the task is
reported as failed, a new worker takes the place.
"""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from threading import Thread
from typing import Any, Protocol

from cotdistill.console import silence
from cotdistill.errors import CotdistillError, UsageError
from cotdistill.students.divergence import Diverged


@dataclass(frozen=True)
class Task:
    """`call(workshop, *arguments)`; both must be picklable. `about` is what the caller knows it by."""

    about: Any
    call: Callable[..., Any]
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What a task came to: a value, or why it failed."""

    about: Any
    value: Any = None
    error: str | None = None
    refused: bool = False  # the user's doing, not this cell's: everything stops
    diverged: bool = False  # training made the student worse: the same again would end the same


class Crew(Protocol):
    """Who does the tasks: `size` of them at once."""

    size: int

    def submit(self, tasks: Sequence[Task]) -> None:
        """Put tasks in line; done in the order given as workers become free."""

    def outcomes(self) -> Iterator[Outcome]:
        """Outcomes as they come, until nothing is in line; more may be submitted meanwhile."""

    def close(self) -> None:
        """Let the workers go."""


MakeWorkshop = Callable[[], Any]


class Here:
    """One worker: this process."""

    size = 1

    def __init__(self, make: MakeWorkshop) -> None:
        self.workshop, self.waiting = make(), deque[Task]()

    def submit(self, tasks: Sequence[Task]) -> None:
        """Put tasks in line."""
        self.waiting.extend(tasks)

    def outcomes(self) -> Iterator[Outcome]:
        """Do one task after the other."""
        while self.waiting:
            yield perform(self.waiting.popleft(), self.workshop)

    def close(self) -> None:
        """Nothing to let go."""


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    task: Task | None = field(default=None)


class Processes:
    """Several spawned processes on this machine, one torch thread each; each its own GPU where there are several."""

    def __init__(self, make: MakeWorkshop, count: int, gpus: int = 0) -> None:
        self.make, self.count, self.gpus = make, count, gpus
        self.size = count
        self.context = multiprocessing.get_context("spawn")  # fork is not safe once torch has threads
        self.waiting: deque[Task] = deque()
        self.workers: list[_Worker] = []  # hired when there is work for them

    def submit(self, tasks: Sequence[Task]) -> None:
        """Put tasks in line."""
        self.waiting.extend(tasks)

    def outcomes(self) -> Iterator[Outcome]:
        """Hand out tasks and collect what comes back."""
        while True:
            self._hand_out()
            busy = {worker.pipe: at for at, worker in enumerate(self.workers) if worker.task is not None}
            if not busy:
                return
            for pipe in wait(list(busy)):
                yield self._collect(busy[pipe])  # type: ignore[index]
                self._hand_out()

    def close(self) -> None:
        """End every worker; what one is doing is lost, what it finished is on the disk."""
        for worker in self.workers:
            worker.process.terminate()
        for worker in self.workers:
            worker.process.join()

    def _hand_out(self) -> None:
        idle = sum(worker.task is None for worker in self.workers)
        while idle < len(self.waiting) and len(self.workers) < self.count:
            self.workers.append(self._hire(len(self.workers)))
            idle += 1
        for worker in self.workers:
            if worker.task is None and self.waiting:
                worker.task = self.waiting.popleft()
                worker.pipe.send(worker.task)

    def _collect(self, at: int) -> Outcome:
        worker = self.workers[at]
        assert worker.task is not None
        about, worker.task = worker.task.about, None
        try:
            outcome: Outcome = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join()
            self.workers[at] = self._hire(at)
            return Outcome(about, error=f"its worker died (exit code {worker.process.exitcode})")
        return outcome

    def _hire(self, at: int) -> _Worker:
        ours, theirs = self.context.Pipe()
        gpu = gpu_of(at, self.gpus) if self.gpus else None
        process = self.context.Process(target=_work, args=(theirs, self.make, gpu), daemon=True)
        with _one_thread():
            process.start()
        theirs.close()
        return _Worker(process, ours)


def gpu_of(worker: int, count: int) -> str:
    """The GPU of a worker, as CUDA_VISIBLE_DEVICES takes it: one of the `count` that this process may use itself.

    Their names are numbers or UUIDs; without the variable they are counted from 0.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [name.strip() for name in visible.split(",")] if visible else [str(at) for at in range(count)]
    return names[worker % min(count, len(names))]


def perform(task: Task, workshop: Any) -> Outcome:
    """Do one task; its failure is an outcome."""
    try:
        return Outcome(task.about, task.call(workshop, *task.arguments))
    except UsageError as error:
        return Outcome(task.about, error=str(error), refused=True)
    except CotdistillError as error:
        return Outcome(task.about, error=str(error), diverged=isinstance(error, Diverged))
    except Exception as error:  # one cell's failure must not end the others; where it came from is kept
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome(task.about, error=f"{type(error).__name__}: {error} ({os.path.basename(where.filename)}:"
                                         f"{where.lineno})")


def _work(pipe: Connection, make: MakeWorkshop, gpu: str | None) -> None:
    """A worker's life."""
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # before torch is imported
    from signal import SIG_IGN, SIGINT, signal

    signal(SIGINT, SIG_IGN)  # Ctrl-C reaches the whole group; the main process decides
    silence()  # the main process speaks
    Thread(target=_end_with_parent, daemon=True).start()
    workshop = None
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        workshop = workshop or make()
        pipe.send(perform(task, workshop))


def _end_with_parent() -> None:
    """A worker whose main process was killed must not go on writing: the next run of the grid may be under way."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
    os._exit(1)


class _one_thread:
    """Inside, children are born with one thread: OpenMP reads the variable when torch is loaded."""

    def __enter__(self) -> None:
        self.before = os.environ.get("OMP_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = "1"

    def __exit__(self, *_: object) -> None:
        if self.before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = self.before
