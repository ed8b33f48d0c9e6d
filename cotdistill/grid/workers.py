"""Warm workers: processes that keep models, rows and tokens between the tasks they are given.

A task is a function of a `Workshop` and plain arguments. A worker that dies takes one task with it: the task is
reported as failed, a new worker takes the place.
"""

from __future__ import annotations

import multiprocessing
import os
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
from cotdistill.students.divergence import Diverged


@dataclass(frozen=True)
class Task:
    """`call(workshop, *arguments)`; both must be picklable. `about` is what the caller knows it by.

    `together`: done by every process of a worker, as it trains; what the first of them returns counts.
    """

    about: Any
    call: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    together: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a task came to: a value, or why it failed. `code`: what the command ends with where it ends on that."""

    about: Any
    value: Any = None
    error: str | None = None
    code: Exit = Exit.BUG
    refused: bool = False  # the user's doing, not this cell's: everything stops
    seconds: float = 0.0
    diverged: bool = False  # training made the student worse: the same again would end the same


@dataclass(frozen=True)
class Step:
    """How far a worker is with a part of its task; `total` None: nobody knows."""

    what: str
    done: int
    total: int | None


Heard = Callable[[int, Task, Step], None]  # the number of the worker comes first


def unheard(worker: int, task: Task, step: Step) -> None:
    """Nobody listens."""


class Crew(Protocol):
    """Who does the tasks: `size` of them at once. `heard` is told how far workers in other processes are."""

    size: int
    heard: Heard

    def submit(self, tasks: Sequence[Task]) -> None:
        """Put tasks in line; done in the order given as workers become free."""

    def outcomes(self) -> Iterator[Outcome]:
        """Outcomes as they come, until nothing is in line; more may be submitted meanwhile."""

    def close(self) -> None:
        """Let the workers go."""


TOGETHER = 3.0  # seconds: processes that train together fail together, or wait for one that failed
PATIENCE = timedelta(days=1)  # of those that wait while the first answers dev rows; who dies is noticed at once
MakeWorkshop = Callable[[], Any]


class Here:
    """One worker: this process."""

    size = 1

    def __init__(self, make: MakeWorkshop) -> None:
        self.workshop, self.waiting = make(), deque[Task]()
        self.heard: Heard = unheard

    def submit(self, tasks: Sequence[Task]) -> None:
        """Put tasks in line."""
        self.waiting.extend(tasks)

    def outcomes(self) -> Iterator[Outcome]:
        """Do one task after the other."""
        while self.waiting:
            yield perform(self.waiting.popleft(), self.workshop)

    def close(self) -> None:
        """Nothing to let go."""


@dataclass(frozen=True)
class _Member:
    process: BaseProcess
    pipe: Connection


@dataclass
class _Worker:
    """The processes that do one task: the first, and those that train together with it."""

    members: list[_Member]
    task: Task | None = None
    answers: dict[int, Outcome] = field(default_factory=dict)

    @property
    def asked(self) -> list[int]:
        """Who has not answered yet."""
        if self.task is None:
            return []
        return [at for at in range(len(self.members) if self.task.together else 1) if at not in self.answers]


class Processes:
    """`count` workers on this machine, spawned, one torch thread per process; each its own GPUs where there are some.

    `per_cell`: GPUs of a worker. From 2 on it is as many processes, which train together (on a CPU: just processes);
    below 1, workers share a GPU.
    """

    def __init__(self, make: MakeWorkshop, count: int, gpus: int = 0, per_cell: float = 1.0) -> None:
        self.make, self.size, self.gpus, self.per_cell = make, count, gpus, per_cell
        self.heard: Heard = unheard
        self.context = multiprocessing.get_context("spawn")  # fork is not safe once torch has threads
        self.waiting: deque[Task] = deque()
        self.workers: list[_Worker] = []  # hired when there is work for them
        self.meeting = TemporaryDirectory(prefix="cotdistill-")  # where the processes of a worker find each other
        self.hired = 0

    def submit(self, tasks: Sequence[Task]) -> None:
        """Put tasks in line."""
        self.waiting.extend(tasks)

    def outcomes(self) -> Iterator[Outcome]:
        """Hand out tasks and collect what comes back."""
        while True:
            self._hand_out()
            busy = {worker.members[rank].pipe: (at, rank) for at, worker in enumerate(self.workers)
                    for rank in worker.asked}
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
        """End every worker; what one is doing is lost, what it finished is on the disk."""
        members = [member for worker in self.workers for member in worker.members]
        for member in members:
            member.process.terminate()
        for member in members:
            member.process.join()
        self.meeting.cleanup()

    def _hand_out(self) -> None:
        idle = sum(worker.task is None for worker in self.workers)
        while idle < len(self.waiting) and len(self.workers) < self.size:
            self.workers.append(self._hire(len(self.workers)))
            idle += 1
        for worker in self.workers:
            if worker.task is None and self.waiting:
                worker.task, worker.answers = self.waiting.popleft(), {}
                for rank in worker.asked:
                    worker.members[rank].pipe.send(worker.task)

    def _collect(self, at: int, rank: int) -> Outcome | None:
        """One process's answer; what the worker's task came to, once that is known."""
        worker = self.workers[at]
        assert worker.task is not None
        answer, died = self._receive(worker, rank)
        if answer is None or (answer.error is None and worker.asked):
            return None
        outcome = worker.answers[0] if answer.error is None else self._failure(worker, answer)
        worker.task = None
        if died or (outcome.error is not None and len(worker.members) > 1):
            for member in worker.members:  # the others may wait for what never comes
                member.process.terminate()
            for member in worker.members:
                member.process.join()
            self.workers[at] = self._hire(at)
        return outcome

    def _receive(self, worker: _Worker, rank: int) -> tuple[Outcome | None, bool]:
        """A process's answer, and whether it is dead; None where it only said how far it is."""
        assert worker.task is not None
        member, died = worker.members[rank], False
        try:
            answer: Outcome | Step = member.pipe.recv()
        except (EOFError, OSError):
            member.process.join()
            died = True
            answer = Outcome(worker.task.about, error=f"its worker died (exit code {member.process.exitcode})")
        if isinstance(answer, Step):
            self.heard(self.workers.index(worker), worker.task, answer)
            return None, False
        worker.answers[rank] = answer
        return answer, died

    def _failure(self, worker: _Worker, first: Outcome) -> Outcome:
        """Why a task failed: of processes that fail together, what says most comes from the one of lowest rank."""
        until = time.monotonic() + TOGETHER
        while (left := worker.asked) and time.monotonic() < until:
            pipes = {worker.members[rank].pipe: rank for rank in left}
            for pipe in wait(list(pipes), max(0.0, until - time.monotonic())):
                self._receive(worker, pipes[pipe])  # type: ignore[index]
        failed = [one for _, one in sorted(worker.answers.items()) if one.error is not None]
        return next((one for one in failed if one.refused or one.diverged), failed[0] if failed else first)

    def _hire(self, at: int) -> _Worker:
        gpu = gpus_of(at, self.gpus, self.per_cell) if self.gpus else None
        count = together(self.per_cell)
        self.hired += 1
        members = []
        for rank in range(count):
            ours, theirs = self.context.Pipe()
            place = Place(rank, count, f"{self.meeting.name}/{self.hired}") if count > 1 else None
            process = self.context.Process(target=_work, args=(theirs, self.make, gpu, place), daemon=True)
            with _one_thread():
                process.start()
            theirs.close()
            members.append(_Member(process, ours))
        return _Worker(members)


