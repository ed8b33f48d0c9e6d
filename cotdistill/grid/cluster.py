"""A Ray cluster as a crew: warm actors, each with its share of a GPU, doing the same tasks as local workers.

The grid's directory must lie where every node sees it under the same path.
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
from cotdistill.grid.workers import Crew, Heard, Here, MakeWorkshop, Outcome, Processes, Task, together, unheard

PATIENCE = 5.0  # seconds to wait for a connection


class Cluster:
    """`count` actors; None: as many as the cluster's GPUs (or, without any, CPUs) allow."""

    def __init__(self, make: MakeWorkshop, address: str, gpus_per_cell: float, count: int | None = None) -> None:
        self.ray = ray = _joined(address)
        self.heard: Heard = unheard
        whole = ray.cluster_resources()
        gpus = gpus_per_cell if whole.get("GPU", 0) > 0 else 0.0
        processes = together(gpus_per_cell)
        most = int(whole["GPU"] / gpus) if gpus else int(whole.get("CPU", 1)) // processes
        actor = ray.remote(num_cpus=processes, num_gpus=gpus,
                           runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}})(_Actor)
        self.idle: list[Any] = [actor.remote(make, processes) for _ in range(max(1, min(count or most, most)))]
        self.size = len(self.idle)
        self.hire = lambda: actor.remote(make, processes)
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
            self.busy[actor.work.remote(task.call, task.arguments, task.together)] = (actor, task)

    def _collect(self, done: Any) -> Outcome:
        actor, task = self.busy.pop(done)
        try:
            outcome: Outcome = self.ray.get(done)
        except self.ray.exceptions.RayError as failure:  # the actor died with its node or ran out of memory
            self.idle.append(self.hire())  # type: ignore[no-untyped-call]
            return Outcome(task.about, error=f"its worker died ({str(failure).splitlines()[0]})")
        self.idle.append(actor)
        return replace(outcome, about=task.about)


def _joined(address: str) -> Any:
    """Ray, its cluster joined. Raises `Unavailable`, at once where nobody listens, else within a minute or so."""
    # Read when ray is imported: it would try a server that is not Ray's for five minutes, logging all the while.
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
        raise Unavailable(f"--ray {address}: no cluster there ({' '.join(str(error).split())[:200]}); "
                          "start one with: ray start --head") from error
    return ray


def _check_listening(address: str, own: str) -> None:
    """Raises `OSError` where nobody listens at HOST:PORT or ray://HOST:PORT, `ValueError` for what is neither."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ValueError("it is auto, local, HOST:PORT or ray://HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()
    except OSError:
        if host not in ("127.0.0.1", "localhost"):
            raise
        socket.create_connection((own, int(port)), PATIENCE).close()  # Ray reads loopback as the machine's address


class _Actor:
    """One warm worker on some node: this process, or several that train together."""

    def __init__(self, make: MakeWorkshop, processes: int) -> None:
        silence()
        gpus = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        self.crew: Crew = Processes(make, 1, len(gpus), processes) if processes > 1 else Here(make)

    def work(self, call: Any, arguments: tuple[Any, ...], together: bool) -> Outcome:
        """Do one task."""
        self.crew.submit([Task(None, call, arguments, together)])
        (outcome,) = self.crew.outcomes()
        return outcome
