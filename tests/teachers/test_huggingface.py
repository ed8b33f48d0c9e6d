"""The local teacher against SCOTT's loop written out plainly, its stops, its samples, its chats."""

from __future__ import annotations

import copy
import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from cotdistill.config import ElicitConfig
from cotdistill.data.tasks import load_examples
from cotdistill.data.wrong_answers import wrong_answer, wrong_choices
from cotdistill.decoding.decode import Choice, Prompt
from cotdistill.eliciting import elicit
from cotdistill.errors import UsageError
from cotdistill.students.load import load_student
from cotdistill.students.student import Student
from cotdistill.teachers.drain import Drain
from cotdistill.teachers.huggingface import Desk, HuggingFaceTeacher, TeacherSession, log_probabilities
from cotdistill.teachers.prompts import PromptTemplate
from tests.models import student

CHAT = "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}[assistant]"
ROWS = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher whose logits are far apart, so that 1e-6 of another batch cannot change a token."""
    made = student("llama", width=32, layers=2)
    with torch.no_grad():
        made.model.get_output_embeddings().weight.mul_(8)
    place = tmp_path_factory.mktemp("teacher")
    made.save(place)
    return place


def run(folder: Path, out: Path, **changes: Any) -> list[dict[str, Any]]:
    options = {
        "teacher": str(folder),
        "limit": ROWS,
        "keep": "all",
        "out": out,
        "shots": 0,
        "device": "cpu",
        "max_new_tokens": 16,
    }
    elicit(ElicitConfig.build(None, **{**options, **changes}))
    return [json.loads(line) for line in out.read_text().splitlines()]


def texts(rows: list[dict[str, Any]]) -> list[str]:
    return [rationale["text"] for row in rows for rationale in row["rationales"]]


def plain_loop(model: Student, supported: str, perturbed: str | None, lam: float, limit: int) -> str:
    """One row at a time, whole prompts, no cache: log p1 - lam * log p2, both stop rules, text cut before the
    stop."""
    words, new = model.tokenizer, list[int]()
    first = words(supported)["input_ids"]
    second = words(perturbed)["input_ids"] if perturbed is not None else None

    def log_p(ids: list[int]) -> torch.Tensor:
        with torch.inference_mode():
            return model.model(torch.tensor([ids + new])).logits[0, -1].float().log_softmax(-1)

    def is_stop(token: int) -> bool:
        return token == words.eos_token_id or "\n\n" in words.decode([*new, token], skip_special_tokens=True)

    while len(new) < limit:
        score = log_p(first)
        if is_stop(int(score.argmax())):
            break
        if second is not None:
            score = score - lam * log_p(second)
        token = int(score.argmax())
        if is_stop(token):
            break
        new.append(token)
    return str(words.decode(new, skip_special_tokens=True)).strip()


@pytest.mark.parametrize(
    ("decode", "contrast", "lam"),
    [
        ("greedy", "wrong", 0.5),
        ("contrastive", "wrong", 0.5),
        ("contrastive", "empty", 0.5),
        ("contrastive", "wrong", 0.9),
        ("contrastive", "wrong", 0.0),
    ],
)
def test_the_texts_are_those_of_the_plain_loop(
    decode: str, contrast: str, lam: float, folder: Path, tmp_path: Path
) -> None:
    rows = run(
        folder,
        tmp_path / "rows.jsonl",
        decode=decode,
        contrast=contrast,
        lambda_=lam,
        hint="gold",
        counterfactual=True,
        batch_size=4,
    )
    model, template = load_student(str(folder)), PromptTemplate()
    expected = []
    for example in load_examples("demo", limit=ROWS):
        gold, wrong = example.answer, wrong_answer(example)
        for supports, against in ((gold, wrong), (wrong, gold)):
            perturbed = None if decode == "greedy" else template.render(example, "" if contrast == "empty" else against)
            expected.append(plain_loop(model, template.render(example, supports), perturbed, lam, 16))
    assert [text.strip() for text in texts(rows)] == expected
    answers = [[rationale["answer"] for rationale in row["rationales"]] for row in rows]
    assert answers == [[e.answer, wrong_answer(e)] for e in load_examples("demo", limit=ROWS)], "flipped exactly once"


def test_lambda_0_is_greedy_and_the_contrast_changes_something(folder: Path, tmp_path: Path) -> None:
    greedy = texts(run(folder, tmp_path / "a.jsonl", hint="gold"))
    assert texts(run(folder, tmp_path / "b.jsonl", decode="contrastive", lambda_=0.0)) == greedy
    assert texts(run(folder, tmp_path / "c.jsonl", decode="contrastive", lambda_=0.5)) != greedy


def test_a_row_names_its_prompt(folder: Path, tmp_path: Path) -> None:
    [row] = run(folder, tmp_path / "rows.jsonl", limit=1, hint="gold")
    [example] = load_examples("demo", limit=1)
    rendered = PromptTemplate().render(example, example.answer)
    assert row["rationales"][0]["prompt"] == hashlib.sha256(rendered.encode()).hexdigest()


def merging_tokenizer() -> Any:
    """Byte-BPE that has learned ".\\n\\n" as one token."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(
        ["one.\n\ntwo.\n\nthree.\n\nfour.\n\n"] * 20,
        trainers.BpeTrainer(
            vocab_size=300,
            special_tokens=["<|end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|end|>", pad_token="<|end|>")


@pytest.mark.parametrize(
    ("pieces", "kept"),
    [
        (["A", "b", ".\n\n"], "Ab"),
        (["A", "\n", "\n"], "A"),
        (["A", "\n", " ", "\n"], "A"),
        (["A", "<|end|>"], "A"),
        (["\n\n"], ""),
    ],
)
def test_the_stop_is_found_in_the_text(pieces: list[str], kept: str) -> None:
    words = merging_tokenizer()
    if ".\n\n" in pieces:
        assert len(words(".\n\n")["input_ids"]) == 1, "the tokenizer merges the stop into the full stop"
    session, replies = a_session(words)
    pushed: list[int] | None = []
    for piece in pieces:
        ids = words(piece)["input_ids"] if piece != "<|end|>" else [words.eos_token_id]
        for token in ids:
            pushed = session.push(Choice(token, token))
            if pushed is None:
                break
    assert pushed is None
    assert [(reply.text, reply.finished) for reply in replies] == [(kept, True)]


def test_it_stops_where_the_first_context_alone_would(folder: Path) -> None:
    words = merging_tokenizer()
    session, replies = a_session(words)
    [letter], [stop] = words("A")["input_ids"], words(".\n\n")["input_ids"]
    assert session.push(Choice(letter, letter)) == [letter]
    assert session.push(Choice(letter, stop)) is None
    assert replies[0].text == "A"


def test_a_chat_goes_on_after_a_blank_line() -> None:
    words = merging_tokenizer()
    session, replies = a_session(words, until_blank_line=False)
    for piece in ("A", "\n\n", "B"):
        for token in words(piece)["input_ids"]:
            assert session.push(Choice(token, token)) is not None
    assert session.push(Choice(words.eos_token_id, words.eos_token_id)) is None
    assert replies[0].text == "A\n\nB"


def a_session(words: Any, until_blank_line: bool = True) -> tuple[TeacherSession, list[Any]]:
    model = student("gpt2", width=8, layers=1)
    model = Student(model.model, words)
    replies: list[Any] = []
    return TeacherSession(
        model, [Prompt([5])], 50, until_blank_line, Desk(Drain()), random.Random(0), replies.append
    ), replies


def test_samples_depend_on_seed_and_row_and_not_on_the_batch(folder: Path, tmp_path: Path) -> None:
    settings = {"decode": "sample", "samples": 3, "hint": "gold", "temperature": 2.0}
    one = run(folder, tmp_path / "a.jsonl", batch_size=1, **settings)
    assert run(folder, tmp_path / "b.jsonl", batch_size=7, **settings) == one
    assert texts(run(folder, tmp_path / "c.jsonl", seed=1, **settings)) != texts(one)
    assert len(set(texts(one))) > 2 * ROWS
    assert [r["decoding"]["sample"] for r in one[0]["rationales"]] == [0, 1, 2]


def test_the_hardest_wrong_answer_is_the_likeliest_one(folder: Path, tmp_path: Path) -> None:
    rows = run(folder, tmp_path / "rows.jsonl", counterfactual=True, wrong="hardest", hint="gold")
    model, template = load_student(str(folder)), PromptTemplate()
    for row, example in zip(rows, load_examples("demo", limit=ROWS), strict=True):
        likely = {}
        for answer in wrong_choices(example):
            ids = model.tokenizer(template.render(example, answer))["input_ids"]
            with torch.inference_mode():
                steps = model.model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
            likely[answer] = float(steps.gather(-1, torch.tensor(ids[1:])[:, None]).sum())
        assert row["rationales"][1]["answer"] == max(likely, key=lambda answer: likely[answer])


def test_log_probabilities_of_a_padded_batch_are_those_of_single_sequences(folder: Path) -> None:
    model = load_student(str(folder))
    start = [1, 40, 41, 42]
    ends = [[50], [51, 52, 53], [50, 54]]
    found = log_probabilities(model, start, [start + end for end in ends])
    for end, value in zip(ends, found, strict=True):
        with torch.inference_mode():
            steps = model.model(torch.tensor([start + end])).logits[0].log_softmax(-1)
        alone = sum(float(steps[len(start) - 1 + at, token]) for at, token in enumerate(end))
        assert value == pytest.approx(alone, abs=1e-3)


def test_all_wrong_answers(folder: Path, tmp_path: Path) -> None:
    for row in run(folder, tmp_path / "rows.jsonl", counterfactual=True, wrong="all", hint="gold"):
        argued = [r["answer"] for r in row["rationales"] if r["kind"] == "counterfactual"]
        assert sorted(argued) == sorted(set(row["choices"]) - {row["answer"]})


def test_rerank_picks_one_of_the_samples_by_the_contrastive_score(folder: Path, tmp_path: Path) -> None:
    settings = {"limit": 3, "temperature": 2.0, "hint": "gold"}
    sampled = run(folder, tmp_path / "a.jsonl", decode="sample", samples=4, **settings)
    best = run(folder, tmp_path / "b.jsonl", decode="rerank", samples=4, **settings)
    teacher = HuggingFaceTeacher(ElicitConfig.build(None, teacher=str(folder), device="cpu"))
    template = PromptTemplate()
    for row, candidates, example in zip(best, sampled, load_examples("demo", limit=3), strict=True):
        words = [rationale["text"] for rationale in candidates["rationales"]]
        prompts = [template.render(example, answer) for answer in (example.answer, wrong_answer(example))]
        scores = {}
        for text in words:
            supported, contrast = (teacher.rank(prompt, [" " + text])[0] for prompt in prompts)
            scores[text] = supported - 0.5 * contrast
        assert row["rationales"][0]["text"] in words
        assert row["rationales"][0]["decoding"]["samples"] == 4
        lengths = {text: scores[text] / 16 for text in words}  # all are cut at 16 tokens
        assert row["rationales"][0]["text"] == max(lengths, key=lambda text: lengths[text])


def test_an_instruction_tuned_teacher_is_asked_in_its_template(tmp_path: Path) -> None:
    model = student("llama", width=16, layers=1)
    model.tokenizer = copy.deepcopy(model.tokenizer)  # tests share one
    model.tokenizer.chat_template = CHAT
    model.save(tmp_path / "chat")
    teacher = HuggingFaceTeacher(ElicitConfig.build(None, teacher=str(tmp_path / "chat"), device="cpu"))
    assert teacher.style == "chat"
    asked = teacher.wrap("Why?")
    assert asked == "<s>[user] Why?\n[assistant]"
    ids = teacher.encode(asked).ids
    assert ids.count(model.tokenizer.bos_token_id) == 1, "the template brings its own BOS"
    plain = HuggingFaceTeacher(ElicitConfig.build(None, teacher=str(tmp_path / "chat"), device="cpu", chat="off"))
    assert (plain.style, plain.wrap("Why?")) == ("completion", "Why?")
    rows = run(tmp_path / "chat", tmp_path / "rows.jsonl", limit=2, hint="gold")
    assert all(row["rationales"][0]["text"] for row in rows)


def test_chat_on_needs_a_template(folder: Path) -> None:
    with pytest.raises(UsageError, match="has no chat template"):
        HuggingFaceTeacher(ElicitConfig.build(None, teacher=str(folder), device="cpu", chat="on"))


def test_an_encoder_decoder_teaches_too(tmp_path: Path) -> None:
    student("t5", width=16, layers=1).save(tmp_path / "t5")
    rows = run(tmp_path / "t5", tmp_path / "rows.jsonl", limit=2, hint="gold")
    assert [len(row["rationales"]) for row in rows] == [1, 1]


def test_contrastive_without_hint_and_samples_of_greedy_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="omit --hint none"):
        run(folder, tmp_path / "x.jsonl", decode="contrastive", hint="none")
    with pytest.raises(UsageError, match="needs --decode sample"):
        run(folder, tmp_path / "x.jsonl", samples=2)


def test_calls_that_share_their_demonstrations_are_decoded_together(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, sizes = HuggingFaceTeacher._decode, []

    def counted(self: HuggingFaceTeacher, sessions: list[TeacherSession]) -> None:
        prompts = [session.prompts[0].ids for session in sessions]
        shared = next((at for at, ids in enumerate(zip(*prompts, strict=False)) if len(set(ids)) > 1), None)
        sizes.append((len(sessions), shared))
        decode(self, sessions)

    monkeypatch.setattr(HuggingFaceTeacher, "_decode", counted)
    run(folder, tmp_path / "rows.jsonl", shots=1, limit=12, hint="gold")
    assert [size for size, _ in sizes] == [6, 6], "a set of demonstrations for kinds, one for clocks"
    assert all(shared is not None and shared > 30 for _, shared in sizes)
