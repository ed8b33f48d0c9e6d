"""Executors of a grid's tasks: this process, or warm workers that keep models, rows and tokens between tasks.

A task is a function of a `WorkerState` and plain arguments. A worker that dies takes one task with it: the task is
reported as failed and a new worker is spawned in its place.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any, Protocol

from cotdistill.console import forward_progress, silence
from cotdistill.errors import CotdistillError, Exit, UsageError
from cotdistill.garbage import collector_paused
from cotdistill.training.divergence import Diverged


@dataclass(frozen=True)
class Task:
    """`call(state, *arguments)`; all must be picklable. `about` is what the caller knows it by.

    `together`: done by every process of a worker, as it trains; what the first of them returns counts.
    """

    about: Any
    call: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    together: bool = False


@dataclass(frozen=True)
class Outcome:
    """A task's value, or why it failed. `code`: the exit code, should the command end because of it."""

    about: Any
    value: Any = None
    error: str | None = None
    code: Exit = Exit.BUG
    refused: bool = False  # the user's mistake, not this cell's: everything stops
    seconds: float = 0.0
    diverged: bool = False  # training made the student worse, and would do so again


@dataclass(frozen=True)
class TaskProgress:
    """How far a worker is with a part of its task; `total` is None where it is unknown."""

    what: str
    done: int
    total: int | None


OnProgress = Callable[[int, Task, TaskProgress], None]  # the worker's number first


def ignore_progress(worker: int, task: Task, step: TaskProgress) -> None:
    """The default `on_progress`: shows nothing."""


class Executor(Protocol):
    """Does tasks, `size` of them at once; `on_progress` hears how far workers in other processes are."""

    size: int
    on_progress: OnProgress

    def submit(self, tasks: Sequence[Task]) -> None:
        """Queue tasks, to be done in the order given as workers become free."""

    def outcomes(self) -> Iterator[Outcome]:
        """Outcomes as they come, until the queue is empty; more may be submitted meanwhile."""

    def close(self) -> None:
        """End the workers."""


TOGETHER = 3.0  # seconds: processes that train together fail together, or wait for one that failed
GROUP_TIMEOUT = timedelta(days=1)  # the others wait while the first answers dev rows; a dead process is noticed at once
MakeState = Callable[[], Any]


class InProcessExecutor:
    """One worker: this process."""

    size = 1

    def __init__(self, make: MakeState) -> None:
        self.state, self.waiting = make(), deque[Task]()
        self.on_progress: OnProgress = ignore_progress

    def submit(self, tasks: Sequence[Task]) -> None:
        """Queue tasks."""
        self.waiting.extend(tasks)

    def outcomes(self) -> Iterator[Outcome]:
        """Do one task after another."""
        while self.waiting:
            yield perform(self.waiting.popleft(), self.state)

    def close(self) -> None:
        """Nothing to end."""


@dataclass(frozen=True)
class _Member:
    process: BaseProcess
    pipe: Connection


@dataclass
class _Worker:
    """The processes of one worker: the first, and those that train together with it."""

    members: list[_Member]
    task: Task | None = None
    answers: dict[int, Outcome] = field(default_factory=dict)

    @property
    def asked(self) -> list[int]:
        """Ranks that have not answered yet."""
        if self.task is None:
            return []
        return [at for at in range(len(self.members) if self.task.together else 1) if at not in self.answers]


