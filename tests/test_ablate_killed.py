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
from tests.grids import printed, question_files

KILLS = 6


def command(folder: Path, out: Path, jobs: int) -> list[str]:
    data = [f"--data={path}" for path in question_files(folder)]
    return [
        sys.executable,
        "-m",
        "cotdistill",
        "ablate",
        "--strategies",
        "cot,scott",
        "--seeds",
        "0,1",
        "--limit",
        "8",
        "--steps",
        "6",
        "--batch-size",
        "4",
        "--device",
        "cpu",
        *data,
        "--jobs",
        str(jobs),
        "--out",
        str(out),
    ]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_six_random_moments_the_report_is_the_same(tmp_path: Path) -> None:
    """A process group is killed as a whole half of the time; otherwise its workers must notice by themselves."""
    draw = random.Random(7)
    began = time.perf_counter()
    subprocess.run(command(tmp_path, tmp_path / "whole", 2), check=True, capture_output=True)
    whole = printed(tmp_path / "whole")
    lasts = time.perf_counter() - began
    kills = 0
    for attempt in range(40):
        running = subprocess.Popen(
            command(tmp_path, tmp_path / "killed", 2),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            running.wait(draw.uniform(0.2, 0.9) * lasts if kills < KILLS else 300)
        except subprocess.TimeoutExpired:
            kills += 1
            if attempt % 2:
                os.killpg(running.pid, signal.SIGKILL)
            else:
                running.kill()
            running.wait()
            continue
        assert running.returncode == 0
        if kills >= KILLS:
            break
        # It came through before it was killed: what is finished would stay so. Begin again.
        for path in (tmp_path / "killed" / "cells").glob("*.json"):
            path.unlink()
    assert kills == KILLS
    found = printed(tmp_path / "killed")
    assert {name: found[name] == whole[name] for name in whole} == dict.fromkeys(whole, True)
    verify(tmp_path / "killed")
