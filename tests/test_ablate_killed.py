"""Killed at random moments and run again: the same report, byte for byte but for the line that says when."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from cotdistill.verify import verify
from tests import warm
from tests.grids import printed, question_files

KILLS, WITH_WORKERS = 6, 2


def command(folder: Path, out: Path, jobs: int) -> list[str]:
    small = ["--limit", "4", "--steps", "4", "--batch-size", "2", "--eval-max-new-tokens", "12", "--device", "cpu"]
    data = [f"--data={path}" for path in question_files(folder, 2)]
    grid = ["ablate", "--strategies", "cot,scott", "--seeds", "0,1", "--no-controls"]
    return [*grid, *small, *data, "--jobs", str(jobs), "--out", str(out)]


def files(out: Path) -> int:
    """How many files a grid has written."""
    return sum(len(names) for _, _, names in os.walk(out))


@pytest.mark.slow
def test_killed_at_six_random_moments_the_report_is_the_same(tmp_path: Path) -> None:
    """A moment is a number of files. The first two have workers: one dies as a group; the other's workers must notice
    by themselves."""
    assert warm.Begun(*command(tmp_path, tmp_path / "whole", 1)).wait() == 0
    whole, draw = printed(tmp_path / "whole"), random.Random(7)
    for kill, moment in enumerate(sorted(draw.sample(range(1, files(tmp_path / "whole") * 3 // 4), KILLS))):
        running = warm.Begun(*command(tmp_path, tmp_path / "killed", 2 if kill < WITH_WORKERS else 1))
        while files(tmp_path / "killed") < moment:
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.2))
        (os.kill if kill else os.killpg)(running.pid, signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL
    assert warm.Begun(*command(tmp_path, tmp_path / "killed", 1)).wait() == 0
    found = printed(tmp_path / "killed")
    assert {name: found[name] == whole[name] for name in whole} == dict.fromkeys(whole, True)
    verify(tmp_path / "killed")
