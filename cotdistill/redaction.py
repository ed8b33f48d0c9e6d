"""Removes secrets from every text that is printed or written for people.

Keys and passwords are registered where they are read (`hide`). `console.say`, the traceback of `--debug` and
the reasons in a journal go through `redacted`; no other code has to care. Passwords in URLs and bearer
tokens are removed by their form, registered or not.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

MASK = "***"
SHORTEST = 5  # characters; shorter ones protect nothing and would mask ordinary words
USERINFO = re.compile(r"(?<=://)[^/\s?#'\"]+@")
IN_QUERY = re.compile(r"(?i)([?&][\w-]*(?:key|token|secret|sig|signature|password)=)[^&\s#'\"]+")
BEARER = re.compile(r"(?i)\bbearer\s+(?=\S*\d)[^\s'\"\\]{8,}")
SECRET_NAME = re.compile(r"(?i)key$|secret|passw|authorization|credential|bearer|(^|[_-])(token|auth|sig|signature)$")
UNMISTAKABLE = 8  # characters; shorter secrets are masked only as words of their own

_hidden: set[str] = set()


def hide(secret: str) -> None:
    """Register a secret: it is masked from now on, in every spelling that an error message may give it."""
    for text in {secret, secret.strip(), *secret.splitlines(), unquote(secret)}:
        spelled = {
            text,
            repr(text)[1:-1],
            repr(text.encode("utf-8", "replace"))[2:-1],
            json.dumps(text)[1:-1],
            quote(text, safe="", errors="replace"),
            base64.b64encode(text.encode("utf-8", "replace")).decode(),
        }
        _hidden.update(spelling for spelling in spelled if len(spelling) >= SHORTEST)


def masked(value: Any) -> Any:
    """JSON with `MASK` in place of strings under names such as `api_key`, which are registered; else unchanged."""
    if isinstance(value, Mapping):
        return {
            name: _masked_whole(element) if SECRET_NAME.search(name) else masked(element)
            for name, element in value.items()
        }
    if isinstance(value, list):
        return [masked(element) for element in value]
    return redacted(value) if isinstance(value, str) else value


def _masked_whole(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _masked_whole(element) for name, element in value.items()}
    if isinstance(value, list):
        return [_masked_whole(element) for element in value]
    if not isinstance(value, str):
        return value
    hide(value)
    return MASK


def redacted(text: str) -> str:
    """The text without registered secrets, passwords and keys in URLs, and bearer tokens."""
    text = USERINFO.sub(f"{MASK}@", without_secrets(text))
    return BEARER.sub(f"Bearer {MASK}", IN_QUERY.sub(rf"\1{MASK}", text))


def without_secrets(text: str, shortest: int = SHORTEST) -> str:
    """The text without registered secrets of at least so many characters."""
    for secret in sorted(_hidden, key=len, reverse=True):  # the longest first: one may hold another
        if len(secret) < shortest or secret not in text:
            continue
        if len(secret) >= UNMISTAKABLE:
            text = text.replace(secret, MASK)
        else:
            text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(secret)}(?![A-Za-z0-9])", MASK, text)
    return text
