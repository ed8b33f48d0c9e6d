"""Two processes give the loss curve of one, and the run card says two."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cotdistill.data.distributions import Distributions, beside, recorded_key, save, vocabulary_digest
from cotdistill.decoding.decode import Prompt
from cotdistill.teachers.scoring import score
from tests import in_process, warm
from tests.models import items, student

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", "-m", "cotdistill")


def distill(folder: Path, out: Path, *options: str, said: list[str] | None = None) -> list[dict[str, float]]:
    """In two processes, as torchrun starts them."""
    done = warm.together(*arguments(folder, out), *options)
    if said is not None:
        said.append(done.stderr)
    return told(done, out)


def told(done: subprocess.CompletedProcess[str], out: Path) -> list[dict[str, float]]:
    assert done.returncode == 0, done.stderr[-3000:]
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["run"] for record in printed] == [str(out)]  # rank 0 alone speaks
    return metrics(out)


def run_here(folder: Path, out: Path, *options: str) -> list[dict[str, float]]:
    done = in_process.run(*arguments(folder, out), *options)
    assert done.code == 0, done.err
    return metrics(out)


def metrics(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def arguments(folder: Path, out: Path) -> list[str]:
    return [
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
    ]


@pytest.mark.slow
def test_two_processes_give_the_loss_curve_of_one(tmp_path: Path) -> None:
    """Under torchrun itself, an encoder-decoder; of a decoder the next but one test compares the losses, too."""
    student("t5").save(tmp_path / "base")
    (tmp_path / "rows.jsonl").write_text("".join(row.line() + "\n" for row in items(8)))
    one = run_here(tmp_path, tmp_path / "one")
    command = [*TORCHRUN, *arguments(tmp_path, tmp_path / "two")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    two = told(done, tmp_path / "two")
    card = json.loads((tmp_path / "two" / "run.json").read_text())
    assert card["trained"]["processes"] == 2
    assert json.loads((tmp_path / "one" / "run.json").read_text())["trained"]["processes"] == 1
    assert [line["loss"] for line in two] == pytest.approx([line["loss"] for line in one], abs=1e-5)


@pytest.mark.slow
def test_two_processes_learn_a_teachers_distributions_as_one_does(tmp_path: Path) -> None:
    model, rows, recorded = student("gpt2"), items(8), {}
    model.save(tmp_path / "base")
    (tmp_path / "rows.jsonl").write_text("".join(row.line() + "\n" for row in rows))
    for row in rows:
        for one in row.rationales:
            told = score(model, Prompt(list(model.tokens.first(row.question))), one.text, 3)
            recorded[recorded_key(row.id, one.kind, one.text)] = told
    vocabulary = vocabulary_digest(model.tokenizer.get_vocab())
    save(beside(tmp_path / "rows.jsonl"), Distributions.of(recorded, vocabulary, 3))
    plain = run_here(tmp_path, tmp_path / "plain")
    one = run_here(tmp_path, tmp_path / "one", "--kd", "kl")
    two = distill(tmp_path, tmp_path / "two", "--kd", "kl")
    assert [line["loss"] for line in two] == pytest.approx([line["loss"] for line in one], abs=1e-5)
    assert one[0]["loss"] > plain[0]["loss"]


@pytest.mark.slow
def test_two_processes_say_that_dropout_gives_a_curve_of_their_own(tmp_path: Path) -> None:
    student("llama", attention_dropout=0.1).save(tmp_path / "base")
    (tmp_path / "rows.jsonl").write_text("".join(row.line() + "\n" for row in items(8)))
    said: list[str] = []
    distill(tmp_path, tmp_path / "two", said=said)
    assert said[0].count("warning: dropout is drawn per process") == 1
    assert "dropout" not in in_process.run(*arguments(tmp_path, tmp_path / "one")).err


@pytest.mark.slow
def test_two_processes_choose_the_weights_of_one_by_dev_accuracy(tmp_path: Path) -> None:
    student("gpt2").save(tmp_path / "base")
    (tmp_path / "rows.jsonl").write_text("".join(row.line() + "\n" for row in items(8)))
    questions = [row.model_dump(include={"id", "question", "choices", "answer"}) for row in items(8)]
    (tmp_path / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    dev = ("--dev", str(tmp_path / "dev.jsonl"), "--dev-every", "3")
    one = run_here(tmp_path, tmp_path / "one", *dev)
    two = distill(tmp_path, tmp_path / "two", *dev)
    assert losses(two) == pytest.approx(losses(one), abs=1e-5)
    evaluated = [line for line in one if "dev_accuracy" in line]
    assert [line["step"] for line in evaluated] == [3, 6]
    assert [line for line in two if "dev_accuracy" in line] == evaluated
    cards = [json.loads((tmp_path / run / "run.json").read_text())["trained"] for run in ("one", "two")]
    assert cards[1]["best_step"] == cards[0]["best_step"]


@pytest.mark.slow
def test_shared_out_weights_give_the_run_of_one_process_and_go_on_after_a_kill(tmp_path: Path) -> None:
    """FSDP on two processes, with checkpoints and dev evaluations; a checkpoint may be gone on with by one process."""
    student("gpt2").save(tmp_path / "base")
    (tmp_path / "rows.jsonl").write_text("".join(row.line() + "\n" for row in items(8)))
    (tmp_path / "dev.jsonl").write_text("".join(row.example().line() + "\n" for row in items(1)))
    options = (
        "--dev",
        str(tmp_path / "dev.jsonl"),
        "--dev-every",
        "3",
        "--checkpoint-every",
        "2",
        "--keep-checkpoints",
        "9",
        "--parallel",
        "fsdp",
    )
    two = distill(tmp_path, tmp_path / "two", *options)
    goes_on(tmp_path / "two", tmp_path / "again", 4)
    assert distill(tmp_path, tmp_path / "again", *options) == two
    assert weights(tmp_path / "again") == weights(tmp_path / "two")
    one = run_here(tmp_path, tmp_path / "one", *options)
    goes_on(tmp_path / "two", tmp_path / "alone", 4)
    alone = run_here(tmp_path, tmp_path / "alone", *options)
    for other in (one, alone):
        assert losses(other) == pytest.approx(losses(two), abs=1e-5)
        assert [line for line in other if "dev_accuracy" in line] == [line for line in two if "dev_accuracy" in line]
    found = [load_file(tmp_path / run / "student" / "model.safetensors") for run in ("one", "two", "alone")]
    for name, value in found[0].items():
        for other in found[1:]:
            torch.testing.assert_close(other[name], value, atol=1e-4, rtol=0)


def losses(lines: list[dict[str, float]]) -> list[float]:
    return [line["loss"] for line in lines if "loss" in line]


def goes_on(run: Path, into: Path, step: int) -> None:
    """What a run that was killed after `step` steps would have left."""
    shutil.copytree(run / "checkpoints" / f"step-{step}", into / "checkpoints" / f"step-{step}")
    shutil.copytree(run / "checkpoints" / "best", into / "checkpoints" / "best")
    shutil.copy(run / "metrics.jsonl", into / "metrics.jsonl")


def weights(run: Path) -> bytes:
    return (run / "student" / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--optimizer", "adafactor"), "adafactor's state cannot be sharded; use --optimizer adamw, or --parallel ddp"),
        (("--dtype", "float16"), "float16 needs a loss scale that all processes share; use --dtype bfloat16"),
        (
            ("--lora", "r=4,alpha=4", "--quantize", "4bit"),
            "quantized weights cannot be sharded; omit --quantize, or use --parallel ddp",
        ),
        (("--recipe", "scott"), "adafactor's state cannot be sharded; use --optimizer adamw, or --parallel ddp"),
    ],
)
@pytest.mark.parametrize("command", ["distill", "ablate"])
def test_what_cannot_be_shared_out_is_refused_before_anything_is_loaded(
    command: str, options: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(row.line() + "\n" for row in items(8)))
    done = in_process.run(
        command,
        str(tmp_path / "rows.jsonl"),
        "--parallel",
        "fsdp",
        *options,
        "--out",
        str(tmp_path / "out"),
        *(["--data", "demo"] if command == "ablate" else []),
    )
    assert (done.code, done.errors) == (2, [f"error: --parallel fsdp: {said}"])
    assert not (tmp_path / "out").exists()


def test_a_grid_of_single_processes_shares_nothing_out(tmp_path: Path) -> None:
    done = in_process.run("ablate", "--strategies", "cot", "--parallel", "fsdp", "--out", str(tmp_path / "out"))
    assert (done.code, done.errors) == (
        2,
        ["error: --parallel fsdp changes nothing without --gpus-per-cell of at least 2"],
    )


def test_accelerates_own_fsdp_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    student("gpt2", width=16, layers=1).save(tmp_path / "base")
    (tmp_path / "rows.jsonl").write_text("".join(row.line() + "\n" for row in items(8)))
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    done = in_process.run(
        "distill",
        str(tmp_path / "rows.jsonl"),
        "--student",
        str(tmp_path / "base"),
        "--steps",
        "1",
        "--out",
        str(tmp_path / "out"),
    )
    assert done.code == 2
    assert "use --parallel fsdp and omit --use_fsdp" in done.errors[0]


@pytest.mark.slow
def test_adapters_on_a_llama_are_shared_out(tmp_path: Path) -> None:
    student("llama").save(tmp_path / "base")
    (tmp_path / "rows.jsonl").write_text("".join(row.line() + "\n" for row in items(8)))
    options = ("--lora", "r=4", "--no-merge-lora", "--parallel", "fsdp")
    two = distill(tmp_path, tmp_path / "two", *options)
    assert losses(run_here(tmp_path, tmp_path / "one", *options)) == pytest.approx(losses(two), abs=1e-5)
    one, other = (load_file(tmp_path / run / "student" / "adapter_model.safetensors") for run in ("one", "two"))
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, atol=1e-4, rtol=0)
