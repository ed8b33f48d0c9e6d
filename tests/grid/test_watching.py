"""What a grid shows while it works: a line for each finished task; on a terminal, bars."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path
from typing import Any

import pytest

from cotdistill import console
from cotdistill.grid.executors import InProcessExecutor, ProcessExecutor, Task, TaskProgress
from cotdistill.grid.watching import WatchedExecutor
from tests.grids import run


def work(state: list[Any], steps: int) -> int:
    with console.progress("training", steps) as advance:
        for _ in range(steps):
            time.sleep(0.3)
            advance(1, "")
    return steps


def fail(state: list[Any]) -> None:
    raise RuntimeError("no")


def test_every_stage_of_a_grid_says_what_is_under_way_and_what_is_done(tmp_path: Path) -> None:
    with console.console.capture() as said:
        run(tmp_path, strategies=("cot",), seeds=(0, 1), controls=False)
    lines = said.get().splitlines()
    seconds = r"\d+(\.\d)? s"
    for wanted in (
        r"running: rows/greedy, teacher, untrained student",
        rf"rows/greedy: {seconds} \(1 of 3, about .*",
        rf"untrained student: {seconds} \(3 of 3\)",
        r"running: cot/seed-0, cot/seed-1",
        rf"cot/seed-0: {seconds} \(1 of 2, about {seconds} left\)",
        rf"cot/seed-1: {seconds} \(2 of 2\)",
    ):
        assert any(re.fullmatch(wanted, line) for line in lines), wanted


def test_a_failed_task_is_counted_and_the_next_stage_counts_anew() -> None:
    executor = WatchedExecutor(InProcessExecutor(list))
    with console.console.capture() as said:
        for stage in ("a", "b"):
            executor.submit([Task(stage, fail)])
            assert [outcome.error is None for outcome in executor.outcomes()] == [False]
    assert re.findall(r"(\w): failed after .* \((.*)\)", said.get()) == [("a", "1 of 1"), ("b", "1 of 1")]


def test_workers_say_how_far_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = ProcessExecutor(list, 1)
    on_progress: list[TaskProgress] = []
    executor.on_progress = lambda worker, task, step: on_progress.append(step)
    try:
        executor.submit([Task("one", work, (3,))])
        assert [outcome.value for outcome in executor.outcomes()] == [3]
    finally:
        executor.close()
    assert on_progress
    assert on_progress[0] == TaskProgress("training", 2, 3)


def test_on_a_terminal_there_are_bars_over_the_tasks_and_of_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    terminal = console.PlainConsole(file=shown, force_terminal=True, width=160, theme=console.STYLES)
    monkeypatch.setattr(console, "console", terminal)
    executor = WatchedExecutor(InProcessExecutor(list))
    executor.submit([Task("one", work, (2,)), Task("two", work, (1,))])
    for _ in executor.outcomes():
        executor.show_progress(0, Task("three", work), TaskProgress("training", 1, 4))
        time.sleep(0.3)
    text = shown.getvalue()
    assert re.search(r"tasks.*1/2", text)
    assert re.search(r"worker 1.*1/4.*three: training", text)
    assert re.search(r"training.*1/2", text)
    assert "one: " not in text


@pytest.mark.parametrize(("seconds", "text"), [(0.25, "0.2 s"), (42.0, "42 s"), (300.0, "5 min"), (9000.0, "2.5 h")])
def test_durations_are_short(seconds: float, text: str) -> None:
    assert console.duration(seconds) == text
