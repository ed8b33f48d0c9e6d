"""Text that a tokenizer has no token for is counted and said, and refused above a share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.in_process import run
from tests.models import items, student


def rows(tmp_path: Path, question: str, family: str) -> list[str]:
    student(family).save(tmp_path / "base")
    changed = items(4)[0].model_copy(update={"question": question})
    (tmp_path / "rows.jsonl").write_text("".join(row.line() + "\n" for row in [changed, *items(4)[1:]]))
    return [
        "distill",
        str(tmp_path / "rows.jsonl"),
        "--student",
        str(tmp_path / "base"),
        "--steps",
        "1",
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "run"),
    ]


@pytest.mark.parametrize(
    "question",
    [
        "Quel \N{DEGREE SIGN} \N{MULTIPLICATION SIGN} \N{PILCROW SIGN} est-ce ?" * 6,
        "\u4eca\u5929 \u5929\u6c14 \u600e\u4e48\u6837 " * 12,
    ],
)
def test_too_many_unknown_tokens_are_refused(question: str, tmp_path: Path) -> None:
    asked = rows(tmp_path, question, "t5")
    done = run(*asked)
    assert done.code == 3, done.err
    assert len(done.errors) == 1
    assert "are unknown to the student's tokenizer, more than 2%: " in done.errors[0]
    assert question.split()[1][0] in done.errors[0]
    assert not (tmp_path / "run" / "run.json").exists()
    done = run(*asked, "--max-unknown", "1")
    assert done.code == 0
    assert "unknown to the student's tokenizer" in done.err


def test_a_few_are_said(tmp_path: Path) -> None:
    asked = rows(tmp_path, "Where is a drill at 20 \N{DEGREE SIGN}?", "t5")
    done = run(*asked)
    assert done.code == 0, done.err
    assert "warning: 1 of " in done.err
    assert "are unknown to the student's tokenizer: \N{DEGREE SIGN}" in done.err
    questions = tmp_path / "questions.jsonl"
    example = json.loads((tmp_path / "rows.jsonl").read_text().splitlines()[0])
    questions.write_text(json.dumps({name: example[name] for name in ("id", "question", "choices", "answer")}) + "\n")
    done = run("evaluate", str(tmp_path / "run"), "--data", str(questions), "--device", "cpu", "--max-new-tokens", "4")
    assert done.code == 0, done.err
    assert "warning: the questions hold characters unknown to the student's tokenizer: \N{DEGREE SIGN}" in done.err


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_byte_tokenizers_know_everything(family: str, tmp_path: Path) -> None:
    done = run(*rows(tmp_path, "\u4eca\u5929 \\frac{1}{2} \N{DEGREE SIGN}", family))
    assert done.code == 0, done.err
    assert "unknown" not in done.err
