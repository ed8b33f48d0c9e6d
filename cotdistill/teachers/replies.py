"""A server's answer: the text, wherever servers put it, and whether it ended by itself.

Read from the JSON and not from the client's classes, which check nothing. Broken Unicode is repaired: half of a
surrogate pair (an emoji cut in two by a stream) would end the run when the row is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from cotdistill.data.said import Said
from cotdistill.errors import UsageError
from cotdistill.redaction import without_secrets
from cotdistill.teachers.blank_line import up_to_blank_line
from cotdistill.teachers.calls import Reply
from cotdistill.teachers.faults import Fault, message, of_answer, one_clean_line
from cotdistill.teachers.reasoning import split_reasoning

ENDED = {"", "stop", "eos", "eos_token", "stop_sequence", "end_turn", "complete", "completed"}  # and no finish reason
BROKEN_OFF = {"error", "abort", "insufficient_system_resource"}  # a fault of the server: another try may succeed
MALFORMED_RETRIES = 2
REAL_KEY = 16  # characters; a shorter "key" may be a word of the text


def read_reply(content: bytes, style: str, limit: int) -> Reply:
    """The reply in a body of status 200; `limit`: the token limit of the request. Raises `Fault`."""
    choice, usage = _choice(content)
    return replace(_reply(choice, usage, style, limit), said=said_along(choice))


def said_along(choice: Mapping[str, Any]) -> tuple[Said, ...]:
    """The likeliest tokens along a choice, of a chat's `content` or of a completion's parallel lists; empty: none.

    A token is its id where the server tells it (llama.cpp's `id`, vLLM's `token_id:N`), else its text.
    """
    told = _mapping(choice.get("logprobs"))
    if isinstance(content := told.get("content"), list):
        tokens = [(one, one.get("top_logprobs")) for one in map(_mapping, content)]
    else:
        names, tops = told.get("tokens"), told.get("top_logprobs")
        if not isinstance(names, list) or not isinstance(tops, list):
            return ()
        tokens = [
            ({"token": name}, [{"token": token, "logprob": value} for token, value in _mapping(top).items()])
            for name, top in zip(names, tops, strict=False)
        ]
    return tuple(Said(_token(one), _likeliest(top)) for one, top in tokens)


def _likeliest(top: Any) -> tuple[tuple[str | int, float], ...]:
    found = [_mapping(one) for one in top] if isinstance(top, list) else []
    pairs = [(_token(one), float(one["logprob"])) for one in found if isinstance(one.get("logprob"), int | float)]
    return tuple(sorted(pairs, key=lambda pair: -pair[1]))


def _token(one: Mapping[str, Any]) -> str | int:
    text = str(one.get("token", ""))
    if isinstance(one.get("id"), int):
        return int(one["id"])
    if text.startswith("token_id:") and text.removeprefix("token_id:").isdecimal():
        return int(text.removeprefix("token_id:"))
    with suppress(ValueError, TypeError):
        return bytes(one["bytes"]).decode() if one.get("bytes") else text
    return text


@dataclass(frozen=True)
class Completion:
    """A completion as generated, blanks and all. `finished`: within the token limit; tokens as the server counts."""

    text: str
    finished: bool
    prompt_tokens: int
    tokens: int


def read_completion(content: bytes) -> Completion:
    """The completion in a body of status 200. Raises `Fault`."""
    choice, usage = _choice(content)
    reason, text = str(choice.get("finish_reason") or "").lower(), choice.get("text")
    if reason in BROKEN_OFF:
        raise Fault(f"the server broke off ({reason})", 200, again=True)
    if not text:
        _explain_silence({}, choice, reason, text)
    return Completion(
        _safe(_joined_parts(text)), reason in ENDED, _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    )


def log_probability(content: bytes, begin: int, end: int) -> float:
    """Log probability of the tokens that begin in characters [begin, end) of an echoed prompt.

    Raises `UsageError` where the server does not echo them.
    """
    body = _mapping(parse_body(content))
    if fault := of_answer(body):
        raise fault
    choices = body.get("choices")
    logprobs = _mapping(_mapping(choices[0] if isinstance(choices, list) and choices else None).get("logprobs"))
    offsets, values = logprobs.get("text_offset"), logprobs.get("token_logprobs")
    if not offsets or not values:
        raise UsageError(
            "this server returns no log probabilities of prompts, which --decode rerank and "
            "--wrong hardest read (vLLM's completion endpoint does); omit them"
        )
    return float(
        sum(
            value for value, offset in zip(values, offsets, strict=False) if begin <= offset < end and value is not None
        )
    )


def parse_body(content: bytes) -> Any:
    """A body as JSON; a stream of events merged; text where it is neither."""
    text = content.decode("utf-8-sig", "replace").strip()
    if text.startswith(("data:", "event:", ":")):
        return _joined(text)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def mended(text: str) -> str:
    """The text with halves of surrogate pairs joined where they meet, else replaced."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _choice(content: bytes) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The first choice of a body of status 200, and the tokens used. Raises `Fault`."""
    body = parse_body(content)
    if isinstance(body, list) and body:
        body = body[0]
    if isinstance(body, str):
        page = "<html" in body.lower() or "<!doctype" in body.lower()
        raise Fault(
            f"malformed answer: {'a web page' if page else 'no JSON'}: {one_clean_line(message(body))}",
            200,
            again=True,
            most=MALFORMED_RETRIES,
            no_path=page,
        )
    if not isinstance(body, Mapping):
        raise _malformed(f"no object but {one_clean_line(str(body))}")
    if fault := of_answer(body):
        raise fault
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        raise _malformed(f"no choices in {one_clean_line(json.dumps(body, ensure_ascii=False))}")
    return choices[0], _mapping(body.get("usage"))


