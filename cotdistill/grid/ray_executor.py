"""Tasks on a Ray cluster: warm actors, each with its part of a GPU, doing the same tasks as local workers.

Every node must see the grid's directory under the same path.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from cotdistill.console import silence
from cotdistill.errors import Unavailable, missing_extra
from cotdistill.grid.executors import (
    Executor,
    InProcessExecutor,
    MakeState,
    OnProgress,
    Outcome,
    ProcessExecutor,
    Task,
    ignore_progress,
    together,
)

CONNECT_TIMEOUT = 5.0  # seconds to wait for a connection


class RayExecutor:
    """`count` actors; None: as many as the cluster's GPUs (or its CPUs, where there are no GPUs) allow."""

    def __init__(self, make: MakeState, address: str, gpus_per_cell: float, count: int | None = None) -> None:
        self.ray = ray = _join_cluster(address)
        self.on_progress: OnProgress = ignore_progress
        whole = ray.cluster_resources()
        gpus = gpus_per_cell if whole.get("GPU", 0) > 0 else 0.0
        processes = together(gpus_per_cell)
        most = int(whole["GPU"] / gpus) if gpus else int(whole.get("CPU", 1)) // processes
        actor = ray.remote(num_cpus=processes, num_gpus=gpus, runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}})(
            _Actor
        )
        self.idle: list[Any] = [actor.remote(make, processes) for _ in range(max(1, min(count or most, most)))]
        self.size = len(self.idle)
        self.spawn = lambda: actor.remote(make, processes)
        self.waiting: deque[Task] = deque()
        self.busy: dict[Any, tuple[Any, Task]] = {}

    def submit(self, tasks: Sequence[Task]) -> None:
        """Queue tasks."""
        self.waiting.extend(tasks)

    def outcomes(self) -> Iterator[Outcome]:
        """Hand out tasks and collect their outcomes."""
        while True:
            self._hand_out()
            if not self.busy:
                return
            for done in self.ray.wait(list(self.busy), num_returns=1)[0]:
                yield self._collect(done)

    def close(self) -> None:
        """End the actors and leave the cluster."""
        self.ray.shutdown()

    def _hand_out(self) -> None:
        while self.idle and self.waiting:
            actor, task = self.idle.pop(0), self.waiting.popleft()
            self.busy[actor.work.remote(task.call, task.arguments, task.together)] = (actor, task)

    def _collect(self, done: Any) -> Outcome:
        actor, task = self.busy.pop(done)
        try:
            outcome: Outcome = self.ray.get(done)
        except self.ray.exceptions.RayError as failure:  # the actor died with its node or ran out of memory
            self.idle.append(self.spawn())  # type: ignore[no-untyped-call]
            return Outcome(task.about, error=f"its worker died ({str(failure).splitlines()[0]})")
        self.idle.append(actor)
        return replace(outcome, about=task.about)


def _join_cluster(address: str) -> Any:
    """Ray, joined to its cluster. Raises `Unavailable`: at once where nothing listens, else within a minute."""
    # Read when ray is imported: without them it retries a server that is not Ray's for five minutes, and logs it all.
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
    except ImportError:
        raise missing_extra("ray", "--ray") from None
    try:
        if address not in ("auto", "local"):
            _check_listening(address, ray.util.get_node_ip_address())
        ray.init(address=address, ignore_reinit_error=True, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # of sockets, of gRPC and of Ray's own
        raise Unavailable(
            f"--ray {address}: no cluster found ({' '.join(str(error).split())[:200]}); "
            "start one with: ray start --head"
        ) from error
    return ray


def _check_listening(address: str, own: str) -> None:
    """Raises `OSError` where nothing listens at HOST:PORT or ray://HOST:PORT, `ValueError` for any other text."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ValueError("must be auto, local, HOST:PORT or ray://HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT).close()
    except OSError:
        if host not in ("127.0.0.1", "localhost"):
            raise
        socket.create_connection(
            (own, int(port)), CONNECT_TIMEOUT
        ).close()  # Ray reads loopback as the machine's address


class _Actor:
    """One warm worker on some node: this process, or several that train together."""

    def __init__(self, make: MakeState, processes: int) -> None:
        silence()
        gpus = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        self.executor: Executor = (
            ProcessExecutor(make, 1, len(gpus), processes) if processes > 1 else InProcessExecutor(make)
        )

    def work(self, call: Any, arguments: tuple[Any, ...], together: bool) -> Outcome:
        """Do one task."""
        self.executor.submit([Task(None, call, arguments, together)])
        (outcome,) = self.executor.outcomes()
        return outcome
