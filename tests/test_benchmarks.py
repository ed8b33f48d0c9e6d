"""What the benchmarks stand on: arithmetic is counted, the absent is skipped, what waits for a GPU runs on a CPU."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.benchmarks import gpu, training_gpu, training_real
from tests.benchmarks.counting import multiplied
from tests.benchmarks.rounds import Paused, Variant

ROOT = Path(__file__).parents[1]
on_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="--tiny stands in for a GPU")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m tests.benchmarks.gpu`."""
    return subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.gpu", *arguments],
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=580,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def said(stderr: str) -> list[str]:
    """The line of every part."""
    return [line for line in stderr.splitlines() if line.split(":")[0] in PARTS]


PARTS = ("tests", "training-tiny", "contrastive", "greedy")


@on_cpu
@pytest.mark.slow
def test_every_part_runs_on_the_cpu_and_what_is_done_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = command(str(tmp_path / "out"), "--tiny")
    assert said(done.stderr) == [f"{name}: done" for name in PARTS], done.stderr
    tables = {name: next((tmp_path / "out").glob(f"{name}-20*.md")).read_text() for name in PARTS}
    assert "skipped" in tables["tests"]
    for name, peer in (("training-tiny", "HF Trainer"), ("contrastive", "published loop"), ("greedy", "generate()")):
        assert f"| {peer}" in tables[name]
    for name in ("contrastive", "greedy"):  # in float32 our decoder says what the peer says
        equal, asked = tables[name].rsplit(": ", 1)[1].split(" of ")
        assert int(equal) == int(asked) > 0
    monkeypatch.setattr(sys, "argv", ["gpu", str(tmp_path / "out"), "--tiny"])
    ending = signal.getsignal(signal.SIGTERM)
    try:
        assert gpu.main() == 0
    finally:
        signal.signal(signal.SIGTERM, ending)
    assert said(capsys.readouterr().err) == [f"{name}: done before" for name in PARTS]


def test_a_part_that_fails_or_takes_too_long_leaves_no_table_and_says_why(tmp_path: Path) -> None:
    raising = gpu.Part("raising", (sys.executable, "-c", "print('| a table'); raise SystemExit(3)"), 60)
    silent = gpu.Part("silent", (sys.executable, "-c", "raise SystemExit(1)"), 60, exits=(0, 1))
    endless = gpu.Part("endless", ("bash", "-c", "sleep 300 & sleep 300"), 60)
    found = [gpu.run(part, tmp_path, 1) for part in (raising, silent, endless)]
    assert found == ["exit code 3", "exit code 1", "stopped after 1 s"]
    assert not [*tmp_path.glob("*.md")]
    missed = gpu.Part("missed", (sys.executable, "-c", "print('| -- |'); raise SystemExit(1)"), 60, exits=(0, 1))
    assert gpu.run(missed, tmp_path, 60) is None
    assert gpu.done(tmp_path, missed)
    assert not gpu.done(tmp_path, gpu.Part("miss", (), 60))


def test_a_peer_that_dies_costs_its_own_row_only(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[list[str]] = []

    def interleaved(module: str, variants: list[Variant], rounds: int) -> tuple[list[list[float]], dict[str, float]]:
        tried.append([variant.name for variant in variants])
        if "large" in tried[-1]:
            raise RuntimeError("large died: CUDA out of memory")
        return [[2.0] if variant.name == "ours" else [1.0] for variant in variants], {}

    monkeypatch.setattr(training_gpu, "interleaved", interleaved)
    listed = [Variant(name, lambda: lambda steps: None, 1) for name in ("ours", "small", "large", "middling")]
    rows, failed = training_gpu.measured(listed, 2, 1)
    assert tried == [["ours", "small", "large"], ["ours", "middling"], ["ours", "small"], ["ours", "large"]]
    assert [(row.name, row.ratio) for row in rows] == [("ours", 1.0), ("middling", 2.0), ("small", 2.0)]
    assert failed == ["large"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu", str(tmp_path / "out")])
    assert gpu.main() == 0
    assert not (tmp_path / "out").exists()


def test_what_a_step_multiplies_is_counted_in_a_trainers_own_thread_too() -> None:
    weight = torch.randn(8, 16, requires_grad=True)
    gradient = torch.zeros(8, 16)

    def advance(steps: int) -> None:
        for _ in range(steps):
            (torch.randn(4, 8) @ weight).relu().sum().backward()  # forward, and backward to the weight
            gradient.addmm_(torch.randn(8, 4), torch.randn(4, 16))

    def run(step_done: Callable[[], None]) -> None:
        while True:
            advance(1)
            step_done()

    trainer = Paused(run)
    trainer(1)
    assert multiplied(advance) == multiplied(trainer) == 3 * 2 * 4 * 8 * 16 / 1e9
    trainer(1)  # goes on without being counted


def test_without_the_real_model_nothing_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COTDISTILL_SMOLLM2", str(tmp_path / "absent"))
    monkeypatch.setattr(sys, "argv", ["training_real"])
    assert training_real.main()
    assert "nothing measured" in capsys.readouterr().err
