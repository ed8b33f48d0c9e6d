"""Server teachers: every row ends once, whatever the server does; a real server; keys stay secret."""

from __future__ import annotations

import copy
import importlib.util
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from cotdistill.config import ElicitConfig
from cotdistill.data.tasks import load_examples
from cotdistill.data.wrong_answers import wrong_answer
from cotdistill.eliciting import elicit
from cotdistill.errors import NothingLeft, Partial, Unavailable, UsageError
from cotdistill.teachers.prompts import PromptTemplate
from tests.models import student
from tests.teachers.servers import ModelServer, seeded_mix, serving, transformers_serve

KEY = "sk-test-0123456789-secret"
CHAT = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cotdistill.teachers.server.FIRST_WAIT", 0.01)
    monkeypatch.setattr("cotdistill.teachers.server.LONGEST_BACKOFF", 0.05)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def questions(folder: Path, count: int) -> Path:
    file = folder / "questions.jsonl"
    file.write_text(
        "".join(
            json.dumps({"id": f"q{at}", "question": f"Is {at} a number?", "choices": ["yes", "no"], "answer": "yes"})
            + "\n"
            for at in range(count)
        )
    )
    return file


def config(url: str, data: Path, **changes: Any) -> ElicitConfig:
    options = {"teacher": "openai:m", "base_url": url, "data": str(data), "shots": 0, "retries": 4, "timeout": 0.4}
    return ElicitConfig.build(None, **{**options, **changes})


def rows_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_every_row_is_answered_once_or_failed_with_its_reason(tmp_path: Path) -> None:
    data, out = questions(tmp_path, 60), tmp_path / "rows.jsonl"
    with serving(seeded_mix()) as server, pytest.raises(Partial, match=r"\d+ calls failed"):
        elicit(config(server.url, data, out=out, concurrency=16))
    rows = rows_of(out)
    assert [row["id"] for row in rows] == [f"q{at}" for at in range(60)]
    journal = [json.loads(line) for line in (tmp_path / "rows.jsonl.partial").read_text().splitlines()]
    assert sorted(entry["id"] for entry in journal) == sorted(f"q{at}" for at in range(60)), "each exactly once"
    failed = {entry["id"]: entry["failed"] for entry in journal if "failed" in entry}
    assert {row["id"] for row in rows if not row["rationales"]} == set(failed)
    assert all(len(row["rationales"]) == 1 for row in rows if row["id"] not in failed)
    assert all(failed.values())
    assert 0 < len(failed) < 30
    assert set(server.happened) == {"answer", "busy", "error", "drop", "malformed", "empty", "hang"}

    with serving() as healed:
        elicit(config(healed.url, data, out=out, retry_failed=True))
    assert healed.asked.total() == len(failed)
    with serving() as calm:
        elicit(config(calm.url, data, out=tmp_path / "calm.jsonl"))
    assert out.read_bytes() == (tmp_path / "calm.jsonl").read_bytes()
    assert not (tmp_path / "rows.jsonl.partial").exists()


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("refused", r"refuses the key \(is OPENAI_API_KEY right\?\)"),
        ("unknown", "does not know the model 'm'"),
        ("broke", "account is exhausted"),
    ],
)
def test_what_no_retry_mends_ends_the_run_in_one_line(behaviour: str, said: str, tmp_path: Path) -> None:
    data, out = questions(tmp_path, 40), tmp_path / "rows.jsonl"
    with serving(lambda prompt, before: "answer" if "Is 0 " in prompt else behaviour) as server:
        with pytest.raises(Unavailable, match=said) as told:
            elicit(config(server.url, data, out=out, concurrency=4, retries=1))
        assert len(server.asked) <= 8, "nothing new is begun"
    assert "\n" not in str(told.value)
    assert KEY not in str(told.value)
    written = (tmp_path / "rows.jsonl.partial").read_text()
    assert [json.loads(line)["id"] for line in written.splitlines()] == ["q0"], "what was answered is kept"


def test_no_server_is_told_in_one_line(tmp_path: Path) -> None:
    with serving() as server:
        url = server.url
    with pytest.raises(Unavailable, match=r"cannot reach http://127\.0\.0\.1.*is it running\?"):
        elicit(config(url, questions(tmp_path, 2), retries=1))


