"""Rationales made elsewhere: each kind of file is told apart, read, and refused where it is not
understood."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cotdistill.config import ElicitConfig
from cotdistill.data.importers import read_recordings
from cotdistill.data.records import Example
from cotdistill.errors import DataError
from cotdistill.teachers.recorded import from_recordings, from_row

DRILL = Example(id="1", question="Where is a drill?", choices=("shed", "pond", "sky"), answer="shed", task="t")
SPOON = Example(id="2", question="Where is a spoon?", choices=("drawer", "pond", "sky"), answer="drawer", task="t")
PAIR = [DRILL, SPOON]


def write(folder: Path, rows: Any, name: str = "rows.json", lines: bool = False) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows) if lines else json.dumps(rows, indent=1))
    return file


def judged(file: Path, counterfactual: bool = False) -> list[list[tuple[str, str, str | None, str]]]:
    return [
        [(r.kind, r.text, r.answer, r.label) for r in found]
        for found in from_recordings(PAIR, read_recordings(file), ElicitConfig(counterfactual=counterfactual))
    ]


def test_stored_verdicts_are_never_trusted(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        [
            {
                "id": "1",
                "teacher": "big",
                "samples": [
                    {"text": "Tools lie in sheds. So the answer is shed.", "answer": "pond", "correct": False},
                    {"text": "It floats. So the answer is pond.", "answer": "shed", "correct": True},
                ],
            }
        ],
        lines=True,
    )
    assert judged(file) == [
        [("factual", "Tools lie in sheds.", "shed", "keep"), ("factual", "It floats.", "pond", "wrong")],
        [],
    ]
    assert judged(file, counterfactual=True)[0][1] == ("counterfactual", "It floats.", "pond", "keep")


def test_scott_files_hold_the_answer_that_was_explained(tmp_path: Path) -> None:
    rows = [
        {
            "id": "1",
            "answer": "shed",
            "question": DRILL.question,
            "choices": "(A) shed (B) pond (C) sky",
            "explanation": "Tools lie in sheds.",
        },
        {
            "id": "2",
            "answer": "pond",
            "question": SPOON.question,
            "choices": "(A) drawer (B) pond (C) sky",
            "explanation": ["It is wet.", "It swims."],
        },
    ]
    assert judged(write(tmp_path, rows, "train.counterfactual.jsonl", lines=True)) == [
        [("factual", "Tools lie in sheds.", "shed", "keep")],
        [("counterfactual", "It is wet.", "pond", "keep"), ("counterfactual", "It swims.", "pond", "keep")],
    ]


def test_scott_statements(tmp_path: Path) -> None:
    row = {"id": "s", "answer": "false", "statement": "Fish fly.", "explanation": "They swim."}
    question = Example(id="s", question="Fish fly.", choices=("true", "false"), answer="true", task="creak")
    recordings = read_recordings(write(tmp_path, [row], "train.jsonl", lines=True))
    [[rationale]] = from_recordings([question], recordings, ElicitConfig())
    assert (rationale.kind, rationale.answer) == ("counterfactual", "false")


def test_cascod_files_are_joined_by_the_question(tmp_path: Path) -> None:
    rows = [
        {
            "task_description": "Choose.",
            "task_name": "places",
            "output": "(A)",
            "instruction": "Where is a drill?\nOptions:\n(A) shed\n(B) pond\n(C) sky",
            "response": "Tools lie in sheds. Therefore, the answer is (A).",
        },
        {
            "task_description": "Choose.",
            "task_name": "places",
            "output": "(A)",
            "instruction": SPOON.question,
            "response": "It is wet. Therefore, the answer is (B).",
        },
    ]
    assert judged(write(tmp_path, rows)) == [
        [("factual", "Tools lie in sheds.", "shed", "keep")],
        [("factual", "It is wet.", "pond", "wrong")],
    ]


def test_edit_files_hold_a_right_and_a_wrong_chain(tmp_path: Path) -> None:
    rows = [
        {
            "input": f"Task Description:\nChoose.\nQ:{DRILL.question}\n\nA:",
            "chosen": "Tools lie in sheds. Therefore, the answer is (A).",
            "rejected": "Tools float. Therefore, the answer is (B).",
        }
    ]
    assert judged(write(tmp_path, rows), counterfactual=True) == [
        [("factual", "Tools lie in sheds.", "shed", "keep"), ("counterfactual", "Tools float.", "pond", "keep")],
        [],
    ]


def test_step_by_step_files_are_joined_by_place(tmp_path: Path) -> None:
    texts = ["Tools lie in sheds. So the answer is (a) shed.\n\nQ: What now?\nA: x. So the answer is (b) y."]
    folder = "datasets/cqa/llm"
    write(tmp_path, texts, f"{folder}/train_CoT_0.json")
    later = write(tmp_path, ["It is wet. So the answer is (b) pond."], f"{folder}/train_CoT_1.json")
    assert judged(tmp_path / folder / "train_CoT_0.json") == [[("factual", "Tools lie in sheds.", "shed", "keep")], []]
    assert judged(later) == [[], [("factual", "It is wet.", "pond", "wrong")]]
    assert next(iter(read_recordings(later).by_place.values())).teacher == "cqa"


def test_texts_at_the_wrong_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only 0 of 2 texts answer the question at their position"):
        judged(write(tmp_path, ["Nothing said.", "Nothing at all."], "train_CoT_0.json"))


SAID = "It is wet. So the answer is (b) pond."


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "contains no rows"),
        ("", "contains no rows"),
        (json.dumps([SAID, 5]), ":1: a int in a list of texts"),
        (json.dumps([SAID, None]), ":1: a NoneType in a list of texts"),
        (json.dumps([SAID, [SAID]]), ":1: a list in a list of texts"),
        (json.dumps([SAID, {"text": SAID}]), ":1: a dict in a list of texts"),
        (json.dumps([SAID, SAID, SAID]), "a text at position 2, but there are 2 questions"),
        (json.dumps(["", "  "]), "only 0 of 2 texts answer the question at their position"),
        (json.dumps(["yes", "no"]), "only 0 of 2 texts answer the question at their position"),
        (json.dumps({"0": SAID}), "is not in a known recording format"),
        (json.dumps(SAID)[:-1], ":1: malformed JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("5", "is not in a known recording format"),
    ],
)
def test_a_file_of_texts_that_is_none_is_named(content: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "x_CoT_0.json"
    file.write_text(content)
    with pytest.raises(DataError, match=re.escape(said)) as raised:
        judged(file)
    assert "x_CoT_0.json" in str(raised.value)


@pytest.mark.parametrize(
    ("rows", "lines", "said"),
    [
        (
            [{"id": "1", "samples": [{"text": "a"}]}, {"id": "2", "samples": [{"words": "b"}]}],
            True,
            r":2: a sample without text",
        ),
        ([{"id": "1", "samples": []}, {"id": "1", "samples": []}], True, r":2: duplicate id '1', first on line 1"),
        (
            [{"id": "1", "answer": "shed", "explanation": "x", "question": "q"}, {"id": "2", "answer": "x"}],
            True,
            r":2: a row in another format than the first",
        ),
        (
            [{"id": "1", "answer": "shed", "explanation": "", "question": "q"}],
            True,
            r":1: .*'explanation' contains no text",
        ),
        (
            [{"instruction": "q", "response": "a"}, {"instruction": "q", "response": 3}],
            False,
            r":6: the field 'response' contains no text",
        ),
        ([{"input": "q", "chosen": "a", "rejected": "b"}], False, r":2: the field 'input' is not"),
        ([{"name": "x"}], True, r":1: is not in a known recording format \(its fields: name\)"),
        (["a text"], False, "requires the file name SPLIT_CoT_N"),
        ([], False, "contains no rows"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_place(rows: Any, lines: bool, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        read_recordings(write(tmp_path, rows, lines=lines))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[\n {"instruction": "q",\n  "response": "a"},\n {"instruction": }\n]', r"rows\.json:4: malformed JSON"),
        ('[{"instruction": "q", "response": "a"}', "is incomplete after"),
    ],
)
def test_broken_arrays_name_their_line(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(text)
    with pytest.raises(DataError, match=said):
        read_recordings(tmp_path / "rows.json")


def test_an_answer_that_is_no_choice_is_refused(tmp_path: Path) -> None:
    rows = [{"id": "1", "answer": "moon", "question": DRILL.question, "explanation": "It is far."}]
    with pytest.raises(DataError, match=r":1: explains the answer 'moon', which is not one of the choices"):
        judged(write(tmp_path, rows, lines=True))


def test_recordings_of_other_questions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of its rows belongs to one of the 2 questions"):
        judged(write(tmp_path, [{"id": "9", "samples": [{"text": "x"}]}], lines=True))


def test_a_rows_own_rationale_argues_for_gold() -> None:
    row = DRILL.model_copy(update={"rationale": "Tools lie in sheds."})
    [rationale] = from_row(row)
    assert (rationale.answer, rationale.correct, rationale.label, rationale.teacher) == ("shed", None, "keep", "rows")
    assert from_row(DRILL) == []
