"""`elicit --logprobs` with a server: its tokens as a tokenizer's ids, what it cannot tell, what is not asked again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cotdistill.data.distributions import load
from cotdistill.decoding.decode import Prompt
from cotdistill.students.student import Student
from cotdistill.teachers.scoring import score
from cotdistill.teachers.served_tokens import ServedTokens
from tests.in_process import run
from tests.models import student
from tests.teachers.asking import elicit
from tests.teachers.servers import TEXT, Canned, Server, completion, serving

pytestmark = pytest.mark.usefixtures("server_environment")
K = 4


class Telling(Server):
    """A real model behind a server: it says TEXT, and the likeliest tokens along it. `most`: of each place at most."""

    def __init__(self, model: Student, most: int = 20, by_id: bool = False, told: bool = True) -> None:
        super().__init__(lambda prompt, before: "answer")
        self.model, self.most, self.by_id, self.told = model, most, by_id, told

    def name(self, id_: int) -> str:
        if self.by_id:
            return f"token_id:{id_}"
        before = list(self.model.tokens.first("x"))
        return str(self.model.tokenizer.decode([*before, id_])[1:])

    def refuse(self, path: str, body: dict[str, Any]) -> Canned | None:
        if not self.told:
            return None
        chat = "messages" in body
        prompt = body["messages"][0]["content"] if chat else body["prompt"]
        asked = body["top_logprobs"] if chat else body["logprobs"]
        ids = list(self.model.tokens.segment(TEXT))
        start = [*self.model.tokens.before, *self.model.tokens.first(prompt)]
        with torch.inference_mode():
            steps = self.model.model(torch.tensor([[*start, *ids]])).logits[0, len(start) - 1 : -1].log_softmax(-1)
        tops = [step.topk(min(asked, self.most)) for step in steps]
        pairs = [list(zip(map(self.name, top.indices.tolist()), top.values.tolist(), strict=True)) for top in tops]
        if chat:
            content = [
                {
                    "token": self.name(id_),
                    "logprob": 0.0,
                    "top_logprobs": [{"token": token, "logprob": value} for token, value in reversed(top)],
                }
                for id_, top in zip(ids, pairs, strict=True)
            ]
            reply = completion(TEXT)
            reply["choices"][0]["logprobs"] = {"content": content}
            return Canned(body=reply)
        choice = {
            "index": 0,
            "finish_reason": "stop",
            "text": TEXT,
            "logprobs": {"tokens": [self.name(id_) for id_ in ids], "top_logprobs": [dict(top) for top in pairs]},
        }
        return Canned(body={"id": "x", "object": "x", "created": 1, "model": "m", "choices": [choice], "usage": {}})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Student, Path]:
    made, folder = student("gpt2"), tmp_path_factory.mktemp("model") / "gpt2"
    made.save(folder)
    return made, folder


@pytest.mark.parametrize("by_id", [False, True], ids=["text", "id"])
@pytest.mark.parametrize("endpoint", ["chat", "completion"])
def test_what_is_stored_is_what_a_local_teacher_stores(
    endpoint: str, by_id: bool, model: tuple[Student, Path], tmp_path: Path
) -> None:
    """But for the first token, which a chat begins without its blank."""
    with serving(Telling(model[0], by_id=by_id)) as server:
        options = ("--logprobs", str(K), "--tokenizer", str(model[1]), "--endpoint", endpoint)
        done = elicit(tmp_path, server.url, *options)
        assert done.code == 0, done.err
        (body,) = server.requests
    prompt = body["messages"][0]["content"] if endpoint == "chat" else body["prompt"]
    (row,) = (json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines())
    start = [*model[0].tokens.before, *model[0].tokens.first(prompt)]
    text = row["rationales"][0]["text"]
    # The context of the plain reference begins as the server's did: "A", not " A".
    own = list(model[0].tokens.segment(" " + text))
    first = model[0].tokens.segment(TEXT)[0]
    expected = score(model[0], Prompt([*start, first]), text.removeprefix("A"), K)
    found = load(tmp_path / "rows.jsonl.logprobs.safetensors")
    assert found.tokens.tolist() == own[1:] == expected.tokens.tolist()
    for ids, values, whole, theirs in zip(found.ids, found.logprobs, expected.ids, expected.logprobs, strict=True):
        plain = dict(zip(whole.tolist(), theirs.tolist(), strict=True))
        mine = dict(zip(ids.tolist(), values.tolist(), strict=True))
        # Pieces of characters have no text: only ids tell them.
        lost = (
            set() if by_id else {id_ for id_ in plain if id_ not in ServedTokens(str(model[1]), K, False).ids.values()}
        )
        assert mine.keys() - {-1} == plain.keys() - lost
        assert all(mine[id_] == pytest.approx(plain[id_], abs=5e-3) for id_ in mine if id_ >= 0)
    assert not np.array_equal(expected.ids[0], score(model[0], Prompt(start), text, K).ids[0])  # another context


def test_its_rows_are_learned_and_a_second_time_nothing_is_asked(model: tuple[Student, Path], tmp_path: Path) -> None:
    with serving(Telling(model[0])) as server:
        options = ("--logprobs", str(K), "--tokenizer", str(model[1]))
        assert elicit(tmp_path, server.url, *options, rows=3).code == 0
        out, side = tmp_path / "rows.jsonl", tmp_path / "rows.jsonl.logprobs.safetensors"
        before, written = side.read_bytes(), side.stat().st_mtime_ns
        assert elicit(tmp_path, server.url, *options, rows=3).code == 0
        assert (side.read_bytes(), side.stat().st_mtime_ns, len(server.requests)) == (before, written, 3)
        more = elicit(tmp_path, server.url, *options[2:], "--logprobs", "6", rows=3)
        assert (more.code, len(more.errors), len(server.requests)) == (2, 1, 3)
        assert "with another K" in more.errors[0]
        side.unlink()
        gone = elicit(tmp_path, server.url, *options, rows=3)
        assert (gone.code, len(server.requests)) == (2, 3)
        assert elicit(tmp_path, server.url, *options, "--overwrite", rows=3).code == 0
        assert (side.read_bytes(), len(server.requests)) == (before, 6)
    learned = run(
        *("distill", str(out), "--kd", "kl", "--student", str(model[1]), "--steps", "1"),
        *("--batch-size", "2", "--device", "cpu", "--out", str(tmp_path / "run")),
    )
    assert learned.code == 0, learned.err


def test_one_line_where_a_server_tells_nothing_too_little_or_other_tokens(
    model: tuple[Student, Path], tmp_path: Path
) -> None:
    student("llama").save(tmp_path / "llama")
    named, other = ("--tokenizer", str(model[1])), ("--tokenizer", str(tmp_path / "llama"))
    refusing = Telling(model[0])
    refusing.refuse = lambda path, body: Canned(400, {"error": {"message": "top_logprobs must be at most 2"}})  # type: ignore[method-assign]
    for server_of, code, says, options in (
        (Telling(model[0], told=False), 6, "returns no log probabilities", ("--logprobs", "4", *named)),
        (refusing, 6, "the server refuses --logprobs", ("--logprobs", "4", *named)),
        (Telling(model[0], most=2), 2, "take --logprobs 2", ("--logprobs", "4", *named)),
        (Telling(model[0]), 2, "name the tokenizer of the model that it serves", ("--logprobs", "4", *other)),
        (Telling(model[0]), 2, "name its model's with --tokenizer", ("--logprobs", "4")),
        (Telling(model[0]), 2, "--logprobs' is reserved", ("--extra-body", '{"logprobs": true}')),
    ):
        with serving(server_of) as server:
            done = elicit(tmp_path, server.url, *options, rows=2)
        assert (done.code, len(done.errors)) == (code, 1), done.err
        assert says.split("'")[-1].strip() in done.errors[0]
        assert not (tmp_path / "rows.jsonl").exists()


def test_tokens_without_an_id_count_for_the_rest(model: tuple[Student, Path]) -> None:
    served = ServedTokens(str(model[1]), 3, False)
    from cotdistill.data.said import Said

    ids = served.tokens.segment(" drill")
    texts = {id_: text for text, id_ in served.ids.items()}
    said = [Said(texts[id_], ((texts[id_], -0.5), ("☃☃", -1.5), (texts[id_], -2.0))) for id_ in ids]
    found = served.along("drill", said)
    assert found.ids.tolist() == [[id_, -1, -1] for id_ in ids]
    assert found.logprobs[0].tolist() == [-0.5, -np.inf, -np.inf]