@dataclass(frozen=True)
class Place:
    """A process's place among those that train together; `meeting`: the file by which they find each other."""

    rank: int
    count: int
    meeting: str

    def take(self) -> None:
        """Join the others, as torchrun and accelerate know it."""
        os.environ.update({"RANK": str(self.rank), "LOCAL_RANK": str(self.rank), "WORLD_SIZE": str(self.count),
                           "LOCAL_WORLD_SIZE": str(self.count)})
        import torch
        from torch import distributed

        gpus = torch.cuda.device_count() >= self.count
        if gpus:
            torch.cuda.set_device(self.rank)
        distributed.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo", init_method=f"file://{self.meeting}",
                                       rank=self.rank, world_size=self.count, timeout=PATIENCE)


def together(per_cell: float) -> int:
    """How many processes train a cell together."""
    return max(1, int(per_cell))


def gpus_of(worker: int, count: int, per_cell: float = 1.0) -> str:
    """The GPUs of a worker, as CUDA_VISIBLE_DEVICES takes them: of the `count` that this process may use itself.

    Their names are numbers or UUIDs; without the variable they are counted from 0.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [name.strip() for name in visible.split(",")] if visible else [str(at) for at in range(count)]
    first, known = int(worker * per_cell), min(count, len(names))
    return ",".join(names[(first + at) % known] for at in range(together(per_cell)))


def perform(task: Task, workshop: Any) -> Outcome:
    """Do one task, timed; its failure is an outcome."""
    began = time.perf_counter()
    return replace(_performed(task, workshop), seconds=time.perf_counter() - began)


def _performed(task: Task, workshop: Any) -> Outcome:
    try:
        return Outcome(task.about, task.call(workshop, *task.arguments))
    except UsageError as error:
        return Outcome(task.about, error=str(error), code=error.code, refused=True)
    except CotdistillError as error:
        return Outcome(task.about, error=str(error), code=error.code, diverged=isinstance(error, Diverged))
    except Exception as error:  # one cell's failure must not end the others; where it came from is kept
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome(task.about, error=f"{type(error).__name__}: {error} ({os.path.basename(where.filename)}:"
                                         f"{where.lineno})")


def _work(pipe: Connection, make: MakeWorkshop, gpu: str | None, place: Place | None = None) -> None:
    """A worker's life."""
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu  # before torch is imported
    from signal import SIG_IGN, SIGINT, signal

    signal(SIGINT, SIG_IGN)  # Ctrl-C reaches the whole group; the main process decides
    silence()  # the main process speaks
    Thread(target=_end_with_parent, daemon=True).start()
    if place is not None:
        place.take()
    if place is None or place.rank == 0:
        forward_progress(lambda what, done, total: pipe.send(Step(what, done, total)))
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
