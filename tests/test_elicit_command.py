"""`cotdistill elicit` as a process: streams, exit codes, Ctrl-C, several processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import warm
from tests.models import student

COMMAND = [sys.executable, "-m", "cotdistill", "elicit"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    student("llama", width=16, layers=1).save(folder)
    return folder


def options(teacher: Path, limit: int = 6) -> list[str]:
    return [
        "--teacher",
        str(teacher),
        "--limit",
        str(limit),
        "--hint",
        "gold",
        "--max-new-tokens",
        "12",
        "--keep",
        "all",
        "--device",
        "cpu",
        "--shots",
        "0",
    ]


def run(*arguments: str, code: int = 0, **more: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*warm.command(), "elicit", *arguments], capture_output=True, text=True, timeout=120, check=False, **more
    )  # type: ignore[call-overload]
    assert done.returncode == code, done.stderr
    return done  # type: ignore[no-any-return]


def test_stdout_is_rows_and_an_end_and_a_file_has_none(teacher: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in run(*options(teacher)).stdout.splitlines()]
    assert lines[-1] == {"end": {"rows": 6, "failed": 0}}
    out = tmp_path / "rows.jsonl"
    assert run(*options(teacher), "-o", str(out)).stdout == ""
    assert [json.loads(line) for line in out.read_text().splitlines()] == lines[:-1]


def test_for_scott_elicits_both_sides(teacher: Path) -> None:
    lines = [json.loads(line) for line in run(*options(teacher, 2), "--for", "scott").stdout.splitlines()]
    kinds = [[rationale["kind"] for rationale in line["rationales"]] for line in lines[:-1]]
    assert kinds == [["factual", "counterfactual"]] * 2
    known = run("--for", "skott", code=2)
    assert 'did you mean "scott"?' in known.stderr


def test_a_closed_pipe_ends_quietly(teacher: Path) -> None:
    arguments = [*COMMAND, *options(teacher, 300), "--batch-size", "1"]
    process = subprocess.Popen(arguments, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    assert json.loads(process.stdout.readline())["id"], "rows are streamed as they are finished"
    process.stdout.close()
    said = process.stderr.read().decode()
    assert process.wait(60) == 1
    assert "Traceback" not in said
    assert "error" not in said.lower()


def test_questions_from_stdin_and_bad_ones_with_their_line(teacher: Path) -> None:
    good = json.dumps({"id": "1", "question": "Is it?", "choices": ["yes", "no"], "answer": "yes"}) + "\n"
    done = run(*options(teacher), "--data", "-", input=good)
    assert json.loads(done.stdout.splitlines()[0])["id"] == "1"
    bad = run(*options(teacher), "--data", "-", input=good + '{"id": "2"}\n', code=3)
    assert "stdin:2: the field 'question' is missing" in bad.stderr
    assert bad.stdout == ""


def test_a_model_that_is_not_there_is_exit_6(tmp_path: Path) -> None:
    done = run("--teacher", str(tmp_path), code=6)
    assert len(done.stderr.strip().splitlines()) == 1
    assert "cannot load the model" in done.stderr


def test_nothing_usable_is_exit_4_and_the_rows_are_written(teacher: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    arguments = [argument if argument != "gold" else "none" for argument in options(teacher)]
    done = run(*arguments, "--max-new-tokens", "2", "-o", str(out), code=4)  # too few to say anything
    assert "none of the rationales of 6 rows is usable for training" in done.stderr
    assert len(out.read_text().splitlines()) == 6


@pytest.mark.slow
def test_ctrl_c_exits_130_and_the_same_command_goes_on(teacher: Path, tmp_path: Path) -> None:
    out, whole = tmp_path / "rows.jsonl", tmp_path / "whole.jsonl"
    arguments = [*options(teacher, 200), "--batch-size", "2"]
    process = subprocess.Popen([*COMMAND, *arguments, "-o", str(out)], env=ENVIRONMENT, stderr=subprocess.PIPE)
    partial = out.with_name("rows.jsonl.partial")
    while not (partial.is_file() and partial.stat().st_size):
        assert process.poll() is None, process.communicate()[1].decode()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 130
    assert "finishing the calls in flight" in said
    assert not out.exists()
    assert partial.read_text().endswith("\n")
    run(*arguments, "-o", str(out))
    run(*arguments, "-o", str(whole))
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.slow
def test_two_processes_give_the_rows_of_one(teacher: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    run(*options(teacher), "-o", str(one))
    done = warm.together("elicit", *options(teacher), "-o", str(two))
    assert done.returncode == 0, done.stderr
    assert two.read_bytes() == one.read_bytes()
    assert not list(tmp_path.glob("*.partial*"))
    question = json.dumps({"id": "1", "question": "Is it?", "choices": ["yes", "no"], "answer": "yes"}) + "\n"
    torchrun = [str(Path(sys.executable).with_name("torchrun")), "--standalone", "--nproc_per_node", "2", "-m"]
    piped = subprocess.run(
        [*torchrun, "cotdistill", "elicit", *options(teacher), "--data", "-"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        input=question,
    )
    lines = [json.loads(line) for line in piped.stdout.splitlines()]
    assert [line.get("id") for line in lines] == ["1", None], "rank 0 alone reads and writes"
