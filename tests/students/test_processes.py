"""Two processes give the loss curve of one, and the run card says two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models import items, student


def distill(launcher: list[str], folder: Path, out: Path, *options: str,
            said: list[str] | None = None) -> list[dict[str, float]]:
    command = [
        sys.executable,
        *launcher,
        "-m",
        "cotdistill",
        "distill",
        str(folder / "rows.jsonl"),
        "--strategy",
        "cascod",
        "--student",
        str(folder / "base"),
        "--steps",
        "6",
        "--batch-size",
        "5",
        "--lr",
        "1e-3",
        "--device",
        "cpu",
        "--out",
        str(out),
        *options,
    ]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    if said is not None:
        said.append(done.stderr)
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["run"] for record in printed] == [str(out)]  # rank 0 alone speaks
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gpt2", "t5"])
def test_two_processes_give_the_loss_curve_of_one(family: str, tmp_path: Path) -> None:
    student(family).save(tmp_path / "base")
    (tmp_path / "rows.jsonl").write_text("".join(row.line() + "\n" for row in items(8)))
    one = distill([], tmp_path, tmp_path / "one")
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    two = distill(torchrun, tmp_path, tmp_path / "two")
    card = json.loads((tmp_path / "two" / "run.json").read_text())
    assert card["trained"]["processes"] == 2
    assert json.loads((tmp_path / "one" / "run.json").read_text())["trained"]["processes"] == 1
    assert [line["loss"] for line in two] == pytest.approx([line["loss"] for line in one], abs=1e-5)


@pytest.mark.slow
def test_two_processes_say_that_dropout_gives_a_curve_of_their_own(tmp_path: Path) -> None:
    student("llama", attention_dropout=0.1).save(tmp_path / "base")
    (tmp_path / "rows.jsonl").write_text("".join(row.line() + "\n" for row in items(8)))
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    said: list[str] = []
    distill(torchrun, tmp_path, tmp_path / "two", said=said)
    assert said[0].count("warning: dropout draws differ by process") == 1
    distill([], tmp_path, tmp_path / "one", said=said)
    assert "dropout" not in said[1]


@pytest.mark.slow
def test_two_processes_choose_the_weights_of_one_by_dev_accuracy(tmp_path: Path) -> None:
    student("gpt2").save(tmp_path / "base")
    (tmp_path / "rows.jsonl").write_text("".join(row.line() + "\n" for row in items(8)))
    questions = [row.model_dump(include={"id", "question", "choices", "answer"}) for row in items(8)]
    (tmp_path / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    dev = ("--dev", str(tmp_path / "dev.jsonl"), "--dev-every", "3")
    one = distill([], tmp_path, tmp_path / "one", *dev)
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    two = distill(torchrun, tmp_path, tmp_path / "two", *dev)
    evaluated = [line for line in one if "dev_accuracy" in line]
    assert [line["step"] for line in evaluated] == [3, 6]
    assert [line for line in two if "dev_accuracy" in line] == evaluated
    cards = [json.loads((tmp_path / run / "run.json").read_text())["trained"] for run in ("one", "two")]
    assert cards[1]["best_step"] == cards[0]["best_step"]
