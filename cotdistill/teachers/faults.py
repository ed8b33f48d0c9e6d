"""Why a request failed, and the consequence: another try, a failed row, or the end of the run.

The server's own words are kept: without secrets, control characters or markup, shortened.
"""

from __future__ import annotations

import json
import math
import os
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from email.utils import mktime_tz, parsedate_tz
from html import unescape
from http import HTTPStatus
from typing import Any

from cotdistill.escaping import one_line
from cotdistill.redaction import redacted
from cotdistill.teachers.api_key import KEY

LONGEST_MESSAGE = 300  # characters kept of a server's message
LONGEST_WAIT = 120.0  # seconds; a server that asks for more is not waited for
PASSING = {408, 409, 425, 429, 500, 502, 503, 504, *range(520, 531)}  # statuses that may pass on another try
CODES = {
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "insufficient_quota": 402,
    "overloaded_error": 529,
    "server_error": 500,
    "internal_error": 500,
    "internal_server_error": 500,
    "api_error": 500,
    "service_unavailable": 503,
    "timeout": 504,
    "invalid_request_error": 400,
    "badrequesterror": 400,
    "context_length_exceeded": 400,
    "content_policy_violation": 400,
    "content_filter": 400,
    "invalid_api_key": 401,
    "authentication_error": 401,
    "permission_error": 403,
    "model_not_found": 404,
    "notfounderror": 404,
    "request_too_large": 413,
}  # in a body's code or type
NO_PATH = {404, 405}
ABOUT_MODEL = re.compile(r"(?i)\bmodel|deployment|endpoints found")
UNKNOWN_MODEL = re.compile(
    r"(?i)\b(unknown|invalid|no such|unsupported|not a \w+) model|model\b.{0,80}"
    r"(not exist|not found|not a valid|not available|unknown|not supported)"
)
POOR = re.compile(r"(?i)insufficient[\s_](quota|balance|credit|funds)|exceeded your current quota")
MODERATED = re.compile(r"(?i)moderat|flagged|content[\s_](policy|filter|management)|safety")


class Fault(Exception):
    """A request without a usable answer; `str` is one line.

    status: the HTTP status, or the one that the body names; again: another try may succeed; wait: seconds
    that the server asks for; most: further tries at most, None: as many as there are; hopeless: why no
    other call can succeed either; words: the server's whole message; no_path: nothing is served there.
    """

    def __init__(
        self,
        reason: str,
        status: int | None = None,
        *,
        again: bool = False,
        wait: float | None = None,
        most: int | None = None,
        hopeless: str | None = None,
        words: str = "",
        parameters: Sequence[str] = (),
        no_path: bool = False,
    ) -> None:
        super().__init__(reason)
        self.status, self.again, self.wait, self.most, self.hopeless = status, again, wait, most, hopeless
        self.words, self.parameters, self.no_path = words or reason, parameters, no_path

    def refuses(self, parameter: str) -> bool:
        """Whether the request was refused for one of its parameters."""
        if not self.status or self.hopeless or self.status in (408, 429):
            return False
        return re.search(rf"\b{parameter}\b", " ".join(self.parameters) or self.words) is not None

    @property
    def unknown_model(self) -> bool:
        """Whether the request was refused because of its model."""
        return self.status in (400, 404, 422) and (
            UNKNOWN_MODEL.search(self.words) is not None or "model" in self.parameters
        )


def of_body(body: Any, status: int, headers: Mapping[str, str] | None = None) -> Fault:
    """The fault in an error body, of a failed status or of status 200.

    `body`: parsed JSON, or text where it is not JSON.
    """
    error, words, wait = _error(body), message(body), _wait(headers or {})
    poor = bool(POOR.search(words)) or _named(error) == 402
    line = f"HTTP {status}: {one_clean_line(words) or _phrase(status)}"
    again = status in PASSING and not poor
    if wait is not None and wait > LONGEST_WAIT:
        line, again = f"{line} (it asks to wait {wait:.0f} s)", False
    hopeless = None
    if status == 402 or (status == 429 and poor):
        hopeless = f"the account is exhausted: {line}"
    elif status == 401 or (status == 403 and not MODERATED.search(words)):
        hopeless = f"the server refuses the key (is {KEY} right?): {line}"
    return Fault(
        line,
        status,
        again=again,
        wait=wait,
        hopeless=hopeless,
        words=words,
        parameters=_parameters(error),
        no_path=status in NO_PATH and not ABOUT_MODEL.search(words),
    )


def of_answer(body: Mapping[str, Any]) -> Fault | None:
    """The fault in a body of status 200 that is an error nevertheless; None: it is an answer."""
    if body.get("choices"):
        return None
    if not (
        body.get("error") or body.get("object") == "error" or body.get("detail") or isinstance(body.get("message"), str)
    ):
        return None
    status = _named(_error(body))
    if status is not None and status != 200:
        return of_body(body, status)
    words = message(body)
    return Fault(
        f"an error with status 200: {one_clean_line(words)}",
        200,
        again=True,
        most=2,
        words=words,
        parameters=_parameters(_error(body)),
    )


