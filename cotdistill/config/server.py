"""The options of a server; what run cards and keys record of their values contains no secret."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from cotdistill.config.common import Options
from cotdistill.config.option import Most, option
from cotdistill.errors import UsageError
from cotdistill.redaction import masked, redacted

SERVER = "Server (openai:MODEL)"
PREFIX = "openai:"
SERVED = "teacher=openai:* model=openai:*"  # what its options mean something with
# Parameters that requests have anyway, and the option that sets each ("": none does).
DECIDED = {
    "model": "--teacher",
    "messages": "--prompt",
    "prompt": "--prompt",
    "n": "--samples",
    "best_of": "--samples",
    "max_tokens": "--max-new-tokens",
    "max_completion_tokens": "--max-new-tokens",
    "seed": "--seed",
    "temperature": "--temperature",
    "top_p": "--top-p",
    "stream": "",
    "stream_options": "",
    "echo": "",
    "logprobs": "--logprobs",
    "top_logprobs": "--logprobs",
}


def _json_object(value: Any) -> Any:
    """Canonical JSON of an object, given as text or (in YAML) as a mapping. No message quotes it: it may contain a key.

    Raises `UsageError`.
    """
    if value is None:
        return None
    try:
        if isinstance(value, str):
            value = json.loads(value, parse_constant=_no_constant)
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
        text.encode()  # no half of a surrogate pair
    except RecursionError:
        raise UsageError("--extra-body: nested too deeply") from None
    except json.JSONDecodeError as error:
        raise UsageError(
            f"--extra-body: not JSON ({error.msg} at character {error.pos + 1}); it looks like "
            """'{"chat_template_kwargs": {"enable_thinking": false}}'"""
        ) from None
    except (TypeError, ValueError):
        raise UsageError("--extra-body: contains a value that JSON does not allow") from None
    if not isinstance(value, dict):
        raise UsageError("""--extra-body: must be a JSON object, such as '{"top_k": 20}'""")
    for name in value:
        if name in DECIDED:
            remedy = f"use {DECIDED[name]}" if DECIDED[name] else "answers are read whole"
            raise UsageError(f"--extra-body: {name!r} is reserved; {remedy}")
    return text


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _without_secrets(text: str) -> str:
    return json.dumps(masked(json.loads(text)), sort_keys=True, ensure_ascii=False)


JsonText = Annotated[
    str, BeforeValidator(_json_object), PlainSerializer(_without_secrets, return_type=str, when_used="json")
]
ServerUrl = Annotated[str, PlainSerializer(redacted, return_type=str, when_used="json")]


class ServerOptions(Options):
    """How an OpenAI-compatible server is reached: a teacher of `elicit`, a student of `predict` and `evaluate`."""

    base_url: ServerUrl | None = option(
        None, "URL of the server; the key is read from OPENAI_API_KEY only", SERVER, needs=SERVED
    )
    extra_body: JsonText | None = option(
        None, """JSON object of extra parameters for every request, e.g. '{"top_k": 20}'""", SERVER, needs=SERVED
    )
    concurrency: int = option(8, "Requests in flight", SERVER, key=False, gt=0, le=10_000, needs=SERVED)
    retries: int = option(6, "Retries per failed request", SERVER, key=False, ge=0, le=1000, needs=SERVED)
    timeout: float = option(120.0, "Timeout per request in seconds", SERVER, key=False, gt=0, le=Most, needs=SERVED)
