"""Chat-tuned students: the template wraps the source, the target is the assistant's turn, nothing is added
silently.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from cotdistill.decoding.decode import Decoder
from cotdistill.decoding.text_walk import steps_of
from cotdistill.decoding.walk import walk
from cotdistill.errors import UsageError
from cotdistill.strategies.forms import FillContext
from cotdistill.strategies.join import join
from cotdistill.strategies.registry import create
from cotdistill.students.encode import Encoder
from cotdistill.students.student import Student
from cotdistill.training.objective import training_encoder
from cotdistill.training.train import Loop
from tests.models import items, student
from tests.training.test_training_options import config

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Like Qwen3's: rendering a finished turn brings markers that nobody wrote; the generation prompt has none.
THINKING = CHATML.replace(
    "{{ message.content }}",
    "{% if message.role == 'assistant' %}<think>\n\n</think>\n\n{% endif %}{{ message.content }}",
)
OPENED = CHATML.replace("<|im_start|>assistant\n{% endif %}", "<|im_start|>assistant\n<think>\n{% endif %}")


def chat_student(template: str, family: str = "gpt2") -> Student:
    plain = student(family, width=64)
    words = deepcopy(plain.tokenizer)
    words.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    words.chat_template = template
    plain.model.resize_token_embeddings(len(words))
    return Student(plain.model, words, chat=True)


@pytest.mark.parametrize(("template", "adds"), [("{{ bos_token }}" + CHATML, False), (CHATML, True)])
def test_a_prompt_s_text_has_no_special_token_that_the_tokenizer_adds(template: str, adds: bool) -> None:
    pupil, row, form = chat_student(template, "llama"), items(1)[0], create("cot").form("cot")
    (step, *_) = steps_of([form], row.example().text(), pupil.tokens.around_prompt)
    assert pupil.tokens.adds_to_template is adds
    ids = pupil.tokenizer(step.prompt, add_special_tokens=not adds)["input_ids"]
    trained, special = pupil.encoder().prompt(form, row.example(), {})[1], set(pupil.tokenizer.all_special_ids)
    assert [one for one in ids if one in special] == [one for one in trained if one in special]
    assert ids.count(pupil.tokenizer.bos_token_id) == (not adds)


def encoded(pupil: Student, name: str, rows: Any) -> tuple[Encoder, Any]:
    strategy = create(name)
    encoder = training_encoder(pupil)
    data = encoder.encode(join(rows, strategy)[0], strategy, FillContext(0, pupil.tokens.segment))
    return encoder, data


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_sequence_is_the_rendered_conversation(family: str) -> None:
    pupil, row = chat_student(CHATML, family), items(1)[0]
    _, data = encoded(pupil, "cot", [row])
    tree = data.samples[0][0]
    words = pupil.tokenizer
    target = f"{row.rationales[0].text} So the answer is {row.answer}"
    turns = [{"role": "user", "content": f"{row.example().text()}\nReason:"}, {"role": "assistant", "content": target}]
    asked = words.apply_chat_template(turns[:1], tokenize=False, return_dict=False, add_generation_prompt=True)
    scored = words.decode(tree.tokens)
    assert scored == target + "<|im_end|>"  # no leading blank, and the template's stop
    prompt = words.decode(tree.ids[: int(tree.positions[0]) + 1])
    blanks = "" if family == "llama" else " "  # its tokenizer puts a blank behind every special token
    assert prompt.replace(" ", blanks) == asked.replace(" ", blanks)
    assert int(tree.tokens[-1]) == words.convert_tokens_to_ids("<|im_end|>") == pupil.tokens.stop


def test_thinking_markers_are_never_added_silently(capsys: pytest.CaptureFixture[str]) -> None:
    pupil = chat_student(THINKING)
    _, data = encoded(pupil, "cot", items(1))
    assert "think" not in pupil.tokenizer.decode(data.samples[0][0].ids)
    assert "think" not in capsys.readouterr().err
    opened = chat_student(OPENED)
    _, data = encoded(opened, "cot", items(1))
    assert "<think>" in opened.tokenizer.decode(data.samples[0][0].ids)  # as the template is written, and said
    assert "<think>" in capsys.readouterr().err


def test_no_template_and_templates_that_change_the_text_are_refused() -> None:
    plain = student("gpt2")
    with pytest.raises(UsageError, match="no chat template"):
        Student(plain.model, plain.tokenizer, chat=True)
    with pytest.raises(UsageError, match="changes or loses"):
        chat_student(CHATML.replace("{{ message.content }}", "{{ message.content | upper }}"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cot", "cascod", "post-cot"])
def test_a_chat_student_learns_and_walks_back_its_answers(name: str, tmp_path: Any) -> None:
    pupil, rows = chat_student(CHATML), items(8)
    encoder, data = encoded(pupil, name, rows)
    Loop(pupil, data, config(steps=150, batch_size=8, lr=3e-3, weight_decay=0.0), tmp_path).run()
    walked = walk(Decoder(pupil), encoder, create(name), [row.example() for row in rows])
    assert [found.answer for found in walked] == [row.answer for row in rows]
    assert all(found.finished for found in walked)
    filled = [{"rationale": row.rationales[0].text} for row in rows]  # an intervention opens the turn as well
    again = walk(Decoder(pupil), encoder, create(name), [row.example() for row in rows], filled)
    assert [found.answer for found in again] == [row.answer for row in rows]