def test_the_key_comes_from_the_environment_and_is_written_nowhere(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving() as server:
        elicit(config(server.url, questions(tmp_path, 3), out=tmp_path / "rows.jsonl"))
        elicit(config(server.url, questions(tmp_path, 3)))
        assert server.keys == {f"Bearer {KEY}"}
    assert not any(KEY in file.read_text() for file in tmp_path.iterdir())
    assert KEY not in "".join(capfd.readouterr())


def test_without_key_and_server_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(Unavailable, match="set OPENAI_API_KEY"):
        elicit(ElicitConfig.build(None, teacher="openai:m", data=str(questions(tmp_path, 1))))


def test_contrastive_decoding_is_refused_with_the_alternative(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--decode rerank"):
        elicit(config("http://127.0.0.1:9/v1", questions(tmp_path, 1), decode="contrastive"))


def test_scoring_on_a_server_without_prompt_probabilities_is_refused(tmp_path: Path) -> None:
    with serving() as server, pytest.raises(UsageError, match="returns no log probabilities"):
        elicit(config(server.url, _choices(tmp_path), endpoint="completion", wrong="hardest", counterfactual=True))


def test_rerank_takes_the_best_sample_by_the_contrastive_score(tmp_path: Path) -> None:
    """On a stand-in for a server that echoes prompts with log probabilities: no such server runs here."""
    model = student("gpt2", width=32, layers=1)
    texts = ["A drill is kept.", "Leo waits.", "The answer must be so.", "It is a tool."]
    out = tmp_path / "rows.jsonl"
    with serving(ModelServer(model, texts)) as server:
        elicit(
            config(
                server.url, _choices(tmp_path), endpoint="completion", decode="rerank", samples=6, out=out, timeout=20.0
            )
        )
        asked = [request for request in server.requests if not request.get("echo")]
    [row] = rows_of(out)
    [example] = load_examples(str(_choices(tmp_path)))
    prompts = [PromptTemplate().render(example, answer) for answer in (example.answer, wrong_answer(example))]
    scores = {}
    for text in {texts[request["seed"] % 4] for request in asked}:
        totals = []
        for prompt in prompts:
            with torch.inference_mode():
                ids = [model.tokenizer(part)["input_ids"] for part in (prompt, " " + text)]
                steps = model.model(torch.tensor([ids[0] + ids[1]])).logits[0].log_softmax(-1)
            totals.append(sum(float(steps[len(ids[0]) - 1 + at, token]) for at, token in enumerate(ids[1])))
        scores[text] = totals[0] - 0.5 * totals[1]
    assert len(scores) > 1
    assert row["rationales"][0]["text"] == max(scores, key=lambda text: scores[text])
    assert row["rationales"][0]["decoding"]["samples"] == 6


def _choices(folder: Path) -> Path:
    file = folder / "choices.jsonl"
    file.write_text(
        json.dumps({"id": "c", "question": "Which?", "choices": ["one", "two", "three"], "answer": "one"}) + "\n"
    )
    return file


@pytest.mark.parametrize(("reasoning", "text"), [("rationale", "Let me think."), ("drop", "So the answer is yes.")])
def test_thoughts_become_the_rationale_only_when_told(reasoning: str, text: str, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    settings = {"reasoning": reasoning, "out": out}
    with serving(lambda prompt, before: "thoughts") as server:
        if reasoning == "drop":
            with pytest.raises(NothingLeft):
                elicit(config(server.url, questions(tmp_path, 1), **settings))
        else:
            elicit(config(server.url, questions(tmp_path, 1), **settings))
    [rationale] = rows_of(out)[0]["rationales"]
    assert (rationale["text"], rationale["answer"], rationale["correct"]) == (text, "yes", True)


def test_samples_differ_by_seed_and_are_told_apart(tmp_path: Path) -> None:
    with serving() as server:
        elicit(
            config(
                server.url,
                questions(tmp_path, 2),
                decode="sample",
                samples=3,
                temperature=0.8,
                out=tmp_path / "rows.jsonl",
            )
        )
        seeds = [request["seed"] for request in server.requests]
        assert len(set(seeds)) == 6
        assert all(request["temperature"] == 0.8 and "top_p" not in request for request in server.requests)
    labels = [[r["label"] for r in row["rationales"]] for row in rows_of(tmp_path / "rows.jsonl")]
    assert labels == [["keep", "repeated", "repeated"]] * 2


def test_at_most_so_many_requests_at_once(tmp_path: Path) -> None:
    now, most, lock = 0, 0, threading.Lock()

    with serving() as server:
        answer = server.RequestHandlerClass._answer

        def counted(handler: Any, prompt: str, chat: bool) -> None:
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            time.sleep(0.03)
            with lock:
                now -= 1
            answer(handler, prompt, chat)

        server.RequestHandlerClass = type("Counted", (server.RequestHandlerClass,), {"_answer": counted})
        elicit(config(server.url, questions(tmp_path, 12), concurrency=3))
    assert most == 3


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("fastapi") is None, reason="needs transformers[serving]")
@pytest.mark.timeout(400)
def test_a_real_server_on_both_endpoints(tmp_path: Path) -> None:
    model = student("llama", width=16, layers=1)
    model.tokenizer = copy.deepcopy(model.tokenizer)  # tests share one
    model.tokenizer.chat_template = CHAT
    model.save(tmp_path / "model")
    data = questions(tmp_path, 3)
    with transformers_serve() as url:
        for endpoint in ("completion", "chat"):
            out = tmp_path / f"{endpoint}.jsonl"
            elicit(
                ElicitConfig.build(
                    None,
                    teacher=f"openai:{tmp_path / 'model'}",
                    base_url=url,
                    data=str(data),
                    endpoint=endpoint,
                    shots=0,
                    hint="gold",
                    max_new_tokens=12,
                    out=out,
                    timeout=60.0,
                    concurrency=2,
                    keep="all",
                )
            )
            rows = rows_of(out)
            assert [len(row["rationales"]) for row in rows] == [1, 1, 1]
            assert all(row["rationales"][0]["decoding"]["endpoint"] == endpoint for row in rows)
        # Greedy text over HTTP is the text of the same model here.
        local = tmp_path / "local.jsonl"
        elicit(
            ElicitConfig.build(
                None,
                teacher=str(tmp_path / "model"),
                data=str(data),
                shots=0,
                hint="gold",
                max_new_tokens=12,
                out=local,
                chat="off",
                keep="all",
                device="cpu",
            )
        )
    texts = [
        [row["rationales"][0]["text"] for row in rows_of(tmp_path / name)]
        for name in ("completion.jsonl", "local.jsonl")
    ]
    assert texts[0] == texts[1]
