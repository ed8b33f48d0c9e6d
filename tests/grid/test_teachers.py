"""A grid that elicits: a teacher without a usable answer ends it as it would end `elicit`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.in_process import run
from tests.models import items, student
from tests.teachers.asking import KEY
from tests.teachers.servers import serving


def test_a_teacher_that_argues_for_nothing_is_exit_4(tmp_path: Path) -> None:
    student("llama").save(tmp_path / "teacher")
    questions, fields = tmp_path / "questions.jsonl", {"id", "question", "choices", "answer"}
    questions.write_text("".join(json.dumps(row.model_dump(include=fields)) + "\n" for row in items(4)))
    done = run(
        "ablate",
        "--train",
        str(questions),
        "--data",
        f"test={questions}",
        "--teacher",
        str(tmp_path / "teacher"),
        "--teacher-max-new-tokens",
        "4",
        "--strategies",
        "cot",
        "--no-controls",
        "--seeds",
        "0",
        "--steps",
        "1",
        "--device",
        "cpu",
        "--jobs",
        "1",
        "--out",
        str(tmp_path / "grid"),
    )
    assert done.code == 4, done.err
    assert done.errors == [
        "error: none of the rationales of 4 rows is usable for training; the table above says why "
        "(--keep all keeps wrong ones too)"
    ]


def test_a_server_elicits_the_rows_and_answers_the_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    train, test, out = tmp_path / "train.jsonl", tmp_path / "test.jsonl", tmp_path / "grid"
    for path, name, count in ((train, "a", 4), (test, "b", 3)):
        rows = [
            {"id": f"{name}{at}", "question": f"Is {at}{name} one?", "choices": ["yes", "no"], "answer": "yes"}
            for at in range(count)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = ["ablate", "--train", str(train), "--data", str(test), "--teacher", "openai:m", "--strategies", "cot"]
    given += ["--no-controls", "--seeds", "0", "--steps", "1", "--jobs", "1", "--device", "cpu", "--out", str(out)]
    given += ["--shots", "0", "--eval-max-new-tokens", "4"]
    with serving() as server:
        done = run(*given, "--base-url", server.url)
        assert done.code == 0, done.err
        assert len(server.asked) == 4 + 3
        assert set(server.asked.values()) == {1}
        again = run(*given, "--base-url", server.url)
    assert again.code == 0, again.err
    assert set(server.asked.values()) == {1}  # nothing is paid for twice
    records = {record["role"]: record for record in map(json.loads, done.out.splitlines())}
    assert records["teacher"]["sets"]["test"]["accuracy"] == 1
    assert records["strategy"]["rows"] == 4
    rows = [json.loads(line) for line in (out / "rows" / "greedy.jsonl").read_text().splitlines()]
    assert {row["rationales"][0]["teacher"] for row in rows} == {"openai:m"}
    assert not [path for path in out.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert run("verify", str(out)).code == 0
