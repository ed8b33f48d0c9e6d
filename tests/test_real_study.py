"""examples/real.sh and `make real`, studies on a real student: whole on a tiny model, in part on the real one."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from cotdistill.verify import verify
from tests import warm
from tests.gguf_files import tiny_llama, write_gguf
from tests.models import items, student
from tests.real import smollm2

ROOT = Path(__file__).parents[1]
NEEDS_MAKE = pytest.mark.skipif(shutil.which("make") is None, reason="no make on this machine")


def command(folder: Path) -> Path:
    """A folder with `cotdistill`, the one that is tested."""
    shim = folder / "bin" / "cotdistill"
    shim.parent.mkdir(exist_ok=True)
    shim.write_text(f'#!/bin/sh\nexec {shlex.join(warm.command())} "$@"\n')
    shim.chmod(0o755)
    return shim.parent


def environment(folder: Path, **more: str) -> dict[str, str]:
    path = f"{command(folder)}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


def question_rows(folder: Path, count: int) -> None:
    """questions.jsonl, chains.jsonl and other.jsonl of the test's own."""
    rows = items(count)
    questions = [{"id": i.id, "question": i.question, "choices": i.choices, "answer": i.answer} for i in rows]
    chains = [
        {
            "id": i.id,
            "teacher": "someone",
            "samples": [{"text": f"{i.kept('factual')[0].text} So the answer is {i.answer}."}],
        }
        for i in rows
    ]
    for name, lines in (("questions", questions), ("chains", chains), ("other", questions[:4])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def study(folder: Path, model: Path, count: int, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """examples/real.sh on `count` questions of the test's own."""
    question_rows(folder, count)
    return subprocess.run(
        [
            "bash",
            str(ROOT / "examples" / "real.sh"),
            str(model),
            "questions.jsonl",
            "chains.jsonl",
            "other.jsonl",
            "out",
            *options,
        ],
        cwd=folder,
        text=True,
        capture_output=True,
        timeout=500,
        env=environment(folder, **environ),
    )


@pytest.mark.slow
def test_the_real_study_runs_whole_on_a_small_model(tmp_path: Path) -> None:
    student("gpt2").save(tmp_path / "model")
    small = (
        "--steps",
        "2",
        "--seeds",
        "0",
        "--jobs",
        "1",
        "--eval-max-new-tokens",
        "4",
        "--strategies",
        "cot,scott",
        "--no-controls",
    )
    done = study(tmp_path, tmp_path / "model", 15, *small, TRAIN_ROWS="8", KEEP="all")
    assert done.returncode == 0, done.stderr
    held_out = [json.loads(line)["id"] for line in (tmp_path / "out" / "in-domain.jsonl").read_text().splitlines()]
    rows = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
    assert len(rows) == 8
    assert len(held_out) == 3
    assert not {row["id"] for row in rows} & {*held_out}
    assert all({r["kind"] for r in row["rationales"]} == {"factual", "counterfactual"} for row in rows)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert {record["arm"] for record in records} >= {"untrained student", "cot", "scott", "post-cot-permuted"}
    assert not any("error" in record for record in records)
    again = study(tmp_path, tmp_path / "model", 15, *small, TRAIN_ROWS="8", KEEP="all")
    assert again.returncode == 0, again.stderr
    assert [json.loads(line)["cell"] for line in again.stdout.splitlines()] == [one["cell"] for one in records]


@pytest.mark.real
def test_the_real_student_learns_a_few_rows(tmp_path: Path) -> None:
    done = study(
        tmp_path,
        smollm2(),
        5,
        "--steps",
        "4",
        "--seeds",
        "0",
        "--jobs",
        "1",
        "--eval-max-new-tokens",
        "8",
        "--strategies",
        "cot",
        "--no-controls",
        "--batch-size",
        "4",
    )
    assert done.returncode == 0, done.stderr
    (metrics,) = (tmp_path / "out" / "grid" / "runs").glob("cot-*/metrics.jsonl")
    losses = [json.loads(line)["loss"] for line in metrics.read_text().splitlines()]
    assert losses[-1] < losses[0]


def make_real(folder: Path, model: Path, *variables: str) -> list[dict[str, object]]:
    """`make real` on another model, with the command that is tested; the lines that it printed."""
    stamp = folder / "installed"
    stamp.touch()
    places = (f"SMOLLM2={model}", f"BIN={command(folder)}", f"STAMP={stamp}", f"REAL={folder / 'runs'}")
    done = subprocess.run(
        ["make", "-C", str(ROOT), "real", *places, *variables],
        text=True,
        capture_output=True,
        timeout=500,
        env=environment(folder),
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in (folder / "runs" / "cells.jsonl").read_text().splitlines()]


@pytest.mark.slow
@NEEDS_MAKE
def test_make_real_runs_whole_on_a_small_model(tmp_path: Path) -> None:
    """On the embedded world's rows, then on rows and recorded chains of the caller's own."""
    model = tmp_path / "model.gguf"
    write_gguf(model, tiny_llama())
    few = "OPTIONS=--steps 2 --eval-max-new-tokens 4 --limit 8 --device cpu"
    records = make_real(tmp_path, model, few)
    assert {record["arm"] for record in records} == {"teacher", "untrained student", "answer-only", "cot"}
    assert not any("error" in record for record in records)
    assert verify(tmp_path / "runs" / "grid")["cells"] == len(records)
    question_rows(tmp_path, 8)
    named = (("QUESTIONS", "questions"), ("CHAINS", "chains"), ("HELD_OUT", "other"))
    own = [f"{name}={tmp_path / file}.jsonl" for name, file in named]
    records = make_real(tmp_path, model, few + " --overwrite", *own)
    assert {record["arm"] for record in records} == {"teacher", "untrained student", "answer-only", "cot"}
    assert not any("error" in record for record in records)


@NEEDS_MAKE
def test_make_real_says_what_own_questions_need(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.touch()
    done = subprocess.run(
        ["make", "-C", str(ROOT), "real", "QUESTIONS=q.jsonl", f"STAMP={there}", f"SMOLLM2={there}"],
        text=True,
        capture_output=True,
    )
    assert done.returncode != 0
    assert "QUESTIONS needs CHAINS (recorded chains) and HELD_OUT (question rows)" in done.stderr
