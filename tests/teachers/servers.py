"""Loopback servers for tests: one that fails on purpose, and transformers' own."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch

from cotdistill.students.student import Student

TEXT = "A thing is where it is. So the answer is yes."


@dataclass(frozen=True)
class Canned:
    """A reply said byte for byte. `drip`: seconds between two of its bytes."""

    status: int = 200
    body: Any = ""
    headers: dict[str, str] = field(default_factory=dict)
    drip: float = 0.0

    @property
    def content(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()


Behaviour = Callable[[str, int], str | Canned]  # (prompt, how often it was asked before) -> what happens


def completion(content: Any = TEXT, finish: Any = "stop", usage: Any = None, **message: Any) -> dict[str, Any]:
    """A chat completion's body."""
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "usage": usage,
        "choices": [
            {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content, **message}}
        ],
    }


class Server(ThreadingHTTPServer):
    """Answers every prompt alike, or misbehaves as told; counts what it was asked."""

    daemon_threads = True

    def __init__(self, behaviour: Behaviour) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviour = behaviour
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.happened: Counter[str] = Counter()
        self.requests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.times: list[float] = []
        self.keys: set[str | None] = set()
        self.lock = threading.Lock()

    def refuse(self, path: str, body: dict[str, Any]) -> Canned | None:
        """What a server of some kind does not know or take; None: it answers."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up is no news."""


class ModelServer(Server):
    """Stands in for a server that echoes prompts with their log probabilities, as vLLM does; none runs here.

    Completions are picked from `texts` by the request's seed, log probabilities are a real model's.
    """

    def __init__(self, model: Student, texts: list[str]) -> None:
        super().__init__(lambda prompt, before: "scored")
        self.model, self.texts = model, texts

    def log_probabilities(self, text: str) -> tuple[list[int], list[float | None]]:
        """Where each token begins in the text, and its log probability (none for the first)."""
        words = self.model.tokenizer(text, return_offsets_mapping=True)
        ids = torch.tensor(words["input_ids"])
        with torch.inference_mode():
            steps = self.model.model(ids[None]).logits[0, :-1].log_softmax(-1)
        return (
            [begin for begin, _ in words["offset_mapping"]],
            [None, *steps.gather(-1, ids[1:, None])[:, 0].tolist()],
        )


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][0]["content"] if "messages" in body else body["prompt"]
        with self.server.lock:
            before = self.server.asked[prompt]
            self.server.asked[prompt] += 1
            self.server.requests.append(body)
            self.server.paths.append(self.path)
            self.server.times.append(time.monotonic())
            self.server.keys.add(self.headers["Authorization"])
            what = self.server.refuse(self.path, body) or self.server.behaviour(prompt, before)
            self.server.happened[str(what)] += 1
        self.body = body
        if isinstance(what, Canned):
            self._canned(what)
        else:
            getattr(self, f"_{what}")(prompt, "messages" in body)

    def _canned(self, canned: Canned) -> None:
        self.send_response(canned.status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(canned.content)), **canned.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if not canned.drip:
            self.wfile.write(canned.content)
        for at in range(len(canned.content) if canned.drip else 0):
            self.wfile.write(canned.content[at : at + 1])
            time.sleep(canned.drip)

    def _answer(self, prompt: str, chat: bool) -> None:
        with self.server.lock:
            self.server.answered[prompt] += 1
        piece = {"message": {"role": "assistant", "content": TEXT}} if chat else {"text": TEXT}
        self._send(
            200,
            json.dumps(
                {
                    "id": "x",
                    "object": "x",
                    "created": 1,
                    "model": "m",
                    "choices": [{"index": 0, "finish_reason": "stop", **piece}],
                    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
                }
            ),
        )

    def _scored(self, prompt: str, chat: bool) -> None:
        assert isinstance(self.server, ModelServer)
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
        if self.body.get("echo"):
            offsets, values = self.server.log_probabilities(prompt)
            # The one token that was asked for comes behind the prompt's.
            choice |= {
                "text": prompt + "x",
                "logprobs": {
                    "text_offset": [*offsets, len(prompt)],
                    "token_logprobs": [*values, -1.0],
                    "tokens": ["?"] * (len(offsets) + 1),
                    "top_logprobs": None,
                },
            }
        else:
            choice["text"] = self.server.texts[self.body["seed"] % len(self.server.texts)]
        usage = {"prompt_tokens": 1, "completion_tokens": 4, "total_tokens": 5}
        self._send(
            200, json.dumps({"id": "x", "object": "x", "created": 1, "model": "m", "choices": [choice], "usage": usage})
        )

    def _echo(self, prompt: str, chat: bool) -> None:
        """An answer that says which question it is of."""
        with self.server.lock:
            self.server.answered[prompt] += 1
        number = next(word for word in prompt.split() if word.isdigit())
        self._send(200, json.dumps(completion(f"Number {number} is one. So the answer is yes.")))

    def _thoughts(self, prompt: str, chat: bool) -> None:
        self._send(
            200,
            json.dumps(
                {
                    "id": "x",
                    "object": "x",
                    "created": 1,
                    "model": "m",
                    "choices": [
                        {
                            "index": 0,
                            "finish_reason": "stop",
                            "message": {
                                "role": "assistant",
                                "content": "So the answer is yes.",
                                "reasoning_content": "Let me think.",
                            },
                        }
                    ],
                }
            ),
        )

    def _busy(self, prompt: str, chat: bool) -> None:
        self._send(429, '{"error": {"message": "slow down", "code": "rate_limit_exceeded"}}', {"Retry-After": "0.02"})

    def _broke(self, prompt: str, chat: bool) -> None:
        self._send(429, '{"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}')

    def _error(self, prompt: str, chat: bool) -> None:
        self._send(500, '{"error": {"message": "boom"}}')

    def _escapes(self, prompt: str, chat: bool) -> None:
        said = "\x1b[31mred [/red]\n\x1b]0;title\x07 \u202ebackwards \x9b2J"
        self._send(400, json.dumps({"error": {"message": said}}))

    def _refused(self, prompt: str, chat: bool) -> None:
        key = (self.headers["Authorization"] or "").removeprefix("Bearer ")
        self._send(401, json.dumps({"error": {"message": f"Incorrect API key provided: {key}"}}))

    def _unknown(self, prompt: str, chat: bool) -> None:
        self._send(404, '{"error": {"message": "The model `m` does not exist"}}')

    def _malformed(self, prompt: str, chat: bool) -> None:
        self._send(200, '{"id": "x", "choices": [{"text": "cut o')

    def _empty(self, prompt: str, chat: bool) -> None:
        self._send(200, '{"id": "x", "object": "x", "created": 1, "model": "m", "choices": []}')

    def _drop(self, prompt: str, chat: bool) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def _hang(self, prompt: str, chat: bool) -> None:
        time.sleep(1.0)
        self.close_connection = True

    def _send(self, status: int, body: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body.encode())))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""


