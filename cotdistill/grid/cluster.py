"""A Ray cluster as a crew: warm actors, each with its share of a GPU, doing the same tasks as local workers.

The grid's directory must lie where every node sees it under the same path.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from cotdistill.console import silence
from cotdistill.errors import Unavailable, missing_extra
from cotdistill.grid.workers import MakeWorkshop, Outcome, Task, perform


class Cluster:
    """`count` actors; None: as many as the cluster's GPUs (or, without any, CPUs) allow."""

    def __init__(self, make: MakeWorkshop, address: str, gpus_per_cell: float, count: int | None = None) -> None:
        try:
            import ray
        except ImportError:
            raise missing_extra("ray", "--ray") from None
        self.ray = ray
        try:
            ray.init(address=address, ignore_reinit_error=True, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise Unavailable(
                f"--ray {address}: no cluster there ({error}); start one with: ray start --head") from None
        whole = ray.cluster_resources()
        gpus = gpus_per_cell if whole.get("GPU", 0) > 0 else 0.0
        most = int(whole["GPU"] / gpus) if gpus else int(whole.get("CPU", 1))
        actor = ray.remote(num_cpus=1, num_gpus=gpus, runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}})(_Actor)
        self.idle: list[Any] = [actor.remote(make) for _ in range(max(1, min(count or most, most)))]
        self.hire = lambda: actor.remote(make)
        self.waiting: deque[Task] = deque()
        self.busy: dict[Any, tuple[Any, Task]] = {}

    def submit(self, tasks: Sequence[Task]) -> None:
        """Put tasks in line."""
        self.waiting.extend(tasks)

    def outcomes(self) -> Iterator[Outcome]:
        """Hand out tasks and collect what comes back."""
        while True:
            self._hand_out()
            if not self.busy:
                return
            for done in self.ray.wait(list(self.busy), num_returns=1)[0]:
                yield self._collect(done)

    def close(self) -> None:
        """Let the actors go and leave the cluster."""
        self.ray.shutdown()

    def _hand_out(self) -> None:
        while self.idle and self.waiting:
            actor, task = self.idle.pop(0), self.waiting.popleft()
            self.busy[actor.work.remote(task.call, task.arguments)] = (actor, task)

    def _collect(self, done: Any) -> Outcome:
        actor, task = self.busy.pop(done)
        try:
            value, error, refused = self.ray.get(done)
        except self.ray.exceptions.RayError as failure:  # the actor died with its node or ran out of memory
            self.idle.append(self.hire())  # type: ignore[no-untyped-call]
            return Outcome(task.about, error=f"its worker died ({str(failure).splitlines()[0]})")
        self.idle.append(actor)
        return Outcome(task.about, value, error, refused)


class _Actor:
    """One warm worker on some node."""

    def __init__(self, make: MakeWorkshop) -> None:
        silence()
        self.make, self.workshop = make, None

    def work(self, call: Any, arguments: tuple[Any, ...]) -> tuple[Any, str | None, bool]:
        """Do one task; (value, error, refused)."""
        self.workshop = self.workshop or self.make()
        outcome = perform(Task(None, call, arguments), self.workshop)
        return outcome.value, outcome.error, outcome.refused
