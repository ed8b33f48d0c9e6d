"""Chat templates of teachers: the question arrives in the prompt, or the run ends in one line."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from tests.in_process import Done, run
from tests.models import student

TURNS = "{% for m in messages %}[{{ m.role }}] CONTENT\n{% endfor %}[assistant]"
PARTS = "{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}"
EITHER = "{% if m.content is string %}{{ m.content | trim }}{% else %}" + PARTS + "{% endif %}"
STRICT = "{% if m.content is string %}{{ raise_exception('content must be a list') }}{% endif %}" + PARTS
ADDED = "{% for part in m.content %}{{ '<text>' + part['text'] }}{% endfor %}"  # raises on a string


def dry_run(folder: Path, content: str) -> Done:
    model = student("llama", width=16, layers=1)
    model.tokenizer = copy.deepcopy(model.tokenizer)  # tests share one
    model.tokenizer.chat_template = TURNS.replace("CONTENT", content)
    model.save(folder / "teacher")
    question = {"id": "q", "question": "Is 7 a prime\n\nnumber?", "choices": ["yes", "no"], "answer": "yes"}
    (folder / "rows.jsonl").write_text(json.dumps(question) + "\n")
    return run(
        "elicit",
        "--teacher",
        str(folder / "teacher"),
        "--data",
        str(folder / "rows.jsonl"),
        "--shots",
        "0",
        "--device",
        "cpu",
        "--dry-run",
    )


@pytest.mark.parametrize("content", ["{{ m.content }}", "{{ m['content'] | trim }}", PARTS, EITHER, STRICT, ADDED])
def test_the_question_is_in_the_prompt_whatever_the_template_wants(content: str, tmp_path: Path) -> None:
    done = dry_run(tmp_path, content)
    assert done.code == 0, done.err
    prompt = json.loads(done.out)["dry_run"]["prompt"]
    assert prompt.startswith("[user]")
    assert "Is 7 a prime\n\nnumber?" in prompt
    assert "'type'" not in prompt


@pytest.mark.parametrize("content", ["", "{{ m.content[:9] }}", "{{ m.content | upper }}", "{{ m.text }}"])
def test_a_template_that_loses_the_question_is_refused(content: str, tmp_path: Path) -> None:
    done = dry_run(tmp_path, content)
    assert done.code == 2
    assert done.errors == [
        f"error: the chat template of {tmp_path / 'teacher'} changes or loses its messages; use --chat off"
    ]