@contextmanager
def serving(behaviour: Behaviour | Server = lambda prompt, before: "answer") -> Iterator[Server]:
    """A server on a free loopback port."""
    server = behaviour if isinstance(behaviour, Server) else Server(behaviour)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


# What passes when asked again, and what does not.
PASSING: dict[str, str | Canned] = {
    **{name: name for name in ("busy", "error", "drop", "malformed", "empty", "hang")},
    **{
        f"status {status}": Canned(status, f"<html><title>{status}</title></html>")
        for status in (408, 409, 425, 500, 502, 503, 504, 520, 524, 529)
    },
    "dripping": Canned(body=" " * 999, drip=0.05),
    "null": Canned(body=completion(None)),
    "error in 200": Canned(body={"error": {"message": "overloaded", "code": 503}}),
    "page in 200": Canned(body="<html>busy</html>"),
    "cut": Canned(body=completion(), headers={"Content-Length": "9999"}),
    "broken off": Canned(body=completion(None, finish="error")),
    "deep": Canned(body="[" * 99_999),
    "not utf-8": Canned(body=b"\xff\xfe{"),
    "gzip": Canned(body="no", headers={"Content-Encoding": "gzip"}),
}
LASTING: dict[str, Canned] = {
    "too long": Canned(400, {"error": {"message": "maximum context length"}}),
    "large": Canned(413, "<html>413</html>"),
    "flagged": Canned(403, {"error": {"message": "flagged by moderation"}}),
    "refusal": Canned(body=completion(None, refusal="No.")),
    "tool": Canned(body=completion(None, tool_calls=[{}])),
}


def many_faults(share: float, seed: int = 0) -> Behaviour:
    """`share` of all requests fails, in one of the ways above drawn from (prompt, attempt)."""

    def behave(prompt: str, before: int) -> str | Canned:
        draws = random.Random(f"{seed} {prompt} {before}")
        if draws.random() >= share:
            return "echo"
        return draws.choice([*PASSING.values(), *LASTING.values()])

    return behave


def seeded_mix(seed: int = 0) -> Behaviour:
    """One answer in four, else a failure, drawn from (prompt, attempt); one prompt in ten never succeeds."""

    def behave(prompt: str, before: int) -> str:
        draws = random.Random(f"{seed} {prompt}")
        if draws.random() < 0.1:
            return random.Random(f"{prompt} {before}").choice(["error", "malformed", "empty"])
        if before > 6:
            return "answer"
        return random.Random(f"{seed} {prompt} {before}").choice(
            ["answer", "answer", "busy", "error", "drop", "malformed", "empty", "hang"]
        )

    return behave


@contextmanager
def transformers_serve() -> Iterator[str]:
    """`transformers serve` for whatever local model a request names; yields its base URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        str(Path(sys.executable).with_name("transformers")),
        "serve",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--device",
        "cpu",
        "--dtype",
        "float32",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 180
        while True:
            if process.poll() is not None:
                raise RuntimeError("transformers serve ended before it served")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.3)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(20)
