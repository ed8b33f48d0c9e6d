"""Crews: order, warm workshops, failures told apart, a dead worker costs one task, an orphan ends itself."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cotdistill.errors import DataError, UsageError
from cotdistill.grid.workers import Crew, Here, Processes, Task, gpus_of


def add(workshop: list[int], value: int) -> tuple[int, int]:
    workshop.append(value)
    return os.getpid(), len(workshop)


def fail(workshop: list[int], kind: str) -> None:
    raise {"data": DataError("rows: bad"), "usage": UsageError("--x: no"), "bug": ValueError("boom")}[kind]


def die(workshop: list[int]) -> None:
    os._exit(9)


def wait_for(workshop: list[int], path: str) -> str:
    while not Path(path).exists():
        time.sleep(0.05)
    return path


@pytest.mark.parametrize("make", [lambda: Here(list), lambda: Processes(list, 1)], ids=["here", "process"])
def test_one_worker_keeps_its_workshop_and_its_order(make: object) -> None:
    crew: Crew = make()  # type: ignore[operator]
    crew.submit([Task(n, add, (n,)) for n in range(3)])
    found = list(crew.outcomes())
    crew.close()
    assert [outcome.about for outcome in found] == [0, 1, 2]
    assert [outcome.value[1] for outcome in found] == [1, 2, 3]
    assert len({outcome.value[0] for outcome in found}) == 1


@pytest.mark.parametrize("make", [lambda: Here(list), lambda: Processes(list, 2)], ids=["here", "processes"])
def test_failures_are_outcomes_and_the_others_go_on(make: object) -> None:
    crew: Crew = make()  # type: ignore[operator]
    crew.submit([Task(kind, fail, (kind,)) for kind in ("data", "usage", "bug")] + [Task("fine", add, (1,))])
    found = {outcome.about: outcome for outcome in crew.outcomes()}
    crew.close()
    assert found["data"].error == "rows: bad"
    assert not found["data"].refused
    assert found["usage"].refused
    assert found["bug"].error is not None
    assert found["bug"].error.startswith("ValueError: boom (test_workers.py:")
    assert found["fine"].error is None


def test_a_dead_worker_costs_one_task_and_is_replaced() -> None:
    crew = Processes(list, 1)
    crew.submit([Task("before", add, (1,)), Task("dies", die), Task("after", add, (1,))])
    found = {outcome.about: outcome for outcome in crew.outcomes()}
    crew.close()
    assert found["dies"].error == "its worker died (exit code 9)"
    assert found["after"].value[1] == 1
    assert found["after"].value[0] != found["before"].value[0]


def test_tasks_may_be_submitted_while_outcomes_come(tmp_path: Path) -> None:
    crew = Processes(list, 2)
    crew.submit([Task("first", add, (1,)), Task("waits", wait_for, (str(tmp_path / "go"),))])
    seen = []
    for outcome in crew.outcomes():
        seen.append(outcome.about)
        if outcome.about == "first":
            (tmp_path / "go").touch()
            crew.submit([Task("later", add, (1,))])
    crew.close()
    assert sorted(seen) == ["first", "later", "waits"]


def test_workers_end_when_their_main_process_is_killed(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path\n"
        "from cotdistill.grid.workers import Processes, Task\n"
        "from tests.grid.test_workers import add, wait_for\n"
        "if __name__ == '__main__':\n"
        "    crew = Processes(list, 1)\n"
        "    crew.submit([Task('pid', add, (1,)), Task('for ever', wait_for, ('/nowhere',))])\n"
        "    for outcome in crew.outcomes():\n"
        f"        Path({str(tmp_path / 'pid')!r}).write_text(str(outcome.value[0]))\n")
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


@pytest.mark.parametrize(("per_cell", "expected"), [
    (2, ["4,5", "6,7", "4,5"]), (4, ["4,5,6,7"]), (0.5, ["4", "4", "5", "5", "6"]), (1, ["4", "5", "6", "7", "4"])])
def test_workers_get_as_many_gpus_as_a_cell_takes(
        per_cell: float, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    assert [gpus_of(worker, 4, per_cell) for worker in range(len(expected))] == expected


def seen(workshop: list[int]) -> tuple[int, str | None]:
    return os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES")


@pytest.mark.parametrize(("visible", "expected"), [
    ("2,3", {"2", "3"}), (" 5 , 7", {"5", "7"}), (None, {"0", "1"}), ("", {"0", "1"}),
    ("GPU-4d7a,GPU-9c01", {"GPU-4d7a", "GPU-9c01"}),
    ("MIG-1/2/0,MIG-1/3/0", {"MIG-1/2/0", "MIG-1/3/0"}),
])
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
    crew = Processes(list, 2, gpus=2)
    crew.submit([Task(n, seen) for n in range(2)])
    found = [outcome.value for outcome in crew.outcomes()]
    crew.close()
    assert {gpu for _, gpu in found} == {"2", "3"}
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "2,3"


def _runs(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
