"""A run killed at a random moment and started again equals the uninterrupted one, bit for bit."""

from __future__ import annotations

import json
import multiprocessing
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from tests.training.run_training import STEPS, main

FINAL = Path("checkpoints") / f"step-{STEPS}"


FORKED = multiprocessing.get_context("forkserver")  # which imports torch once for all of them
FORKED.set_forkserver_preload(["tests.training.run_training"])


def start(folder: Path, optimizer: str) -> BaseProcess:
    process = FORKED.Process(target=main, args=(folder, optimizer))
    process.start()
    return process


def ended(process: BaseProcess) -> int | None:
    process.join()
    return process.exitcode


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor"])
def test_killed_and_resumed_equals_uninterrupted(optimizer: str, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    reference = start(whole, optimizer)
    moment = random.randrange(1, STEPS - 5)
    victim = start(broken, optimizer)
    while victim.is_alive():
        if (broken / "metrics.jsonl").exists() and (broken / "metrics.jsonl").read_text().count("\n") >= moment:
            victim.kill()
            break
        time.sleep(0.001)
    assert ended(victim) == -signal.SIGKILL, f"finished before step {moment}"
    assert not (broken / FINAL).exists()
    saved = max([0, *(int(p.name[5:]) for p in (broken / "checkpoints").glob("step-*"))])
    assert ended(start(broken, optimizer)) == 0
    assert ended(reference) == 0
    assert (broken / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    for name in ("model.safetensors", "optimizer.safetensors", "progress.json"):
        assert (broken / FINAL / name).read_bytes() == (whole / FINAL / name).read_bytes(), (moment, saved, name)


def test_only_the_last_checkpoints_are_kept_and_none_is_half_written(tmp_path: Path) -> None:
    assert ended(start(tmp_path, "adamw")) == 0
    folders = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert folders == [f"step-{STEPS - 1}", f"step-{STEPS}"]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    assert set(lines[0]) == {"step", "loss", "losses", "lr"}
    times = [json.loads(line) for line in (tmp_path / "timings.jsonl").read_text().splitlines()]
    assert times[-1]["learned_tokens"] > 0
