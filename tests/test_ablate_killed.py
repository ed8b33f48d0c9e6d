"""Killed at random moments and run again: the same report, byte for byte but for the line that says when."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cotdistill.verify import verify
from tests import warm
from tests.grids import printed, question_files

KILLS = 4


def command(folder: Path, out: Path, jobs: int) -> list[str]:
    grid = ["ablate", "--strategies", "cot,scott", "--seeds", "0,1", "--limit", "8", "--steps", "6"]
    data = [f"--data={path}" for path in question_files(folder)]
    return [*grid, "--batch-size", "4", "--device", "cpu", *data, "--jobs", str(jobs), "--out", str(out)]


def files(out: Path) -> int:
    """How much of a grid there is, by its files."""
    return sum(1 for _ in out.rglob("*"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_random_moments_the_report_is_the_same(tmp_path: Path) -> None:
    """A process is killed as a whole half of the time; otherwise its two workers must notice by themselves."""
    draw = random.Random(7)
    assert subprocess.run([*warm.command(), *command(tmp_path, tmp_path / "whole", 1)], check=False).returncode == 0
    whole, out = printed(tmp_path / "whole"), tmp_path / "killed"
    for kill in range(KILLS):
        # When so many files of all are there: each kill finds the grid further on than the one before.
        moment = files(tmp_path / "whole") * (kill + draw.random()) / KILLS
        running = subprocess.Popen(
            [sys.executable, "-m", "cotdistill", *command(tmp_path, out, 1 + kill % 2)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while files(out) < moment:
            assert running.poll() is None
            time.sleep(0.02)
        if kill % 2:
            running.kill()
        else:
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    assert subprocess.run([*warm.command(), *command(tmp_path, out, 1)], check=False).returncode == 0
    found = printed(out)
    assert {name: found[name] == whole[name] for name in whole} == dict.fromkeys(whole, True)
    verify(out)
