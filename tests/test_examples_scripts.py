"""The shell scripts among the examples: each runs as its head says, on small models and few rows."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cotdistill.errors import Exit
from tests import warm
from tests.models import items, student
from tests.teachers.servers import Server, serving

EXAMPLES = Path(__file__).parents[1] / "examples"
pytestmark = pytest.mark.slow


def script(folder: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A script in `folder`; the `cotdistill` it calls is the one that is tested, and evaluates on four rows a set."""
    shim = folder / "bin" / "cotdistill"
    shim.parent.mkdir()
    few = 'case "$*" in "evaluate --limit 100"*) set -- "$@" --limit 4;; esac\n'
    shim.write_text(f'#!/bin/sh\n{few}exec {shlex.join(warm.command())} "$@"\n')
    shim.chmod(0o755)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")},
        "PATH": f"{shim.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(EXAMPLES.parent),
        "OMP_NUM_THREADS": "1",
        "OPENAI_API_KEY": "sk-of-the-test",
    }
    command = ["bash", str(EXAMPLES / f"{name}.sh"), *arguments]
    return subprocess.run(command, cwd=folder, text=True, capture_output=True, timeout=500, env=environment)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_pipeline_trains_two_strategies_on_one_teachers_rows(tmp_path: Path) -> None:
    done = script(tmp_path, "pipeline", "out", "8", "2")
    assert done.returncode == 0, done.stderr
    *rows, end = lines(tmp_path / "out" / "rows.jsonl")
    assert (len(rows), end) == (8, {"end": {"rows": 8, "failed": 0}})
    results = lines(tmp_path / "out" / "results.jsonl")
    assert [(Path(line["run"]).name, line["set"]) for line in results] == [
        (run, name) for run in ("cascod", "cot") for name in ("demo-id", "demo-shift", "demo-hard")
    ]
    assert {line["n"] for line in results} == {4}
    assert "</html>" in (tmp_path / "out" / "report.html").read_text()


def test_chains_of_both_lengths_are_mixed_on_as_many_learned_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = tmp_path / "asked.jsonl"
    asked.write_text("".join(row.example().line() + "\n" for row in items(4)))
    monkeypatch.setenv("DATA", str(asked))
    done = script(tmp_path, "mixtures", "out", "40", "--seeds", "0", "--steps", "6", "--batch-size", "4", "--jobs", "1")
    assert done.returncode == 0, done.stderr
    long, short = (lines(tmp_path / "out" / f"{name}.jsonl") for name in ("long", "short"))
    texts = [
        (one["rationales"][0]["text"], other["rationales"][0]["text"]) for one, other in zip(long, short, strict=True)
    ]
    assert all(whole.endswith(last) for whole, last in texts)
    assert sum(len(whole) > len(last) for whole, last in texts) > 20  # the others have one step
    cells = [cell for cell in lines(tmp_path / "out" / "grid" / "cells.jsonl") if "learned_tokens" in cell]
    alone, mixed, brief = (cell["learned_tokens"] for cell in cells)
    assert mixed == pytest.approx(alone, rel=0.2)
    assert brief == pytest.approx(alone, rel=0.2)


def test_questions_from_a_spreadsheet_are_learned_by_their_own_explanations(tmp_path: Path) -> None:
    student("gpt2").save(tmp_path / "student")
    few = ("--steps", "2", "--max-unknown", "1")
    done = script(tmp_path, "own_csv", "student", "out", str(EXAMPLES / "questions.csv"), "rows", *few)
    assert done.returncode == 0, done.stderr
    rows = lines(tmp_path / "out" / "rows.jsonl")
    assert [row["id"] for row in rows] == [str(number) for number in range(1, 9)]
    assert (rows[1]["choices"], rows[1]["answer"]) == (["a spoon", "a key", "a candle"], "a key")
    assert all(row["rationales"][0]["label"] == "keep" for row in rows)
    [result] = lines(tmp_path / "out" / "results.jsonl")
    assert (result["set"], result["n"]) == ("own", 8)


def test_a_server_is_asked_once_per_question_and_its_bill_is_shown(tmp_path: Path) -> None:
    questions = [
        {"id": f"q{at}", "question": f"Is {at} a number?", "choices": None, "answer": "yes"} for at in range(3)
    ]
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    with serving(Server(lambda prompt, before: "echo")) as server:
        done = script(tmp_path, "server", server.url, "m", "questions.jsonl", "out")
    assert done.returncode == Exit.DONE, done.stderr
    assert len(server.requests) == 3
    assert [row["rationales"][0]["label"] for row in lines(tmp_path / "out" / "rows.jsonl")] == ["keep"] * 3
    assert "sk-of-the-test" not in done.stderr + (tmp_path / "out" / "rows.jsonl").read_text()