class ProcessExecutor:
    """`count` spawned workers on this machine, one torch thread per process, each with its own GPUs if there are any.

    `per_cell`: GPUs per worker. From 2 on, a worker is that many processes, which train together (on a CPU: processes
    only); below 1, workers share a GPU.
    """

    def __init__(self, make: MakeState, count: int, gpus: int = 0, per_cell: float = 1.0) -> None:
        self.make, self.size, self.gpus, self.per_cell = make, count, gpus, per_cell
        self.on_progress: OnProgress = ignore_progress
        self.context = multiprocessing.get_context("spawn")  # fork is not safe once torch has threads
        self.waiting: deque[Task] = deque()
        self.workers: list[_Worker] = []  # spawned when there is work for them
        self.rendezvous = TemporaryDirectory(
            prefix="cotdistill-"
        )  # the files by which the processes of a worker find each other
        self.spawned = 0

    def submit(self, tasks: Sequence[Task]) -> None:
        """Queue tasks."""
        self.waiting.extend(tasks)

    def outcomes(self) -> Iterator[Outcome]:
        """Hand out tasks and collect their outcomes."""
        while True:
            self._hand_out()
            busy = {
                worker.members[rank].pipe: (at, rank) for at, worker in enumerate(self.workers) for rank in worker.asked
            }
            if not busy:
                return
            for pipe in wait(list(busy)):
                at, rank = busy[pipe]  # type: ignore[index]
                worker = self.workers[at]
                if rank not in worker.asked or worker.members[rank].pipe is not pipe:
                    continue  # heard already, or replaced
                outcome = self._collect(at, rank)
                if outcome is not None:
                    yield outcome
                    self._hand_out()

    def close(self) -> None:
        """End every worker: a task under way is lost, finished ones are on disk."""
        members = [member for worker in self.workers for member in worker.members]
        for member in members:
            member.process.terminate()
        for member in members:
            member.process.join()
        self.rendezvous.cleanup()

    def _hand_out(self) -> None:
        idle = sum(worker.task is None for worker in self.workers)
        while idle < len(self.waiting) and len(self.workers) < self.size:
            self.workers.append(self._spawn(len(self.workers)))
            idle += 1
        for worker in self.workers:
            if worker.task is None and self.waiting:
                worker.task, worker.answers = self.waiting.popleft(), {}
                for rank in worker.asked:
                    worker.members[rank].pipe.send(worker.task)

    def _collect(self, at: int, rank: int) -> Outcome | None:
        """Receive one process's answer; the outcome of the worker's task, once it is known."""
        worker = self.workers[at]
        assert worker.task is not None
        answer, died = self._receive(worker, rank)
        if answer is None or (answer.error is None and worker.asked):
            return None
        outcome = worker.answers[0] if answer.error is None else self._failure(worker, answer)
        worker.task = None
        if died or (outcome.error is not None and len(worker.members) > 1):
            for member in worker.members:  # the others may be waiting for the one that failed
                member.process.terminate()
            for member in worker.members:
                member.process.join()
            self.workers[at] = self._spawn(at)
        return outcome

    def _receive(self, worker: _Worker, rank: int) -> tuple[Outcome | None, bool]:
        """A process's answer, and whether it is dead; None where it only reported progress."""
        assert worker.task is not None
        member, died = worker.members[rank], False
        try:
            answer: Outcome | TaskProgress = member.pipe.recv()
        except (EOFError, OSError):
            member.process.join()
            died = True
            answer = Outcome(worker.task.about, error=f"its worker died (exit code {member.process.exitcode})")
        if isinstance(answer, TaskProgress):
            self.on_progress(self.workers.index(worker), worker.task, answer)
            return None, False
        worker.answers[rank] = answer
        return answer, died

    def _failure(self, worker: _Worker, first: Outcome) -> Outcome:
        """Why a task failed: of processes that fail together, the one of lowest rank says most."""
        until = time.monotonic() + TOGETHER
        while (left := worker.asked) and time.monotonic() < until:
            pipes = {worker.members[rank].pipe: rank for rank in left}
            for pipe in wait(list(pipes), max(0.0, until - time.monotonic())):
                self._receive(worker, pipes[pipe])  # type: ignore[index]
        failures = [answer for _, answer in sorted(worker.answers.items()) if answer.error is not None]
        return next((f for f in failures if f.refused or f.diverged), failures[0] if failures else first)

    def _spawn(self, at: int) -> _Worker:
        gpu = gpus_of(at, self.gpus, self.per_cell) if self.gpus else None
        count = together(self.per_cell)
        self.spawned += 1
        members = []
        for rank in range(count):
            ours, theirs = self.context.Pipe()
            rendezvous = Rendezvous(rank, count, f"{self.rendezvous.name}/{self.spawned}") if count > 1 else None
            process = self.context.Process(
                target=_work, args=(theirs, pickle.dumps(self.make), gpu, rendezvous), daemon=True
            )
            with _one_thread():
                process.start()
            theirs.close()
            members.append(_Member(process, ours))
        return _Worker(members)


