"""The command line as a user calls it: processes, pipes, exit codes, one clear line for every mistake."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.in_process import run as call
from tests.models import items, student

COMMAND = [sys.executable, "-m", "cotdistill"]
ROOT = Path(__file__).parents[1]


def run(*args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """`cotdistill ARGS` in this process: most of a process's time would go to importing torch."""
    done = call(*args, stdin=stdin)
    return subprocess.CompletedProcess(args, done.code, done.out, done.err)


def run_process(*args: str, stdin: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """The same as a user's shell starts it."""
    return subprocess.run(
        [*COMMAND, *args],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        **({"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}),
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    student("gpt2").save(folder)
    return str(folder)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("".join(item.model_dump_json() + "\n" for item in items(8)))
    return path


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("questions") / "places.jsonl"
    path.write_text(
        "".join(
            json.dumps({"id": i.id, "question": i.question, "choices": i.choices, "answer": i.answer}) + "\n"
            for i in items(8)
        )
    )
    return path


@pytest.mark.parametrize(
    "command",
    [
        ["--help"],
        ["elicit", "--help"],
        ["distill", "--help"],
        ["evaluate", "--help"],
        ["ablate", "--help"],
        ["strategies", "--json"],
        ["distill", "--nonsense"],
        ["distill", "--strategy", "nonsense", "x"],
        ["--version"],
    ],
)
def test_help_listing_and_usage_errors_never_import_torch(command: list[str]) -> None:
    program = (
        "import sys; sys.argv = ['cotdistill', *sys.argv[1:]]\n"
        "from cotdistill.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *command],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["distil"], "Did you mean 'distill'"),
        (["distill", "--strategy", "casco", "x"], 'did you mean "cascod"'),
        (["distill", "--strategy", "cascod", "--param", "alfa=1", "x"], 'did you mean "alpha"'),
        (["distill", "--param", "alpha", "x"], "NAME=VALUE"),
        (["distill", "--steps", "0", "x"], "--steps"),
        (["distill", "--schedule", "sinus", "x"], "--schedule"),
        (["distill", "--plugin", "nowhere.py", "x"], "no such file"),
        (["ablate", "--strategies", "cot,casco", "x"], 'did you mean "cascod"'),
        (["elicit", "--data", "demo", "--split", "shfit"], 'did you mean "shift"'),
    ],
)
def test_usage_errors_say_what_and_exit_2(args: list[str], said: str) -> None:
    done = run(*args)
    assert done.returncode == 2, done.stderr
    assert said in " ".join(done.stderr.split())
    assert done.stdout == ""


def test_configuration_files_refuse_unknown_keys(tmp_path: Path) -> None:
    config = tmp_path / "study.yaml"
    config.write_text("strategy: cot\nstepz: 5\n")
    done = run("distill", "--config", str(config), "x")
    assert done.returncode == 2
    assert "unknown key 'stepz' (did you mean \"steps\"?)" in done.stderr


QUESTION = {"id": "a", "question": "Where is it?", "choices": ["shed", "barn"], "answer": "barn"}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (['{"id": "a"'], "rows.jsonl:1: malformed JSON"),
        ([json.dumps(QUESTION), "[1]"], "rows.jsonl:2: a JSON list, not an object"),
        ([json.dumps({**QUESTION, "answer": None})], "rows.jsonl:1: field 'answer'"),
        (
            [json.dumps({k: v for k, v in QUESTION.items() if k != "answer"})],
            "rows.jsonl:1: the field 'answer' is missing",
        ),
        (
            [json.dumps({**QUESTION, "anwser": "barn"})],
            "rows.jsonl:1: unknown field 'anwser' (did you mean \"answer\"?)",
        ),
        ([json.dumps(QUESTION), json.dumps(QUESTION)], "rows.jsonl:2: duplicate id 'a', first on line 1"),
        (
            [json.dumps({**QUESTION, "answer": "attic"})],
            "rows.jsonl:1: the gold answer 'attic' is not among the choices",
        ),
        ([], "rows.jsonl: contains no rows"),
    ],
)
def test_bad_rows_name_file_line_and_remedy(tmp_path: Path, lines: list[str], said: str) -> None:
    path, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    path.write_text("".join(line + "\n" for line in lines))
    done = run("elicit", "--data", str(path), "--teacher", "rows", "-o", str(out))
    assert done.returncode == 3, done.stderr
    assert said in done.stderr
    assert "; " in done.stderr  # the remedy
    assert not out.exists()


def test_wrong_encoding_is_said(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(json.dumps({**QUESTION, "question": "Où?"}, ensure_ascii=False).encode("latin-1"))
    done = run("elicit", "--data", str(path), "--teacher", "rows")
    assert done.returncode == 3
    assert "not UTF-8" in done.stderr


def test_a_strategy_that_the_rows_cannot_fill_names_the_kind(tmp_path: Path, model: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(
            item.model_copy(update={"rationales": item.rationales[:1]}).model_dump_json() + "\n" for item in items(3)
        )
    )
    done = run("distill", str(path), "--strategy", "scott", "--student", model)
    assert done.returncode == 3
    assert "needs counterfactual rationales" in done.stderr
    assert "elicit --for scott" in done.stderr


def test_rows_longer_than_the_context_fail_unless_allowed(tmp_path: Path, rows: Path, model: str) -> None:
    lines = rows.read_text().splitlines()
    long = json.loads(lines[0])
    long["question"] = long["question"] * 200
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join([json.dumps(long), *lines[1:]]) + "\n")
    args = ["distill", str(path), "--student", model, "--steps", "1", "-o", str(tmp_path / "run")]
    refused = run(*args)
    assert refused.returncode == 3
    assert "1 of 8 samples would be dropped (1 longer than the student's context)" in refused.stderr
    allowed = run(*args, "--max-dropped", "0.2")
    assert allowed.returncode == 0, allowed.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text())["data"]["dropped"] == {
        "longer than the student's context": 1
    }


