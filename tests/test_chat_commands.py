"""Chat, from the command line: previewed, trained, evaluated and exported alike; never where it was not asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from cotdistill.students.load import load_student
from tests.in_process import Done, run
from tests.models import items
from tests.students.test_chat import CHATML, chat_student


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("chat")
    chat_student(CHATML).save(made / "base")
    (made / "rows.jsonl").write_text("".join(row.line() + "\n" for row in items(8)))
    questions = [row.model_dump(include={"id", "question", "choices", "answer"}) for row in items(4)]
    (made / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    for name, chat in (("chat", ["--chat"]), ("plain", [])):
        for strategy in ("cot", "post-cot"):
            done = run(
                "distill",
                str(made / "rows.jsonl"),
                "--student",
                str(made / "base"),
                *chat,
                "--steps",
                "2",
                "--strategy",
                strategy,
                "--device",
                "cpu",
                "--out",
                str(made / f"{name}-{strategy}"),
            )
            assert done.code == 0, done.err
    return made


def evaluate(folder: Path, *asked: str) -> Done:
    return run(
        "evaluate", *asked, "--data", str(folder / "questions.jsonl"), "--device", "cpu", "--max-new-tokens", "8"
    )


@pytest.mark.parametrize("name", ["chat", "plain"])
def test_a_student_is_saved_with_a_template_where_it_learned_one(name: str, folder: Path) -> None:
    words = load_student(str(folder / f"{name}-cot" / "student")).tokenizer
    assert bool(words.chat_template) == (name == "chat")
    assert not (folder / f"{name}-cot" / "student" / "chat_template.jinja").exists() or name == "chat"


def test_preview_shows_what_distill_trains_on(folder: Path) -> None:
    asked = ("preview", str(folder / "rows.jsonl"), "--student", str(folder / "base"))
    shown = json.loads(run(*asked, "--chat").out)
    assert "".join(shown["tokens"]).startswith("<|im_start|>user\nWhere would you find a drill?")
    done = run(*asked, "--config", str(folder / "chat-cot" / "run.json"))
    assert done.code == 0, done.err
    by_config = json.loads(done.out)
    assert by_config["ids"] == shown["ids"] != json.loads(run(*asked).out)["ids"]


def test_a_plain_model_is_asked_in_its_template(folder: Path) -> None:
    asked = (str(folder / "base"), "--strategy", "cot")
    found = {}
    for name, options in (("chat", ["--chat"]), ("plain", [])):
        done = evaluate(folder, *asked, *options, "--out", str(folder / f"asked-{name}"))
        assert done.code == 0, done.err
        lines = (folder / f"asked-{name}" / "predictions" / "questions.jsonl").read_text().splitlines()
        found[name] = [json.loads(line) for line in lines]
    assert [line.get("forwarded") for line in found["chat"]] != [line.get("forwarded") for line in found["plain"]]
    done = evaluate(folder, str(folder / "chat-cot"), "--chat")
    assert (done.code, done.errors) == (
        2,
        [f"error: --chat: {folder / 'chat-cot'} is a run, whose use of the chat template is known; omit --chat"],
    )


@pytest.mark.parametrize("strategy", ["cot", "post-cot"])
@pytest.mark.parametrize("name", ["chat", "plain"])
def test_the_harness_asks_what_the_walk_asks(name: str, strategy: str, folder: Path, tmp_path: Path) -> None:
    place = folder / f"{name}-{strategy}"
    done = evaluate(folder, str(place), "--score", "choices", "--export", "lm-eval", str(tmp_path))
    assert done.code == 0, done.err
    student = load_student(str(place / "student"), chat=name == "chat")
    for kind in ("choices", "walk"):
        about: dict[str, Any] = yaml.safe_load(next(tmp_path.glob(f"*-{kind}.yaml")).read_text())
        rows = [json.loads(line) for line in next(tmp_path.glob(f"*-{kind}.jsonl")).read_text().splitlines()]
        assert len(rows) == 4
        for row in rows:
            assert row["prompt"].startswith("<|im_start|>user\n") == (name == "chat")
            assert row["prompt"].count("<|im_start|>assistant\n") == (name == "chat")
        assert ("<|im_end|>" in str(about)) == (name == "chat" and kind == "walk")
        if kind == "choices":
            first = rows[0]["prompt"] + about["target_delimiter"] + rows[0]["choices"][0]
            ids = student.tokenizer(first, add_special_tokens=False)["input_ids"]
            head = student.tokens.before if name == "chat" else []
            assert ids[: len(head)] == head
            assert student.tokenizer.decode(ids) == first
            assert about["target_delimiter"] == ("" if name == "chat" and strategy == "post-cot" else " ")
