"""What teachers said, in the files of other tools, on the command line; and rows that cannot be read, skipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.in_process import Done, run

QUESTION = "Where is a drill kept?"
DATA = [
    {"id": "a", "question": QUESTION, "choices": ["shed", "pond"], "answer": "shed"},
    {"id": "b", "question": "Where is a spoon kept?", "choices": ["pond", "drawer"], "answer": "drawer"},
]
SAID = "Tools lie in sheds. So the answer is shed."
KEPT = [("factual", "Tools lie in sheds.", "shed", "keep")]
USER = {"role": "user", "content": QUESTION}
ANSWER = {"role": "assistant", "content": SAID}
BATCH = {
    "id": "batch_1",
    "custom_id": "a",
    "error": None,
    "response": {"status_code": 200, "body": {"model": "gpt-x", "choices": [{"index": 0, "message": ANSWER}]}},
}
LM_EVAL = {
    "doc_id": 0,
    "doc": {"question": QUESTION, "n": 1},
    "target": "shed",
    "arguments": {},
    "resps": [[SAID]],
    "filtered_resps": ["shed"],
    "acc": 1.0,
}


def write(path: Path, rows: list[Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def recorded(folder: Path, rows: list[Any], *args: str, data: list[Any] = DATA) -> tuple[Done, list[Any]]:
    """`elicit --teacher recorded:FILE`: what it said, and each question's (kind, text, answer, label)s."""
    out = folder / "made.jsonl"
    done = run(
        "elicit",
        "--data",
        write(folder / "q.jsonl", data),
        "--teacher",
        f"recorded:{write(folder / 'said.jsonl', rows)}",
        *args,
        "-o",
        str(out),
    )
    made = [json.loads(line) for line in out.read_text().split("\n") if line] if out.exists() else []
    return done, [[(r["kind"], r["text"], r["answer"], r["label"]) for r in row["rationales"]] for row in made]


@pytest.mark.parametrize(
    "row",
    [
        {"id": "a", "samples": [{"text": SAID}]},
        {"id": "a", "text": SAID, "note": 1},
        {
            **DATA[0],
            "task": "t",
            "split": None,
            "rationales": [
                {"kind": "factual", "text": "Tools lie in sheds.", "answer": "shed", "label": "wrong", "teacher": "t"}
            ],
        },
        {"messages": [{"role": "system", "content": "Think."}, USER, ANSWER]},
        {"messages": [USER, {"role": "assistant", "content": [{"type": "text", "text": SAID}]}]},
        {"messages": [{"role": "user", "content": f"Please answer.\n{QUESTION}\n(a) shed"}, ANSWER], "id": "a"},
        {"conversations": [{"from": "human", "value": QUESTION}, {"from": "gpt", "value": SAID}]},
        {"instruction": QUESTION, "input": "", "output": SAID},
        {"instruction": "Answer the question.", "input": QUESTION, "output": SAID},
        {"instruction": "Where is", "input": "a drill kept?", "output": SAID},
        {"problem": QUESTION, "solution": "x", "answer": "shed", "generations": [SAID], "uuid": "u"},
        {"prompt": QUESTION, "completion": SAID},
        {"prompt": [USER], "completion": [ANSWER]},
        {"input": QUESTION, "label": "shed", "rationale": "Tools lie in sheds."},
        {
            "input": f"{QUESTION}\nAnswer Choices:\n(a) shed\n(b) pond",
            "label": "pond",
            "llm_label": "shed",
            "rationale": "Tools lie in sheds.",
        },
        BATCH,
        {
            "custom_id": "a",
            "result": {"type": "succeeded", "message": {"model": "c", "content": [{"type": "text", "text": SAID}]}},
        },
        LM_EVAL,
        {**LM_EVAL, "doc": {"id": "a", "prompt": f"Q: {QUESTION}"}},
    ],
    ids=lambda row: "-".join(row)[:40],
)
def test_recordings_of_other_tools(row: dict[str, Any], tmp_path: Path) -> None:
    done, made = recorded(tmp_path, [row])
    assert (done.code, made) == (0, [KEPT, []]), done.err


def test_several_rows_of_a_question_are_joined(tmp_path: Path) -> None:
    rows = [{"messages": [USER, ANSWER]}, {"messages": [USER, {**ANSWER, "content": "It floats. The answer is pond."}]}]
    _, made = recorded(tmp_path, rows)
    assert made == [[*KEPT, ("factual", "It floats.", "pond", "wrong")], []]


def test_failed_requests_leave_their_question_without_a_rationale(tmp_path: Path) -> None:
    failed = {"id": "r", "custom_id": "b", "response": {"status_code": 500, "body": {"error": {}}}, "error": None}
    done, made = recorded(tmp_path, [BATCH, failed])
    assert (done.code, made) == (0, [KEPT, []])