def _reply(choice: Mapping[str, Any], usage: Mapping[str, Any], style: str, limit: int) -> Reply:
    reply = _mapping(choice.get("message") or choice.get("delta"))
    reason = str(choice.get("finish_reason") or "").lower()
    parts = reply.get("content") if reply.get("content") is not None else choice.get("text")
    content = _joined_parts(parts, thoughts=False)
    thoughts = next(
        (
            text
            for name in ("reasoning_content", "reasoning", "thinking")
            if (text := _joined_parts(reply.get(name), thoughts=False))
        ),
        None,
    )
    thoughts = thoughts or _joined_parts(parts, thoughts=True) or None
    if reason in BROKEN_OFF:
        raise Fault(
            f"the server broke off ({reason}): {one_clean_line(message(choice.get('error') or content or '-'))}",
            200,
            again=True,
        )
    if not content and not thoughts:
        _explain_silence(reply, choice, reason, parts)
    tagged, text = split_reasoning(content)
    completion = _count(usage, "completion_tokens")
    thought = _count(_mapping(usage.get("completion_tokens_details")), "reasoning_tokens")
    overlong = max(completion - thought, len(text.split())) > limit  # a word has at least one token
    finished = reason in ENDED and not overlong
    if style == "completion":
        text, ended = up_to_blank_line(text)
        finished |= ended
    return Reply(
        _safe(text).strip(),
        _safe(thoughts or tagged),
        finished,
        _count(usage, "prompt_tokens"),
        completion,
        overlong=overlong,
    )


def _explain_silence(reply: Mapping[str, Any], choice: Mapping[str, Any], reason: str, parts: Any) -> None:
    """Raise the `Fault` of an answer without text, unless it is an empty text that ended by itself."""
    refusal = reply.get("refusal") or _joined_parts(parts, kind="refusal")
    if refusal:
        raise Fault(f"the model refused: {one_clean_line(message(refusal))}", 200)
    if calls := reply.get("tool_calls") or reply.get("function_call"):
        raise Fault(f"the model called a tool instead of answering: {one_clean_line(json.dumps(calls))}", 200)
    if reason not in ENDED and reason not in ("length", "max_tokens"):
        details = choice.get("content_filter_results") or choice.get("error")
        more = f": {one_clean_line(json.dumps(details))}" if details else ""
        raise Fault(f"no text, stopped by {one_clean_line(reason)}{more}", 200)
    if not isinstance(parts, (str, list)) and reason not in ("length", "max_tokens"):
        raise _malformed(f"a choice without text{f' ({one_clean_line(reason)})' if reason else ''}")


def _joined_parts(value: Any, thoughts: bool = False, kind: str | None = None) -> str:
    """The text of a content that may be a string, a part or a list of parts.

    `thoughts`: the parts that hold a model's thinking; `kind`: parts of that type alone.
    """
    return "".join(
        text
        for part_kind, text in _parts(value)
        if (part_kind == kind if kind else part_kind != "refusal" and (part_kind == "thinking") == thoughts)
    )


def _parts(value: Any) -> Iterator[tuple[str, str]]:
    """(text, thinking or refusal; its text) of every part."""
    if isinstance(value, str):
        yield "text", value
    elif isinstance(value, Mapping):
        kind = str(value.get("type") or "text")
        for name, part_kind in (
            ("text", "text"),
            ("value", "text"),
            ("content", "text"),
            ("refusal", "refusal"),
            ("thinking", "thinking"),
            ("reasoning", "thinking"),
            ("summary", "thinking"),
        ):
            if value.get(name):
                inner = "thinking" if kind in ("thinking", "reasoning", "thought") else part_kind
                yield from ((inner, text) for _, text in _parts(value[name]))
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for part in value:
            yield from _parts(part)


def _joined(stream: str) -> Any:
    """The answer that a stream of server-sent events makes."""
    content, thoughts, reason = "", "", None
    usage: Any = {}
    lines = [line.removeprefix("data:").strip() for line in stream.split("\n") if line.startswith("data:")]
    for line in lines:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue  # [DONE]
        event = _mapping(event)
        if event.get("error"):
            return event
        usage = event.get("usage") or usage
        for choice in event.get("choices") or ():
            piece = _mapping(choice.get("delta") or choice.get("message"))
            content += _joined_parts(piece.get("content") or choice.get("text"))
            thoughts += _joined_parts(piece.get("reasoning_content") or piece.get("reasoning"))
            reason = choice.get("finish_reason") or reason
    if reason is None and "[DONE]" not in lines:
        return stream  # cut off
    return {
        "choices": [{"message": {"content": content, "reasoning_content": thoughts or None}, "finish_reason": reason}],
        "usage": usage,
    }


def _malformed(what: str) -> Fault:
    return Fault(f"malformed answer: {what}", 200, again=True, most=MALFORMED_RETRIES)


def _safe(text: str | None) -> Any:
    return None if text is None else without_secrets(mended(text), shortest=REAL_KEY)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _count(usage: Mapping[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
