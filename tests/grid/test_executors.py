"""Crews: order, warm workshops, failures told apart, a dead worker costs one task, an orphan ends itself."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cotdistill.errors import DataError, UsageError
from cotdistill.grid.executors import Executor, InProcessExecutor, ProcessExecutor, Task, gpus_of


def add(state: list[int], value: int) -> tuple[int, int]:
    state.append(value)
    return os.getpid(), len(state)


def fail(state: list[int], kind: str) -> None:
    raise {"data": DataError("rows: bad"), "usage": UsageError("--x: no"), "bug": ValueError("boom")}[kind]


def die(state: list[int]) -> None:
    os._exit(9)


def wait_for(state: list[int], path: str) -> str:
    while not Path(path).exists():
        time.sleep(0.05)
    return path


@pytest.mark.parametrize(
    "make", [lambda: InProcessExecutor(list), lambda: ProcessExecutor(list, 1)], ids=["here", "process"]
)
def test_one_worker_keeps_its_state_and_its_order(make: object) -> None:
    executor: Executor = make()  # type: ignore[operator]
    executor.submit([Task(n, add, (n,)) for n in range(3)])
    found = list(executor.outcomes())
    executor.close()
    assert [outcome.about for outcome in found] == [0, 1, 2]
    assert [outcome.value[1] for outcome in found] == [1, 2, 3]
    assert len({outcome.value[0] for outcome in found}) == 1


@pytest.mark.parametrize(
    "make", [lambda: InProcessExecutor(list), lambda: ProcessExecutor(list, 2)], ids=["here", "processes"]
)
def test_failures_are_outcomes_and_the_others_go_on(make: object) -> None:
    executor: Executor = make()  # type: ignore[operator]
    executor.submit([Task(kind, fail, (kind,)) for kind in ("data", "usage", "bug")] + [Task("fine", add, (1,))])
    found = {outcome.about: outcome for outcome in executor.outcomes()}
    executor.close()
    assert found["data"].error == "rows: bad"
    assert not found["data"].refused
    assert found["usage"].refused
    assert found["bug"].error is not None
    assert found["bug"].error.startswith("ValueError: boom (test_executors.py:")
    assert found["fine"].error is None


def test_a_dead_worker_costs_one_task_and_is_replaced() -> None:
    executor = ProcessExecutor(list, 1)
    executor.submit([Task("before", add, (1,)), Task("dies", die), Task("after", add, (1,))])
    found = {outcome.about: outcome for outcome in executor.outcomes()}
    executor.close()
    assert found["dies"].error == "its worker died (exit code 9)"
    assert found["after"].value[1] == 1
    assert found["after"].value[0] != found["before"].value[0]


def test_tasks_may_be_submitted_while_outcomes_come(tmp_path: Path) -> None:
    executor = ProcessExecutor(list, 2)
    executor.submit([Task("first", add, (1,)), Task("waits", wait_for, (str(tmp_path / "go"),))])
    seen = []
    for outcome in executor.outcomes():
        seen.append(outcome.about)
        if outcome.about == "first":
            (tmp_path / "go").touch()
            executor.submit([Task("later", add, (1,))])
    executor.close()
    assert sorted(seen) == ["first", "later", "waits"]


def test_workers_end_when_their_main_process_is_killed(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path\n"
        "from cotdistill.grid.executors import ProcessExecutor, Task\n"
        "from tests.grid.test_executors import add, wait_for\n"
        "if __name__ == '__main__':\n"
        "    executor = ProcessExecutor(list, 1)\n"
        "    executor.submit([Task('pid', add, (1,)), Task('for ever', wait_for, ('/nowhere',))])\n"
        "    for outcome in executor.outcomes():\n"
        f"        Path({str(tmp_path / 'pid')!r}).write_text(str(outcome.value[0]))\n"
    )
    (tmp_path / "main.py").write_text(program)
    root = str(Path(__file__).parents[2])
    main = subprocess.Popen([sys.executable, str(tmp_path / "main.py")], env={**os.environ, "PYTHONPATH": root})
    until = time.monotonic() + 60
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < until
        time.sleep(0.1)
    worker = int((tmp_path / "pid").read_text())
    main.kill()
    main.wait()
    while _runs(worker):
        assert time.monotonic() < until, "the worker outlived its main process"
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("per_cell", "expected"),
    [(2, ["4,5", "6,7", "4,5"]), (4, ["4,5,6,7"]), (0.5, ["4", "4", "5", "5", "6"]), (1, ["4", "5", "6", "7", "4"])],
)
def test_workers_get_as_many_gpus_as_a_cell_takes(
    per_cell: float, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    assert [gpus_of(worker, 4, per_cell) for worker in range(len(expected))] == expected


def seen(state: list[int]) -> tuple[int, str | None]:
    return os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES")


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ("2,3", {"2", "3"}),
        (" 5 , 7", {"5", "7"}),
        (None, {"0", "1"}),
        ("", {"0", "1"}),
        ("GPU-4d7a,GPU-9c01", {"GPU-4d7a", "GPU-9c01"}),
        ("MIG-1/2/0,MIG-1/3/0", {"MIG-1/2/0", "MIG-1/3/0"}),
    ],
)
def test_workers_get_the_gpus_that_this_process_may_use(
    visible: str | None, expected: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert {gpus_of(worker, 2) for worker in range(4)} == expected


def test_a_worker_sees_its_own_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    executor = ProcessExecutor(list, 2, gpus=2)
    executor.submit([Task(n, seen) for n in range(2)])
    found = [outcome.value for outcome in executor.outcomes()]
    executor.close()
    assert {gpu for _, gpu in found} == {"2", "3"}
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2,3"


def _runs(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
