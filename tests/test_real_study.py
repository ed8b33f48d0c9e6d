"""examples/real.sh, the study on a real student: whole on a tiny model, its parts on the real one where that is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models import items, student

ROOT = Path(__file__).parents[1]
REAL = Path(os.environ.get("COTDISTILL_SMOLLM2") or Path.home() / ".cache" / "smollm2" / "hf")


def study(folder: Path, model: Path, count: int, *options: str) -> subprocess.CompletedProcess[str]:
    """The script on `count` questions of the test's own; `cotdistill` is the one that is tested."""
    shim = folder / "bin" / "cotdistill"
    shim.parent.mkdir(exist_ok=True)
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cotdistill "$@"\n')
    shim.chmod(0o755)
    rows = items(count)
    questions = [{"id": i.id, "question": i.question, "choices": i.choices, "answer": i.answer} for i in rows]
    chains = [{"id": i.id, "teacher": "someone", "samples": [
        {"text": f"{i.kept('factual')[0].text} So the answer is {i.answer}."}]} for i in rows]
    for name, lines in (("questions", questions), ("chains", chains), ("other", questions[:4])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return subprocess.run(
        ["bash", str(ROOT / "examples" / "real.sh"), str(model), "questions.jsonl", "chains.jsonl", "other.jsonl",
         "out", *options], cwd=folder, text=True, capture_output=True, timeout=500,
        env={**os.environ, "PATH": f"{shim.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT),
             "OMP_NUM_THREADS": "1"})


@pytest.mark.slow
def test_the_real_study_runs_whole_on_a_small_model(tmp_path: Path) -> None:
    student("gpt2").save(tmp_path / "model")
    small = ("--steps", "2", "--seeds", "0", "--jobs", "1", "--eval-max-new-tokens", "4", "--strategies", "cot,scott",
             "--no-controls")
    done = study(tmp_path, tmp_path / "model", 10, *small)
    assert done.returncode == 0, done.stderr
    held_out = [json.loads(line)["id"] for line in (tmp_path / "out" / "in-domain.jsonl").read_text().splitlines()]
    rows = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text().splitlines()]
    assert len(rows) == 8
    assert len(held_out) == 2
    assert not {row["id"] for row in rows} & {*held_out}
    assert all({r["kind"] for r in row["rationales"]} == {"factual", "counterfactual"} for row in rows)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert {record["arm"] for record in records} >= {"untrained student", "cot", "scott", "post-cot-permuted"}
    assert not any("error" in record for record in records)
    again = study(tmp_path, tmp_path / "model", 10, *small)
    assert again.returncode == 0, again.stderr
    assert [json.loads(line)["cell"] for line in again.stdout.splitlines()] == [one["cell"] for one in records]


@pytest.mark.real
def test_the_real_student_learns_a_few_rows(tmp_path: Path) -> None:
    if not (REAL / "config.json").exists():
        pytest.skip(f"no model in {REAL}; set COTDISTILL_SMOLLM2 to a folder with SmolLM2-135M-Instruct")
    done = study(tmp_path, REAL, 5, "--steps", "4", "--seeds", "0", "--jobs", "1", "--eval-max-new-tokens", "8",
                 "--strategies", "cot", "--no-controls", "--batch-size", "4")
    assert done.returncode == 0, done.stderr
    (metrics,) = (tmp_path / "out" / "grid" / "runs").glob("cot-*/metrics.jsonl")
    losses = [json.loads(line)["loss"] for line in metrics.read_text().splitlines()]
    assert losses[-1] < losses[0]