def test_nothing_usable_exits_4(tmp_path: Path, model: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(
            item.model_copy(
                update={"rationales": tuple(r.model_copy(update={"label": "wrong"}) for r in item.rationales)}
            ).model_dump_json()
            + "\n"
            for item in items(3)
        )
    )
    done = run("distill", str(path), "--student", model)
    assert done.returncode == 4
    assert "'wrong': 6" in done.stderr


def test_a_missing_model_exits_6(rows: Path) -> None:
    done = run("distill", str(rows), "--student", "./no-such-model")
    assert done.returncode == 6
    assert "cannot load the model './no-such-model'" in done.stderr


def test_a_full_disk_exits_8() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "schema"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, cwd=ROOT
        )
    assert done.returncode == 8
    assert "No space left" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_closed_pipe_ends_quietly() -> None:
    reader = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m cotdistill strategies --json | head -1; echo ${{PIPESTATUS[0]}} >&2"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    assert len(reader.stdout.splitlines()) == 1
    assert reader.stderr.strip() in ("0", "1")  # 0 where the writer was done before the pipe closed


def test_the_pipeline_end_to_end_on_a_local_model(tmp_path: Path, rows: Path, questions: Path, model: str) -> None:
    made = run_process(
        "distill",
        "--strategy",
        "cascod",
        "--student",
        model,
        "--steps",
        "3",
        "-o",
        str(tmp_path / "run"),
        "--allow-partial",
        stdin=rows.read_text(),
    )
    assert made.returncode == 0, made.stderr
    line = json.loads(made.stdout)
    assert line["strategy"] == "cascod"
    assert line["trained_on"] == 8
    scored = run("evaluate", "--data", str(questions), stdin=made.stdout)
    assert scored.returncode == 0, scored.stderr
    figures = json.loads(scored.stdout)
    assert figures["n"] == 8 == figures["right"] + figures["wrong"] + figures["unparsed"]
    assert "cascod" in scored.stderr  # the table for people
    again = run("evaluate", str(tmp_path / "run"), "--data", str(questions), "--from-predictions")
    assert json.loads(again.stdout)["accuracy"] == figures["accuracy"]


