"""The same grid on a real local Ray."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from cotdistill.errors import Unavailable
from cotdistill.grid.executors import Task
from tests.grid.test_together import rank_of
from tests.grids import run

ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'cotdistill[ray]'")


def sets(out: Path) -> dict[str, object]:
    return {cell["cell"]: cell["sets"] for cell in map(json.loads, (out / "cells.jsonl").read_text().splitlines())}


@pytest.mark.slow
def test_a_grid_on_ray_gives_what_one_process_gives(tmp_path: Path) -> None:
    given = {"strategies": ("cot",), "controls": False}
    run(tmp_path, **given)
    records = run(tmp_path, **given, ray="local", jobs=2, out=tmp_path / "ray")
    assert not any("error" in record for record in records)
    assert sets(tmp_path / "ray") == sets(tmp_path / "grid")


def dies(state: object) -> None:
    import os

    os._exit(3)


def says(state: list[int], value: int) -> int:
    state.append(value)
    return len(state)


@pytest.mark.slow
def test_an_actor_may_be_several_processes() -> None:
    from cotdistill.grid.ray_executor import RayExecutor

    executor = RayExecutor(list, "local", 2.0, 1)
    try:
        executor.submit([Task("sum", rank_of, (10,), together=True), Task("alone", says, (1,))])
        found = {outcome.about: outcome for outcome in executor.outcomes()}
    finally:
        executor.close()
    assert found["sum"].value == (21, 0)
    assert found["alone"].value == 1


@pytest.mark.slow
def test_a_dead_actor_costs_one_task() -> None:
    from cotdistill.grid.ray_executor import RayExecutor

    executor = RayExecutor(list, "local", 1.0, 1)
    try:
        executor.submit([Task("a", says, (1,)), Task("b", dies), Task("c", says, (2,))])
        found = {outcome.about: outcome for outcome in executor.outcomes()}
    finally:
        executor.close()
    assert found["a"].value == 1
    assert "died" in str(found["b"].error)
    assert found["c"].value == 1  # a new actor, a new workshop


@pytest.mark.parametrize(
    "address",
    [
        "auto",
        "127.0.0.1:1",
        "ray://127.0.0.1:1",
        "localhost:1",
        "nonsense",
        "x:y",
        "nowhere.invalid:6379",
        "127.0.0.1:99999",
        "http://x",
        "",
    ],
)
def test_no_cluster_is_said_at_once(address: str) -> None:
    from cotdistill.grid.ray_executor import RayExecutor

    begun = time.monotonic()
    with pytest.raises(Unavailable, match=f"--ray {re.escape(address)}: no cluster found .*; start one with: ray"):
        RayExecutor(list, address, 1.0, 1)  # auto finds none: the tests above shut theirs down
    assert time.monotonic() - begun < 30
