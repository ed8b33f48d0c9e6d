"""Values of the server's options; what is written of them to run cards and keys holds no secret."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from cotdistill.errors import UsageError
from cotdistill.redaction import masked, redacted

# What requests hold anyway, and the option that decides it ("": nothing may).
DECIDED = {"model": "--teacher", "messages": "--prompt", "prompt": "--prompt", "n": "--samples", "best_of": "--samples",
           "max_tokens": "--max-new-tokens", "max_completion_tokens": "--max-new-tokens", "seed": "--seed",
           "temperature": "--temperature", "top_p": "--top-p", "stream": "", "stream_options": "", "echo": ""}


def _json_object(value: Any) -> Any:
    """Canonical JSON of an object, given as text or (in YAML) as a mapping. No message quotes it: it may hold a key.

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
        raise UsageError(f"--extra-body: not JSON ({error.msg} at character {error.pos + 1}); it looks like "
                         """'{"chat_template_kwargs": {"enable_thinking": false}}'""") from None
    except (TypeError, ValueError):
        raise UsageError("--extra-body: holds a value that JSON does not have") from None
    if not isinstance(value, dict):
        raise UsageError("""--extra-body: should be a JSON object, such as '{"top_k": 20}'""")
    for name in value:
        if name in DECIDED:
            remedy = f"use {DECIDED[name]}" if DECIDED[name] else "answers are read whole"
            raise UsageError(f"--extra-body: {name!r} is not free; {remedy}")
    return text


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _without_secrets(text: str) -> str:
    return json.dumps(masked(json.loads(text)), sort_keys=True, ensure_ascii=False)


JsonObject = Annotated[str, BeforeValidator(_json_object),
                       PlainSerializer(_without_secrets, return_type=str, when_used="json")]
ServerUrl = Annotated[str, PlainSerializer(redacted, return_type=str, when_used="json")]