def test_a_number_is_not_an_id_where_the_words_are_others(tmp_path: Path) -> None:
    """Many files count from 0: a chat about something else is not this question's."""
    data = [{**DATA[0], "id": "0"}, {**DATA[1], "id": "1"}]
    rows = [
        {"id": 0, "messages": [USER, ANSWER]},
        {"id": 1, "messages": [{"role": "user", "content": "What is 1 + 1?"}, ANSWER]},
    ]
    assert recorded(tmp_path, rows, data=data)[1] == [KEPT, []]


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ({"uid": "a", "out": {"text": SAID}}, "id=uid,text=out.text"),
        ({"q": QUESTION, "out": [SAID]}, "question=q,text=out"),
        ({"q": QUESTION, "out": [SAID], "id": 7}, "question=q,rationale=out"),
        (
            {"id": 7, "response": {"body": {"choices": [{"message": ANSWER}]}}, "key": "a"},
            "id=key,text=response.body.choices.0.message.content",
        ),
    ],
)
def test_recordings_under_a_map(row: dict[str, Any], columns: str, tmp_path: Path) -> None:
    done, made = recorded(tmp_path, [row], "--map", columns)
    assert (done.code, made) == (0, [KEPT, []]), done.err


def test_one_map_for_questions_and_recordings(tmp_path: Path) -> None:
    rows = [{"problem": QUESTION, "key": "shed", "generated": [SAID]}]
    done, made = recorded(tmp_path, rows, "--map", "question=problem,answer=key,text=generated", data=rows)
    assert (done.code, made) == (0, [KEPT]), done.err


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"messages": [USER]}, ":1: the messages contain no question and answer; a row is "),
        ({"messages": "x"}, ":1: the field 'messages' is not a list; a row is "),
        ({**LM_EVAL, "resps": [[[-1.5, False]]]}, ":1: the field 'resps' contains log-likelihoods, not texts"),
        ({"problem": "p", "generations": [None]}, ":1: the field 'generations' contains no text"),
        ({"custom_id": "a", "response": {"body": {"choices": 3}}}, ":1: the field 'choices' is not a list"),
        ({"custom_id": "a", "result": 3}, ":1: the field 'result' is not a mapping"),
        ({"name": "x"}, ":1: is not in a known recording format (its fields: name)"),
    ],
)
def test_recordings_that_are_not_understood(row: dict[str, Any], said: str, tmp_path: Path) -> None:
    done, made = recorded(tmp_path, [row])
    assert (done.code, len(done.errors), made) == (3, 1, []), done.err
    assert said in done.errors[0]


GOOD = [
    {"id": str(at), "question": f"Is {at} so?", "choices": None, "answer": "x", "rationale": "So."} for at in range(9)
]


@pytest.mark.parametrize(
    "bad", ['{"id": "z"', '{"id": "z", "question": "q"}', "[1]", "\x00", '{"id": "3", "question": "q", "answer": "x"}']
)
def test_bad_rows_stop_or_are_skipped(bad: str, tmp_path: Path) -> None:
    path, out = tmp_path / "q.jsonl", tmp_path / "out.jsonl"
    path.write_text("\n".join([*map(json.dumps, GOOD[:4]), bad, *map(json.dumps, GOOD[4:])]) + "\n")
    args = ["elicit", "--data", str(path), "--teacher", "rows", "-o", str(out)]
    stopped = run(*args)
    assert (stopped.code, len(stopped.errors), out.exists()) == (3, 1, False)
    assert stopped.errors[0].startswith(f"error: {path}:5: ")
    skipped = run(*args, "--bad-rows", "skip")
    assert (skipped.code, len(out.read_text().splitlines())) == (0, 9), skipped.err
    assert f"skipped: {path}:5: " in skipped.err
    assert f"{path}: 1 of 10 rows were skipped" in skipped.err
    out.unlink()
    refused = run(*args, "--bad-rows", "skip", "--max-bad-rows", "0.05")
    assert (refused.code, out.exists()) == (3, False)
    assert refused.errors[0].endswith("(1 of 10 rows are bad, more than --max-bad-rows 0.05)")


def test_bad_recordings_are_skipped(tmp_path: Path) -> None:
    rows = [
        {"messages": [USER, ANSWER]},
        *({"messages": [{**USER, "content": str(at)}, ANSWER]} for at in range(4)),
        {"messages": []},
    ]
    assert recorded(tmp_path, rows)[0].code == 3
    done, made = recorded(tmp_path, rows, "--bad-rows", "skip")
    assert (done.code, made) == (0, [KEPT, []])
    assert ":6: the messages contain no question and answer" in done.err


def test_texts_by_place_do_not_outnumber_the_questions(tmp_path: Path) -> None:
    """Distilling Step-by-Step's texts have no ids: rows that they were not recorded on are noticed by their number."""
    said = tmp_path / "train_CoT_0.json"
    texts = [f"It lies there. So the answer is {word}." for word in ("shed", "drawer", "pond")]
    said.write_text(json.dumps(texts, indent=1))
    args = ["elicit", "--data", write(tmp_path / "q.jsonl", DATA), "--teacher", f"recorded:{said}"]
    refused = run(*args)
    assert (refused.code, len(refused.errors), refused.out) == (3, 1, "")
    assert f"{said}:4: a text at position 2, but there are 2 questions" in refused.errors[0]
    assert run(*args, "--limit", "2").code == 0
