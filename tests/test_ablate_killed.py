"""Killed at random moments and run again: the same report, byte for byte but for the line that says when."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cotdistill.verify import verify
from tests import warm
from tests.grids import printed, question_files

# Processes at once, and what the signal reaches: all of them, or the first one alone, after which its workers must
# notice by themselves.
KILLS: list[tuple[int, Callable[[int, int], None]]]
KILLS = [(2, os.kill), (1, os.kill), (2, os.killpg), (1, os.killpg), (2, os.kill), (1, os.kill)]


def started(folder: Path, out: Path, jobs: int) -> warm.Started:
    options = "--strategies cot,scott --seeds 0,1 --limit 8 --steps 6 --batch-size 4 --eval-max-new-tokens 8"
    data = [f"--data={path}" for path in question_files(folder)]
    return warm.start("ablate", *options.split(), "--device=cpu", *data, f"--jobs={jobs}", f"--out={out}")


def cells(out: Path) -> list[Path]:
    return [*(out / "cells").glob("*.json")]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_six_random_moments_the_report_is_the_same(tmp_path: Path) -> None:
    """Each time up to three cells further, and a while later: in a start, a cell or the report."""
    draw, out = random.Random(7), tmp_path / "killed"
    began = time.perf_counter()
    assert started(tmp_path, tmp_path / "whole", 1).wait(300) == 0
    whole, count = printed(tmp_path / "whole"), len(cells(tmp_path / "whole"))
    pace = (time.perf_counter() - began) / count
    kills = list(KILLS)
    while kills:
        jobs, kill = kills[0]
        running, wanted = started(tmp_path, out, jobs), min(count, len(cells(out)) + draw.randint(0, 3))
        code = None
        while code is None and len(cells(out)) < wanted:
            code = running.wait(0.02)
        if code is None:
            code = running.wait(draw.uniform(0, 2) * pace)
        if code is None:
            kill(running.pid, signal.SIGKILL)
            assert running.wait(60) == -signal.SIGKILL
            kills.pop(0)
        else:
            assert code == 0
            shutil.rmtree(out)  # it came through before it was killed: begin again
    assert started(tmp_path, out, 1).wait(300) == 0
    found = printed(out)
    assert {name: found[name] == whole[name] for name in whole} == dict.fromkeys(whole, True)
    verify(out)
