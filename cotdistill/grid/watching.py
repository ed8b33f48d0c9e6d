"""Shows a grid's progress: on a terminal one bar for all tasks and one per worker, elsewhere lines."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from cotdistill.console import Bars, duration, progress_bars, say
from cotdistill.grid.executors import Executor, OnProgress, Outcome, Task, TaskProgress

TOLD = 60.0  # seconds between two lines about one unfinished task


class WatchedExecutor:
    """An executor whose progress is shown. Stages follow one another: each `outcomes` counts its own tasks."""

    def __init__(self, executor: Executor) -> None:
        self.executor, self.size = executor, executor.size
        self.total = self.done = 0
        self.names: list[str] = []
        self.bars: Bars | None = None
        self.told: dict[int, float] = {}
        self.on_progress: OnProgress = self.show_progress
        executor.on_progress = self.on_progress

    def submit(self, tasks: Sequence[Task]) -> None:
        """Queue tasks."""
        self.total += len(tasks)
        self.names += [name_of(task.about) for task in tasks]
        self.executor.submit(tasks)

    def outcomes(self) -> Iterator[Outcome]:
        """Outcomes as they come, each reported."""
        if not self.total:
            yield from self.executor.outcomes()
            return
        began = time.monotonic()
        say(f"running: {few(self.names)}")
        with progress_bars() as self.bars:
            for outcome in self.executor.outcomes():
                self.done += 1
                left = (time.monotonic() - began) / self.done * (self.total - self.done)
                self.tell(outcome, left)
                yield outcome
        self.bars, self.total, self.done, self.names = None, 0, 0, []

    def tell(self, outcome: Outcome, left: float) -> None:
        """A line for a finished task, or a step of the bar for all tasks."""
        if self.bars is not None:
            self.bars.show("tasks", self.done, self.total)
            return
        end = "failed after " if outcome.error else ""
        more = f", about {duration(left)} left" if self.done < self.total else ""
        say(f"{name_of(outcome.about)}: {end}{duration(outcome.seconds)} ({self.done} of {self.total}{more})")

    def show_progress(self, worker: int, task: Task, step: TaskProgress) -> None:
        """Move a worker's bar, or print a line now and then."""
        name = name_of(task.about)
        if self.bars is not None:
            self.bars.show(f"worker {worker + 1}", step.done, step.total, f"{name}: {step.what}")
        elif time.monotonic() - self.told.setdefault(worker, time.monotonic()) > TOLD:
            self.told[worker] = time.monotonic()
            say(f"{name}: {step.what} {step.done}" + (f" of {step.total}" if step.total else ""))

    def close(self) -> None:
        """End the workers."""
        self.executor.close()


def name_of(about: Any) -> str:
    """What a task is called: the name of what it is about, or that itself."""
    return str(getattr(about, "name", about))


def few(names: Sequence[str], most: int = 6) -> str:
    """The first names of many."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