def of_connection(error: BaseException, place: str) -> Fault:
    """The fault of a request that got no answer."""
    chain = list(_chain(error))
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _certificate(cause, place)
        if isinstance(cause, ssl.SSLError) and "WRONG_VERSION" in str(cause):
            reason = f"{place} does not speak TLS; write http:// in --base-url"
            return Fault(reason, hopeless=reason)
        if isinstance(cause, socket.gaierror):
            return Fault(
                f"{place}: {one_clean_line(cause.strerror or str(cause))}", again=cause.errno == socket.EAI_AGAIN
            )
    number = next((cause.errno for cause in chain if isinstance(cause, OSError) and cause.errno), None)
    reason = os.strerror(number) if number else next((str(cause) for cause in chain[1:] if str(cause)), "")
    named = {type(cause).__name__ for cause in chain}
    if "ProxyError" in named:
        reason = f"the proxy refuses: {reason}"
    return Fault(one_clean_line(reason or type(chain[-1]).__name__), again="LocalProtocolError" not in named)


def _certificate(cause: ssl.SSLCertVerificationError, place: str) -> Fault:
    if "ostname mismatch" in cause.verify_message or "IP address mismatch" in cause.verify_message:
        remedy = "write the name it was made for in --base-url"
    else:
        remedy = "set SSL_CERT_FILE to the PEM file of the authority that signed it"
    reason = f"the certificate of {place} does not verify ({cause.verify_message}); {remedy}"
    return Fault(reason, hopeless=reason)


def message(body: Any) -> str:
    """The whole message of an error body: its message field, or the text of a page."""
    if isinstance(body, str):
        return _page(body)
    error = _error(body)
    if isinstance(error, Mapping):
        inner = next(
            (
                error[name]
                for name in ("message", "detail", "error_description", "msg", "title", "reason")
                if error.get(name)
            ),
            None,
        )
        metadata = error.get("metadata")
        raw = metadata.get("raw") if isinstance(metadata, Mapping) else None  # OpenRouter: the provider's words
        text = " - ".join(_text(part) for part in (inner, raw) if part)
        return text or _text(error)
    return _text(error)


def one_clean_line(text: str) -> str:
    """One line without secrets or control characters, shortened."""
    line = one_line(" ".join(redacted(text).split()))
    return line if len(line) <= LONGEST_MESSAGE else line[: LONGEST_MESSAGE - 1] + "…"


def _error(body: Any) -> Any:
    """The part of a body that describes the error."""
    if isinstance(body, list) and body:
        body = body[0]
    if isinstance(body, Mapping) and body.get("error"):
        inner = body["error"]
        return {**body, "message": inner} if isinstance(inner, str) else inner
    return body


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):  # FastAPI's list of {loc, msg}
        return "; ".join(
            f"{'.'.join(map(str, item.get('loc', ())))}: {item['msg']}".removeprefix(": ")
            if isinstance(item, Mapping) and "msg" in item
            else _text(item)
            for item in value
        )
    return json.dumps(value, ensure_ascii=False, default=str)


def _page(text: str) -> str:
    """The text of an HTML page: its title, else its text without tags."""
    if "<" not in text:
        return text
    title = re.search(r"(?is)<title[^>]*>(.*?)</title>", text)
    if title and title[1].strip():
        return unescape(title[1])
    return unescape(re.sub(r"(?s)<(script|style).*?</\1>|<[^>]*>", " ", text))


def _named(error: Any) -> int | None:
    """The status that a body names by number or by word."""
    if not isinstance(error, Mapping):
        return None
    for name in ("code", "status", "status_code", "type"):
        value = error.get(name)
        if re.fullmatch(r"[1-5]\d\d", str(value)):
            return int(str(value))
        if isinstance(value, str) and value.lower() in CODES:
            return CODES[value.lower()]
    return None


def _parameters(error: Any) -> list[str]:
    """Parameters of the request that an error is about, where the error names them."""
    if not isinstance(error, Mapping):
        return []
    names = [error.get("param")]
    if isinstance(error.get("detail"), list):
        names += [
            item["loc"][-1]
            for item in error["detail"]
            if isinstance(item, Mapping) and isinstance(item.get("loc"), list) and item["loc"]
        ]
    return [name for name in names if isinstance(name, str)]


def _wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that Retry-After asks for, given as a number or as a date."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name, "")
        try:
            return None if math.isnan(float(value)) else max(0.0, float(value) / unit)
        except ValueError:
            date = parsedate_tz(value)
        if date is not None:
            with suppress(ValueError, OverflowError):
                return max(0.0, mktime_tz(date) - time.time())
    return None


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "no message"


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in seen:
        seen.append(at)
        yield at
        at = at.__cause__ or at.__context__
