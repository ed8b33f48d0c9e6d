"""Streams that cannot hold a text, are closed or full: what cannot be written is replaced, never exit 1."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROW = {
    "id": "é1",
    "question": "Où est\u2028 le café 東京?",
    "choices": None,
    "answer": "là",
    "rationale": "Parce que là. Therefore, the answer is là.",
}
TOOL = f'"{sys.executable}" -m cotdistill'


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("streams") / "rows.jsonl"
    path.write_text(json.dumps(ROW, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def shell(script: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["bash", "-c", script], capture_output=True, timeout=120, cwd=ROOT, env={**os.environ, **environment}
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "utf-16"])
def test_rows_on_stdout_are_the_same_json_in_every_encoding(rows: Path, encoding: str) -> None:
    done = shell(f"{TOOL} elicit --teacher rows --data '{rows}'", PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    codec = "utf-16" if encoding == "utf-16" else "utf-8"  # what is not UTF-8 gets JSON escapes
    item, end = map(json.loads, done.stdout.decode(codec).strip().split("\n"))
    assert (item["question"], item["answer"]) == (ROW["question"], ROW["answer"])
    assert end == {"end": {"rows": 1, "failed": 0}}


@pytest.mark.parametrize(
    ("streams", "code"),
    [(">&-", 0), ("2>&-", 0), (">&- 2>&-", 0), ("2>/dev/full", 0), ("2> >(true)", 0), (">/dev/full", 8)],
)
def test_closed_and_full_streams(rows: Path, tmp_path: Path, streams: str, code: int) -> None:
    out = tmp_path / "out.jsonl"
    done = shell(f"{TOOL} elicit --teacher rows --data '{rows}' {streams}")
    assert done.returncode == code, done.stderr
    if code == 8:
        assert done.stderr.endswith(b"error: cannot write stdout: No space left on device\n")
    assert shell(f"{TOOL} elicit --teacher rows --data '{rows}' -o '{out}' {streams}").returncode == 0
    assert json.loads(out.read_text())["id"] == "é1"


@pytest.mark.parametrize("streams", ["2>&-", "2>/dev/full", "2> >(true)"])
def test_a_mistake_keeps_its_exit_code_where_nobody_can_read_it(streams: str) -> None:
    assert shell(f"{TOOL} elicit --nonsense {streams}").returncode == 2


@pytest.mark.parametrize("command", ["--help", "strategies", "elicit --help"])
def test_tables_and_help_fit_ascii(command: str) -> None:
    done = shell(f"{TOOL} {command}", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).isascii()


def test_a_closed_stdin_holds_no_rows() -> None:
    done = shell(f"{TOOL} elicit --teacher rows --data - <&-")
    assert (done.returncode, done.stdout) == (3, b"")
    assert b"error: stdin: contains no rows" in done.stderr
