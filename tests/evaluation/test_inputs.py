"""Who is evaluated: runs, models, predictions made elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cotdistill.config import EvaluateConfig
from cotdistill.data.records import Example
from cotdistill.errors import DataError, UsageError
from cotdistill.evaluation.inputs import read_elsewhere, subject_of

EXAMPLES = [
    Example(id="a", question="Where?", choices=("barn", "attic"), answer="barn", task="t"),
    Example(id="b", question="How many?", choices=None, answer="1000", task="t"),
]


def written(tmp_path: Path, *lines: object) -> str:
    path = tmp_path / "made.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def test_generations_answers_and_samples_are_read_and_stored_verdicts_are_not_trusted(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {"id": "a", "text": "Hay is there. So the answer is (a).", "correct": False},
        {"id": "b", "answer": "1,000", "rationale": "Ten hundreds."},
        {"id": "unasked", "answer": "x"},
    )
    predictions, sampled = read_elsewhere(path, EXAMPLES)
    assert [p.verdict for p in predictions] == ["right", "right"]
    assert [p.rationale for p in predictions] == ["Hay is there.", "Ten hundreds."]
    assert sampled == []
    path = written(
        tmp_path,
        {"id": "a", "samples": [{"text": "So the answer is attic."}, "So the answer is barn."]},
        {"id": "b", "output": "7"},
    )
    predictions, sampled = read_elsewhere(path, EXAMPLES)
    assert [p.verdict for p in predictions] == ["wrong", "wrong"]
    assert sampled[0].verdicts == ("wrong", "right")


def test_complaints_name_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"made\.jsonl:1: neither text"):
        read_elsewhere(written(tmp_path, {"id": "a"}), EXAMPLES)
    with pytest.raises(DataError, match=r"made\.jsonl:1: field 'id'"):
        read_elsewhere(written(tmp_path, {"text": "x"}), EXAMPLES)
    with pytest.raises(DataError, match=r"made\.jsonl:1: an elicited row, whose answer is the gold one"):
        read_elsewhere(written(tmp_path, {"id": "a", "answer": "barn", "rationales": []}), EXAMPLES)
    with pytest.raises(DataError, match=r"no line for 1 of 2 questions, e\.g\. 'b'"):
        read_elsewhere(written(tmp_path, {"id": "a", "text": "x"}), EXAMPLES)


def test_a_model_needs_to_be_told_how_it_is_walked(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="--strategy cot"):
        subject_of(str(tmp_path), EvaluateConfig(), lambda name: "digest")
    found = subject_of(str(tmp_path), EvaluateConfig(strategy="cot"), lambda name: "digest")
    assert found.card.strategy["name"] == "cot"
    assert found.folder.name.startswith("plain-cot-")
    other = subject_of(str(tmp_path), EvaluateConfig(strategy="cot"), lambda name: "other weights")
    assert other.card.key != found.card.key
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="not a finished run"):
        subject_of(str(tmp_path / "empty"), EvaluateConfig(), lambda name: "digest")
