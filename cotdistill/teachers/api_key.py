"""The key of a server: read from the environment, checked before it becomes a header, never written."""

from __future__ import annotations

import os
import re

from cotdistill.errors import Unavailable
from cotdistill.redaction import hide

KEY = "OPENAI_API_KEY"
HEADERS = (KEY, "OPENAI_ORG_ID", "OPENAI_PROJECT_ID")  # variables whose values the client sends as headers
CUSTOM = "OPENAI_CUSTOM_HEADERS"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def read_key() -> str | None:
    """The key, None where the variable is not set.

    Registers it, and whatever else the client sends or might quote, with `redaction`. Raises `Unavailable`, naming
    the variable but not the value, for one that no header can carry.
    """
    for name in (KEY, "OPENAI_ADMIN_KEY"):
        hide(os.environ.get(name, ""))
    for line in os.environ.get(CUSTOM, "").splitlines():
        hide(line.partition(":")[2].strip())
    for url in proxies().values():
        _hide_password(url)
    for name in HEADERS:
        if name in os.environ:
            _check(name, os.environ[name])
    return os.environ.get(KEY)


def proxies() -> dict[str, str]:
    """The proxies that the environment names, by variable."""
    names = [name for upper in PROXIES for name in (upper, upper.lower())]
    return {name: os.environ[name] for name in names if os.environ.get(name)}


def _check(name: str, value: str) -> None:
    remedy = f"set {name} to the bare value, or unset it where the server asks for none"
    if not value.strip():
        if name == KEY:
            raise Unavailable(f"{name} is empty; {remedy}")
        return
    if len(value.splitlines()) > 1:
        raise Unavailable(f"{name} contains several lines; {remedy}")
    if value != value.strip():
        raise Unavailable(f"{name} begins or ends with whitespace; {remedy}")
    if not value.isascii():
        raise Unavailable(f"{name} contains characters that are not ASCII; {remedy}")
    if re.search(r"[^\x21-\x7e]", value):
        raise Unavailable(f"{name} contains whitespace or control characters; {remedy}")


def _hide_password(url: str) -> None:
    userinfo = url.partition("://")[2].rpartition("@")[0]
    if userinfo:
        hide(userinfo)
        hide(userinfo.partition(":")[2])