@dataclass(frozen=True)
class Rendezvous:
    """A process's rank among those that train together; `file`: by which they find each other."""

    rank: int
    count: int
    file: str

    def join(self) -> None:
        """Join the process group, in the way torchrun and accelerate expect."""
        os.environ.update(
            {
                "RANK": str(self.rank),
                "LOCAL_RANK": str(self.rank),
                "WORLD_SIZE": str(self.count),
                "LOCAL_WORLD_SIZE": str(self.count),
            }
        )
        import torch
        from torch import distributed

        gpus = torch.cuda.device_count() >= self.count
        if gpus:
            torch.cuda.set_device(self.rank)
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if gpus else "gloo",
            init_method=f"file://{self.file}",
            rank=self.rank,
            world_size=self.count,
            timeout=GROUP_TIMEOUT,
        )


def together(per_cell: float) -> int:
    """How many processes train a cell together."""
    return max(1, int(per_cell))


def gpus_of(worker: int, count: int, per_cell: float = 1.0) -> str:
    """The GPUs of a worker, as a value of CUDA_VISIBLE_DEVICES, out of the `count` that this process may use.

    Names are numbers or UUIDs; where the variable is not set they are counted from 0.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [name.strip() for name in visible.split(",")] if visible else [str(at) for at in range(count)]
    first, known = int(worker * per_cell), min(count, len(names))
    return ",".join(names[(first + at) % known] for at in range(together(per_cell)))


def perform(task: Task, state: Any) -> Outcome:
    """Do one task and time it; a failure is an outcome, too."""
    began = time.perf_counter()
    return replace(_performed(task, state), seconds=time.perf_counter() - began)


def _performed(task: Task, state: Any) -> Outcome:
    try:
        return Outcome(task.about, task.call(state, *task.arguments))
    except UsageError as error:
        return Outcome(task.about, error=str(error), code=error.code, refused=True)
    except CotdistillError as error:
        return Outcome(task.about, error=str(error), code=error.code, diverged=isinstance(error, Diverged))
    except Exception as error:  # one cell's failure must not end the others
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome(
            task.about, error=f"{type(error).__name__}: {error} ({os.path.basename(where.filename)}:{where.lineno})"
        )


def _work(pipe: Connection, packed: bytes, gpu: str | None, rendezvous: Rendezvous | None = None) -> None:
    """The main loop of a worker's process. `packed`: the pickled `MakeState`, which imports what the tasks need."""
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # before torch is imported
    from signal import SIG_IGN, SIGINT, signal

    signal(SIGINT, SIG_IGN)  # Ctrl-C reaches the whole group; the main process handles it
    silence()  # only the main process writes to stderr
    Thread(target=_end_with_parent, daemon=True).start()
    if rendezvous is not None:
        rendezvous.join()
    if rendezvous is None or rendezvous.rank == 0:
        forward_progress(lambda what, done, total: pipe.send(TaskProgress(what, done, total)))
    with collector_paused():
        make: MakeState = pickle.loads(packed)
    state = None
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        state = state or make()
        pipe.send(perform(task, state))


def _end_with_parent() -> None:
    """End this worker once its main process was killed: the next run of the grid may already be writing."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
    os._exit(1)


class _one_thread:
    """Inside, child processes start with one thread: OpenMP reads the variable when torch is loaded."""

    def __enter__(self) -> None:
        self.before = os.environ.get("OMP_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = "1"

    def __exit__(self, *_: object) -> None:
        if self.before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = self.before
