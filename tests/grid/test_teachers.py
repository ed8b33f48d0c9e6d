"""A grid that elicits: a teacher without a usable answer ends it as it would end `elicit`."""

from __future__ import annotations

import json
from pathlib import Path

from tests.in_process import run
from tests.models import items, student


def test_a_teacher_that_argues_for_nothing_is_exit_4(tmp_path: Path) -> None:
    student("llama").save(tmp_path / "teacher")
    questions, fields = tmp_path / "questions.jsonl", {"id", "question", "choices", "answer"}
    questions.write_text("".join(json.dumps(row.model_dump(include=fields)) + "\n" for row in items(4)))
    done = run("ablate", "--train", str(questions), "--data", f"test={questions}", "--teacher",
               str(tmp_path / "teacher"), "--teacher-max-new-tokens", "4", "--strategies", "cot", "--no-controls",
               "--seeds", "0", "--steps", "1", "--device", "cpu", "--jobs", "1", "--out", str(tmp_path / "grid"))
    assert done.code == 4, done.err
    assert done.errors == ["error: no rationale of 4 rows can be learned from; the table above says why (--keep all "
                           "keeps wrong ones too)"]