def test_a_stream_without_its_end_is_refused(rows: Path, model: str) -> None:
    done = run("distill", "--student", model, stdin=rows.read_text())
    assert done.returncode == 3
    assert "stopped after 8 rows without its end line" in done.stderr


def test_the_same_command_twice_gives_the_same_bytes(tmp_path: Path, rows: Path, model: str) -> None:
    runs = []
    for name, start in (("a", run), ("b", run_process)):
        done = start("distill", str(rows), "--student", model, "--steps", "4", "-o", str(tmp_path / name))
        assert done.returncode == 0, done.stderr
        runs.append(tmp_path / name)
    for file in ("student/model.safetensors", "metrics.jsonl", "run.json"):
        first, second = ((run / file).read_bytes() for run in runs)
        if file == "run.json":
            first, second = (re.sub(rb'"out": "[^"]*"', b"", text) for text in (first, second))
        assert first == second, file


def test_an_existing_run_is_not_trained_again_and_another_is_not_overwritten(
    tmp_path: Path, rows: Path, model: str
) -> None:
    args = ["distill", str(rows), "--student", model, "--steps", "2", "-o", str(tmp_path / "run")]
    assert run(*args).returncode == 0
    before = (tmp_path / "run" / "student" / "model.safetensors").stat().st_mtime_ns
    again = run(*args)
    assert again.returncode == 0
    assert "already complete" in again.stderr
    assert (tmp_path / "run" / "student" / "model.safetensors").stat().st_mtime_ns == before
    other = run(*args, "--seed", "1")
    assert other.returncode == 2
    assert "holds another run" in other.stderr


def test_no_bars_or_colours_when_stderr_is_not_a_terminal(tmp_path: Path, rows: Path, model: str) -> None:
    done = run_process(
        "distill",
        str(rows),
        "--student",
        model,
        "--steps",
        "2",
        "--lr",
        "0.001",
        "-o",
        str(tmp_path / "run"),
        FORCE_COLOR="",
    )
    assert "\x1b" not in done.stderr
    assert "%|" not in done.stderr
    assert done.stderr == ""


def test_quiet_says_nothing_but_errors(questions: Path) -> None:
    done = run("strategies", "--quiet")
    assert done.stderr == ""
    failed = run("distill", "--quiet", "--strategy", "nonsense", str(questions))
    assert failed.stderr.startswith("error: ")


def test_interrupt_exits_130(tmp_path: Path, rows: Path, model: str) -> None:
    process = subprocess.Popen(
        [*COMMAND, "distill", str(rows), "--student", model, "--steps", "100000", "-o", str(tmp_path / "run")],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not metrics.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert not (tmp_path / "run" / "run.json").exists()
    assert all(json.loads(line) for line in metrics.read_text().splitlines())


def test_dry_run_trains_nothing(tmp_path: Path, rows: Path, model: str) -> None:
    done = run("distill", str(rows), "--student", model, "--dry-run", "-o", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert "would train cot on 8 samples of 8 rows for 2 steps" in done.stderr
    assert not (tmp_path / "run").exists()


def test_preview_shows_the_learned_tokens(rows: Path, model: str) -> None:
    done = run("preview", str(rows), "--strategy", "scott", "--student", model)
    assert done.returncode == 0, done.stderr
    factual, counterfactual = map(json.loads, done.stdout.splitlines())
    pairs = zip(counterfactual["tokens"], counterfactual["learned"], strict=True)
    shown = "".join(word for word, learned in pairs if learned)
    assert shown == " barn<|end|>"  # the wrong answer its rationale argues for, and the stop
    assert "[factual]" in "".join(factual["tokens"])
    assert not any(factual["learned"][: factual["prompt_tokens"]])


def test_schema_covers_every_file() -> None:
    found = {json.loads(line)["file"] for line in run("schema").stdout.splitlines()}
    assert {"question row", "elicited row", "run card", "prediction"} <= found
