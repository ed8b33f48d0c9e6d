"""The forms of a server's answers and errors: what is read, what is asked again, what a failed row says."""

from __future__ import annotations

import json
import signal
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from tests.teachers.asking import KEY, elicit, failure, rationale
from tests.teachers.servers import TEXT, Canned, completion, many_faults, serving

pytestmark = pytest.mark.usefixtures("server_environment")

PARTS = [
    {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
    {"type": "text", "text": TEXT[:10]},
    {"type": "output_text", "text": TEXT[10:]},
    {"type": "image_url", "image_url": {"url": "data:"}},
]
EVENTS = "".join(
    f"data: {json.dumps({'choices': [{'delta': {'content': piece}, 'finish_reason': None}]})}\n\n"
    for piece in (TEXT[:5], TEXT[5:])
)
END = f"data: {json.dumps({'choices': [{'delta': {}, 'finish_reason': 'stop'}]})}\n\ndata: [DONE]\n\n"
CUT = json.dumps(completion("A \ud83d thing \ud83d\ude00. So the answer is yes."))  # half an emoji, and a whole one


@pytest.mark.parametrize(
    ("body", "text", "label"),
    [
        (completion([{"type": "text", "text": TEXT}]), "A thing is where it is.", "keep"),
        (completion(PARTS), "A thing is where it is.", "keep"),
        (completion([TEXT]), "A thing is where it is.", "keep"),
        (completion({"type": "text", "text": {"value": TEXT}}), "A thing is where it is.", "keep"),
        (completion(TEXT, reasoning_content="Hm."), "A thing is where it is.", "keep"),
        (completion(TEXT, finish=None), "A thing is where it is.", "keep"),
        (completion(TEXT, finish="eos_token"), "A thing is where it is.", "keep"),
        (completion(TEXT, usage={"prompt_tokens": "3", "completion_tokens": -1}), "A thing is where it is.", "keep"),
        ([completion()], "A thing is where it is.", "keep"),
        ("\ufeff" + json.dumps(completion()), "A thing is where it is.", "keep"),
        (EVENTS + END, "A thing is where it is.", "keep"),
        (CUT, "A \ufffd thing \U0001f600.", "keep"),
        (
            json.dumps(completion()).encode().replace(b"A thing", b"A \xff thing"),
            "A \ufffd thing is where it is.",
            "keep",
        ),
        (completion(TEXT, finish="length"), "A thing is where it is.", "truncated"),
        (completion(TEXT, finish="content_filter"), "A thing is where it is.", "truncated"),
        (completion(TEXT, finish="SAFETY"), "A thing is where it is.", "truncated"),
        (completion(TEXT, finish="tool_calls", tool_calls=[{}]), "A thing is where it is.", "truncated"),
        (completion(TEXT, usage={"completion_tokens": 21}), "A thing is where it is.", "truncated"),
        (completion(TEXT, usage={"completion_tokens": 20}), "A thing is where it is.", "keep"),
        (
            completion(TEXT, usage={"completion_tokens": 30, "completion_tokens_details": {"reasoning_tokens": 15}}),
            "A thing is where it is.",
            "keep",
        ),
        (completion("word " * 30 + TEXT), ("word " * 30 + "A thing is where it is."), "truncated"),
    ],
)
def test_every_form_of_an_answer(body: Any, text: str, label: str, tmp_path: Path) -> None:
    with serving(lambda prompt, before: Canned(body=body)) as server:
        done = elicit(tmp_path, server.url, "--max-new-tokens", "20")
        assert len(server.requests) == 1
    assert done.code == (0 if label == "keep" else 4), done.err
    assert (rationale(tmp_path)["text"], rationale(tmp_path)["label"]) == (text, label)
    assert rationale(tmp_path)["finished"] == (label == "keep")


def error(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


HTML = "<html><head><title>Bad\n gateway</title></head><body><h1>x</h1></body></html>"
TOOL = [{"id": "1", "type": "function", "function": {"name": "search", "arguments": "{}"}}]


@pytest.mark.parametrize(
    ("canned", "tries", "said"),
    [
        (Canned(body=completion(None, refusal="I can not help")), 1, "the model refused: I can not help"),
        (Canned(body=completion([{"type": "refusal", "refusal": "No."}])), 1, "the model refused: No."),
        (Canned(body=completion(None, finish="tool_calls", tool_calls=TOOL)), 1, "the model called a tool instead"),
        (Canned(body=completion(None, finish="content_filter")), 1, "no text, stopped by content_filter"),
        (Canned(body=completion(None)), 3, "malformed answer: a choice without text (stop)"),
        (Canned(body={**completion(), "choices": None}), 3, "malformed answer: no choices in"),
        (Canned(body='{"id": "x", "choices": [{"te'), 3, 'malformed answer: no JSON: {"id": "x", "choices": [{"te'),
        (Canned(body="[" * 100_000), 3, "malformed answer: no JSON: [[["),
        (Canned(body=""), 3, "malformed answer: no JSON: "),
        (Canned(body="null"), 3, "malformed answer: no object"),
        (Canned(body=EVENTS), 3, "malformed answer: no JSON: data:"),
        (Canned(body=completion(None, finish="error")), 4, "the server broke off (error)"),
        (Canned(body=error("overloaded", code=529)), 4, "HTTP 529: overloaded"),
        (
            Canned(body=error("Provider returned error", code=502, metadata={"raw": "out of memory"})),
            4,
            "HTTP 502: Provider returned error - out of memory",
        ),
        (Canned(body=error("too long", type="invalid_request_error")), 1, "HTTP 400: too long"),
        (Canned(body={"error": "who knows"}), 3, "an error with status 200: who knows"),
        (Canned(body={"object": "error", "message": "bad prompt", "code": 400}), 1, "HTTP 400: bad prompt"),
        (Canned(400, error("maximum context length is 10 tokens")), 1, "HTTP 400: maximum context length is 10 tokens"),
        (Canned(413, "<html><title>413 Too Large</title></html>"), 1, "HTTP 413: 413 Too Large"),
        (Canned(413), 1, "HTTP 413: Request Entity Too Large"),
        (
            Canned(422, {"detail": [{"loc": ["body", "messages"], "msg": "Field required"}]}),
            1,
            "HTTP 422: body.messages: Field required",
        ),
        (
            Canned(403, error("Your input was flagged by moderation")),
            1,
            "HTTP 403: Your input was flagged by moderation",
        ),
        (Canned(501, error("not here")), 1, "HTTP 501: not here"),
        (Canned(429, error("slow down")), 4, "rate limited after 3 retries: HTTP 429: slow down"),
        (Canned(429, error("come back"), {"Retry-After": "3600"}), 1, "HTTP 429: come back (it asks to wait 3600 s)"),
        (Canned(500, [error("boom")]), 4, "HTTP 500: boom"),
        (Canned(502, HTML), 4, "HTTP 502: Bad gateway"),
        (Canned(503, "no backend"), 4, "HTTP 503: no backend"),
        (Canned(504), 4, "HTTP 504: Gateway Timeout"),
        (Canned(524, "<p>cloud &amp; rain</p>"), 4, "HTTP 524: cloud & rain"),
        (Canned(529, error("Overloaded", type="overloaded_error")), 4, "HTTP 529: Overloaded"),
        (
            Canned(500, error(f"\x1b[31m{KEY}\x1b[0m \u202e \ud83d")),
            4,
            "HTTP 500: \\x1b[31m***\\x1b[0m \\u202e \\ud83d",
        ),
        (Canned(400, error("x" * 9999)), 1, "HTTP 400: " + "x" * 299 + "…"),
    ],
)
def test_every_form_of_an_error(canned: Canned, tries: int, said: str, tmp_path: Path) -> None:
    with serving(lambda prompt, before: canned) as server:
        done = elicit(tmp_path, server.url, "--retries", "3")
        assert len(server.requests) == tries, "asked again only where that can help"
    assert done.code == 5
    assert failure(tmp_path).startswith(said)
    assert len(failure(tmp_path)) <= 400
    assert f"the first with: {said}" in done.errors[0]


@pytest.mark.parametrize(
    ("canned", "said"),
    [
        (
            Canned(401, error(f"Incorrect API key provided: {KEY}")),
            "the server refuses the key (is OPENAI_API_KEY right?): HTTP 401: Incorrect API key provided: ***",
        ),
        (Canned(403, error("no access")), "the server refuses the key (is OPENAI_API_KEY right?): HTTP 403: no access"),
        (Canned(402, error("Insufficient Balance")), "the account is exhausted: HTTP 402: Insufficient Balance"),
        (Canned(429, error("You exceeded it", code="insufficient_quota")), "the account is exhausted: HTTP 429"),
        (
            Canned(body=error("Insufficient credits", code=402)),
            "the account is exhausted: HTTP 402: Insufficient credits",
        ),
        (
            Canned(404, error("The model `m` does not exist")),
            "the server does not know the model 'm' or the chat endpoint at {url}: HTTP 404: The model "
            "`m` does not exist",
        ),
        (
            Canned(404, {"detail": "Not Found"}),
            "the server does not know the model 'm' or the chat endpoint at {url}: HTTP 404: Not Found",
        ),
        (Canned(400, error("m is not a valid model ID")), "the server does not know the model 'm'"),
    ],
)
def test_what_ends_the_run(canned: Canned, said: str, tmp_path: Path) -> None:
    with serving(lambda prompt, before: canned) as server:
        done = elicit(tmp_path, server.url, "--concurrency", "1", rows=3)
        assert len(server.requests) == 1
    assert done.code == 6
    assert len(done.errors) == 1
    assert done.errors[0].startswith(f"error: {said.format(url=server.url)}")
    assert KEY not in done.err


@pytest.mark.parametrize(
    ("headers", "least"),
    [
        ({"Retry-After": "1"}, 0.99),
        ({"retry-after-ms": "700"}, 0.69),
        ({"Retry-After": "0.6"}, 0.59),
        ({"Retry-After": "date"}, 0.9),
        ({"Retry-After": "soon"}, 0.0),
        ({"Retry-After": "-5"}, 0.0),
        ({"Retry-After": "nan"}, 0.0),
    ],
)
def test_the_server_says_when_to_ask_again(headers: dict[str, str], least: float, tmp_path: Path) -> None:
    def behave(prompt: str, before: int) -> str | Canned:
        said = {
            name: formatdate(time.time() + 2, usegmt=True) if value == "date" else value
            for name, value in headers.items()
        }
        return "answer" if before else Canned(429, "", said)

    with serving(behave) as server:
        assert elicit(tmp_path, server.url).code == 0
        first, second = server.times
    assert least <= second - first < least + 1.5


def test_the_time_limit_bounds_a_request_and_not_each_read(tmp_path: Path) -> None:
    with serving(lambda prompt, before: Canned(body=" " * 500, drip=0.05)) as server:
        began = time.monotonic()
        done = elicit(tmp_path, server.url, "--timeout", "0.4", "--retries", "1")
        assert time.monotonic() - began < 5
        assert len(server.requests) == 2
    assert (done.code, failure(tmp_path)) == (5, "no answer within 0.4 s")


def test_a_server_that_ignores_the_newer_limit_is_told_the_older_one(tmp_path: Path) -> None:
    long = Canned(body=completion("word " * 40 + TEXT, usage={"completion_tokens": 90}))
    with serving(lambda prompt, before: long) as server:
        elicit(tmp_path, server.url, "--max-new-tokens", "16", "--concurrency", "1", rows=3)
        names = [next(name for name in request if name.startswith("max")) for request in server.requests]
    assert names == ["max_completion_tokens", "max_tokens", "max_tokens"]


def test_thirty_kinds_of_faults_lose_double_and_mix_nothing(tmp_path: Path) -> None:
    with serving(many_faults(0.3)) as server:
        done = elicit(tmp_path, server.url, "--concurrency", "16", "--timeout", "0.5", rows=300)
        assert len(server.happened) >= 25
        assert max(server.answered.values()) == 1, "no answer is thrown away"
    assert done.code == 5
    journal = [json.loads(line) for line in (tmp_path / "rows.jsonl.partial").read_text().splitlines()]
    assert sorted(entry["id"] for entry in journal) == sorted(f"q{at}" for at in range(300)), "each exactly once"
    failed = {entry["id"]: entry["failed"] for entry in journal if "failed" in entry}
    assert 10 <= len(failed) <= 40
    lasting = ("context", "413", "moderation", "refused", "called a tool")
    passing = [said for said in failed.values() if not any(words in said for words in lasting)]
    assert len(passing) <= 6, "what passes is asked again, malformed answers twice"
    with serving(many_faults(0)) as server:
        assert elicit(tmp_path, server.url, "--retry-failed", rows=300).code == 0
        assert server.asked.total() == len(failed)
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [f"q{at}" for at in range(300)]
    assert all([one["text"] for one in row["rationales"]] == [f"Number {row['id'][1:]} is one."] for row in rows)


def test_ctrl_c_ends_a_wait_and_not_what_is_under_way(tmp_path: Path) -> None:
    def behave(prompt: str, before: int) -> str | Canned:
        if "Is 0 " in prompt:
            return Canned(503, "", {"Retry-After": "60"})
        if "Is 1 " in prompt:
            signal.raise_signal(signal.SIGINT)
            time.sleep(0.5)
        return "answer"

    with serving(behave) as server:
        began = time.monotonic()
        assert elicit(tmp_path, server.url, "--concurrency", "2", rows=9).code == 130
        assert time.monotonic() - began < 10
    journal = [json.loads(line)["id"] for line in (tmp_path / "rows.jsonl.partial").read_text().splitlines()]
    assert journal == ["q1"], "neither failed nor answered: q0 is asked again by the same command"
