"""What a command does not use, it does not load: the start is what a user waits for each time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.in_process import run

# As `python -m cotdistill`, which then says what it has loaded.
SAYS_WHAT_IT_LOADED = (
    "import atexit, json, os, sys\n"
    "atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=open(os.environ['LOADED'], 'w')))\n"
    "from cotdistill.__main__ import main\n"
    "main()"
)
HEAVY = {"numpy", "jinja2", "ssl", "asyncio", "yaml", "torch", "transformers", "safetensors.numpy", "openai"}


def loaded(folder: Path, *args: str) -> tuple[str, set[str]]:
    """What a command says on stdout, and every module that it loaded."""
    done = subprocess.run(
        [sys.executable, "-c", SAYS_WHAT_IT_LOADED, *args],
        capture_output=True,
        text=True,
        env={**os.environ, "LOADED": str(folder / "loaded.json"), "COLUMNS": "100", "PYDANTIC_DISABLE_PLUGINS": "1"},
        check=True,
    )
    return done.stdout, set(json.loads((folder / "loaded.json").read_text()))


def unnamed(text: str) -> list[str]:
    """The words of a help or a message without the program's name, which is the caller's."""
    return re.sub(r"(Usage: |try: ).*?(?=\[OPTIONS\]|--help)", r"\1", text).split()


def test_help_reads_no_answers_and_no_yaml(tmp_path: Path) -> None:
    said, modules = loaded(tmp_path, "--help")
    assert "elicit" in said
    assert not modules & {*HEAVY, "cotdistill.answers.extraction", "cotdistill.eliciting"}


def test_recorded_rationales_are_read_without_what_asks_a_model(tmp_path: Path) -> None:
    row = {"id": "q-0", "question": "2+2?", "choices": None, "answer": "4", "rationale": "Two and two are 4."}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    said, modules = loaded(tmp_path, "elicit", "--teacher", "rows", "--data", str(tmp_path / "rows.jsonl"))
    assert json.loads(said.splitlines()[0])["rationales"][0]["label"] == "keep"
    assert not modules & {*HEAVY, "cotdistill.teachers.server", "cotdistill.teachers.huggingface"}


def test_predictions_are_evaluated_without_torch(tmp_path: Path) -> None:
    question = {"id": "q-0", "question": "2+2?", "choices": None, "answer": "4"}
    (tmp_path / "questions.jsonl").write_text(json.dumps(question) + "\n")
    (tmp_path / "said.jsonl").write_text(json.dumps({"id": "q-0", "text": "Two and two. The answer is 4."}) + "\n")
    paths = (str(tmp_path / "said.jsonl"), "--data", str(tmp_path / "questions.jsonl"))
    said, modules = loaded(tmp_path, "evaluate", *paths)
    assert json.loads(said)["accuracy"] == 1.0
    assert not modules & {"torch", "transformers"}


@pytest.mark.parametrize("words", [("--help",), ("ablate", "--help"), ("preview", "--help")])
def test_sparing_the_options_of_other_commands_changes_no_help(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    said, _ = loaded(tmp_path, *words)
    assert unnamed(said) == unnamed(run(*words).out)


@pytest.mark.parametrize("words", [("ablat",), ("--version", "elicit"), ()])
def test_what_is_no_command_is_answered_as_before(words: tuple[str, ...]) -> None:
    process = subprocess.run([sys.executable, "-m", "cotdistill", *words], capture_output=True, text=True)
    done = run(*words)
    assert process.returncode == done.code
    assert unnamed(process.stdout) == unnamed(done.out)
    assert unnamed(process.stderr) == unnamed(done.err)


def test_completion_knows_the_options_of_every_command() -> None:
    wanted = {"_COTDISTILL_COMPLETE": "complete_bash", "COMP_WORDS": "cotdistill distill --opti", "COMP_CWORD": "2"}
    code = "import sys; sys.argv = ['cotdistill']; from cotdistill.__main__ import main; main()"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **wanted})
    assert process.stdout.split() == ["--optimizer"]


@pytest.mark.parametrize(("wait_policy", "spins"), [(None, "10000"), ("passive", "0")])
def test_torchs_threads_do_not_spin_away_a_busy_processor(wait_policy: str | None, spins: str) -> None:
    code = (
        "import sys\n"
        "sys.argv[1:] = ['--version']\n"
        "from cotdistill.__main__ import main\n"
        "try: main()\n"
        "finally: import torch"
    )
    env = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    chosen = {} if wait_policy is None else {"OMP_WAIT_POLICY": wait_policy}
    process = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**env, **chosen, "OMP_DISPLAY_ENV": "verbose"},
    )
    if "GOMP_SPINCOUNT" not in process.stderr:
        pytest.skip("this torch does not use GNU's OpenMP")
    assert f"GOMP_SPINCOUNT = '{spins}'" in process.stderr
