"""The servers users have: where they listen, and which parameters they know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.teachers.asking import elicit
from tests.teachers.servers import Canned, Server, serving

pytestmark = pytest.mark.usefixtures("server_environment")


class At(Server):
    """Serves one path only."""

    def __init__(self, path: str, missing: Canned) -> None:
        super().__init__(lambda prompt, before: "answer")
        self.path, self.missing = path, missing

    def refuse(self, path: str, body: dict[str, Any]) -> Canned | None:
        return None if path == self.path else self.missing


MISSING = {
    "fastapi": Canned(404, {"detail": "Not Found"}),
    "go": Canned(404, "404 page not found"),
    "page": Canned(404, "<html><title>Not here</title></html>"),
    "method": Canned(405, ""),
    "spa": Canned(200, "<!doctype html><html><title>App</title></html>", {"Content-Type": "text/html"}),
}


@pytest.mark.parametrize(
    ("given", "path", "missing"),
    [
        ("http://{host}/v1", "/v1/chat/completions", "fastapi"),
        ("http://{host}/v1/", "/v1/chat/completions", "fastapi"),
        ("http://{host}", "/v1/chat/completions", "fastapi"),
        ("http://{host}/", "/v1/chat/completions", "page"),
        ("http://{host}", "/chat/completions", "go"),
        ("{host}", "/v1/chat/completions", "fastapi"),
        ("{host}/v1", "/v1/chat/completions", "fastapi"),
        ("HTTP://{host}//v1//", "/v1/chat/completions", "fastapi"),
        (" http://{host}/v1\n", "/v1/chat/completions", "fastapi"),
        ("http://{host}/v1/chat/completions", "/v1/chat/completions", "fastapi"),
        ("http://{host}/v1/completions/", "/v1/chat/completions", "fastapi"),
        ("http://{host}/v1/models", "/v1/chat/completions", "fastapi"),
        ("http://{host}/api", "/api/v1/chat/completions", "spa"),
        ("http://{host}/api", "/api/chat/completions", "go"),
        ("http://{host}/v1beta/openai/", "/v1beta/openai/chat/completions", "method"),
        ("http://{host}/v1?api-version=2", "/v1/chat/completions?api-version=2", "fastapi"),
        (
            "http://{host}/openai/deployments/d/chat/completions?api-version=2024-02-01",
            "/openai/deployments/d/chat/completions?api-version=2024-02-01",
            "fastapi",
        ),
        ("http://user:p%40ss@{host}/v1", "/v1/chat/completions", "fastapi"),
    ],
)
def test_every_way_to_write_a_base_url(given: str, path: str, missing: str, tmp_path: Path) -> None:
    with serving(At(path, MISSING[missing])) as server:
        done = elicit(tmp_path, given.format(host=server.url.removeprefix("http://").removesuffix("/v1")), rows=12)
        assert (done.code, done.errors) == (0, []), done.err
        assert server.asked.total() <= 12 + 8, "what was learnt once is remembered"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("ftp://host/v1", "--base-url: use http:// or https://, not ftp://"),
        ("http://", "is not a URL"),
        ("", "is not a URL"),
        ("http://host:99999/v1", "is not a URL (Port out of range"),
        ("http://ho st/v1", "is not a URL"),
        ("http://[::1/v1", "is not a URL"),
        ("http://me:hunter22@:80", "is not a URL"),
        ("http://me:hunter22@host:x/v1", "is not a URL"),
    ],
)
def test_what_is_no_base_url_is_refused(given: str, said: str, tmp_path: Path) -> None:
    done = elicit(tmp_path, given)
    assert done.code == 2
    assert len(done.errors) == 1
    assert said in done.errors[0]
    assert "hunter22" not in done.err


class Picky(Server):
    """Refuses a request that holds any of `parameters`, each with its words and status."""

    def __init__(self, parameters: dict[str, Canned]) -> None:
        super().__init__(lambda prompt, before: "answer")
        self.parameters = parameters

    def refuse(self, path: str, body: dict[str, Any]) -> Canned | None:
        return next(
            (
                said
                for name, said in self.parameters.items()
                if name in body and not (name == "temperature" and said.status == 422 and body[name] > 0)
            ),
            None,
        )


def refused(message: str, status: int = 400, **more: Any) -> Canned:
    return Canned(status, {"error": {"message": message, "type": "invalid_request_error", **more}})


OLD = refused("Unrecognized request argument supplied: max_completion_tokens")
FORBIDDEN = Canned(
    422,
    {
        "detail": [
            {
                "type": "extra_forbidden",
                "loc": ["body", "max_completion_tokens"],
                "msg": "Extra inputs are not permitted",
                "input": 128,
            }
        ]
    },
)
FIXED = refused(
    "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported.",
    param="temperature",
    code="unsupported_value",
)
POSITIVE = Canned(
    422, {"error": "Input validation error: `temperature` must be strictly positive", "error_type": "validation"}
)


@pytest.mark.parametrize(
    ("parameters", "sent", "served"),
    [
        ({"max_completion_tokens": OLD}, {"max_tokens": 128, "temperature": 0.0}, None),
        ({"max_completion_tokens": FORBIDDEN}, {"max_tokens": 128, "temperature": 0.0}, None),
        ({"temperature": FIXED}, {"max_completion_tokens": 128}, {"temperature": "default"}),
        ({"temperature": POSITIVE}, {"max_completion_tokens": 128, "temperature": 0.01}, {"temperature": 0.01}),
        ({"max_completion_tokens": OLD, "temperature": FIXED}, {"max_tokens": 128}, {"temperature": "default"}),
    ],
)
def test_parameters_are_learnt_from_refusals(
    parameters: dict[str, Canned], sent: dict[str, Any], served: dict[str, Any] | None, tmp_path: Path
) -> None:
    with serving(Picky(parameters)) as server:
        done = elicit(tmp_path, server.url, "--concurrency", "1", rows=5)
        assert done.code == 0, done.err
        assert len(server.requests) == 5 + len(parameters), "learnt once"
        known = {"model": "m", "messages": server.requests[-1]["messages"]}
        assert server.requests[-1] == {**known, **sent}
        again = elicit(tmp_path, server.url, rows=5)
        assert len(server.requests) == 5 + len(parameters), "the rows are found again"
    assert again.code == 0
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert all(row["rationales"][0]["decoding"].get("served") == served for row in rows)
    assert ("refuses temperature 0" in done.err) == (served == {"temperature": "default"})


def test_a_refused_seed_is_left_out_and_a_chosen_temperature_is_not(tmp_path: Path) -> None:
    seed, temperature = refused("Unknown parameter: 'seed'", param="seed"), refused("'temperature' must be 1")
    sample = ("--decode", "sample", "--temperature", "0.7")
    with serving(Picky({"seed": seed})) as server:
        assert elicit(tmp_path, server.url, *sample).code == 0
        assert "seed" not in server.requests[-1]
    with serving(Picky({"temperature": temperature})) as server:
        done = elicit(tmp_path, server.url, *sample, "--mix", "--seed", "1")
        assert len(server.requests) == 1
    assert done.code == 6
    assert done.errors == ["error: the server refuses --temperature 0.7: HTTP 400: 'temperature' must be 1"]
