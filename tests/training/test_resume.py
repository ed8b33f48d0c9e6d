"""A run killed at a random moment and started again equals the uninterrupted one, bit for bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.training.run_training import STEPS

FINAL = Path("checkpoints") / f"step-{STEPS}"


def start(folder: Path, optimizer: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.training.run_training", str(folder), optimizer]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_killed_and_resumed_equals_uninterrupted(optimizer: str, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    reference = start(whole, optimizer)
    moment = random.randrange(1, STEPS - 5)
    victim = start(broken, optimizer)
    while victim.poll() is None:
        if (broken / "metrics.jsonl").exists() and (broken / "metrics.jsonl").read_text().count("\n") >= moment:
            victim.send_signal(signal.SIGKILL)
            break
        time.sleep(0.001)
    assert victim.wait() == -signal.SIGKILL, f"finished before step {moment}"
    assert not (broken / FINAL).exists()
    saved = max([0, *(int(p.name[5:]) for p in (broken / "checkpoints").glob("step-*"))])
    assert start(broken, optimizer).wait() == 0
    assert reference.wait() == 0
    assert (broken / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    for name in ("model.safetensors", "optimizer.safetensors", "progress.json"):
        assert (broken / FINAL / name).read_bytes() == (whole / FINAL / name).read_bytes(), (moment, saved, name)


def test_only_the_last_checkpoints_are_kept_and_none_is_half_written(tmp_path: Path) -> None:
    assert start(tmp_path, "adamw").wait() == 0
    folders = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert folders == [f"step-{STEPS - 1}", f"step-{STEPS}"]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    assert set(lines[0]) == {"step", "loss", "losses", "lr"}
    times = [json.loads(line) for line in (tmp_path / "timings.jsonl").read_text().splitlines()]
    assert times[-1]["learned_tokens"] > 0
