"""The address of a server: whatever people paste as a base URL, read as they meant it.

Accepted: with or without scheme, `/v1`, trailing slash, query (Azure's api-version), the whole path of an
endpoint, user:password@. Where a path may or may not continue with /v1, both are tried, the likelier first.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from cotdistill.errors import UsageError
from cotdistill.redaction import hide, masked, redacted

VARIABLE = "OPENAI_BASE_URL"
ENDPOINT = re.compile(r"/(chat(/completions)?|completions|responses|embeddings|models)$")
VERSION = re.compile(r"/v\d[\w.]*$")
AZURE = "/openai/deployments/"  # expects the key in its own header


@dataclass(frozen=True)
class Address:
    """A server: the base URLs to try, the likelier first, and the query that goes with every request."""

    bases: tuple[str, ...]
    query: dict[str, str]
    place: str  # host and port

    @property
    def azure(self) -> bool:
        """Whether the path is that of an Azure deployment."""
        return AZURE in self.bases[0]


def address(given: str | None) -> Address | None:
    """The address of --base-url, else of OPENAI_BASE_URL; None: the client's own default.

    Raises `UsageError` where it is not the address of a web server.
    """
    option = "--base-url" if given is not None else VARIABLE
    text = given if given is not None else os.environ.get(VARIABLE)
    if text is None or (given is None and not text.strip()):
        return None
    url = _split(text.strip(), option)
    path = re.sub(r"/{2,}", "/", url.path).rstrip("/")
    whole = ENDPOINT.search(path)
    path = ENDPOINT.sub("", path)
    root = f"{url.scheme}://{_userinfo(url)}{_place(url)}"
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    masked(query)
    if whole or VERSION.search(path):
        paths = [path]
    else:
        paths = [path, f"{path}/v1"] if path else ["/v1", ""]
    return Address(tuple(root + path for path in paths), query, _place(url))


def _split(text: str, option: str) -> SplitResult:
    """The parts of a URL, its scheme guessed where there is none."""
    try:
        url = urlsplit(text if "://" in text else f"{_scheme(text)}://{text.lstrip('/')}")
        for secret in filter(None, (url.password, url.username if url.password is None else None)):
            hide(unquote(secret))
        fits = url.hostname and (url.port is None or url.port > 0)
    except ValueError as error:
        raise UsageError(
            f"{option} {redacted(text)!r} is not a URL ({error}); it looks like http://127.0.0.1:8000/v1"
        ) from None
    if url.scheme not in ("http", "https"):
        raise UsageError(f"{option}: use http:// or https://, not {url.scheme}://")
    if not fits or re.search(r"[\s\x00-\x1f\\]", text):
        raise UsageError(f"{option} {redacted(text)!r} is not a URL; it looks like http://127.0.0.1:8000/v1")
    return url


def _scheme(text: str) -> str:
    """http for a local machine, https for a name on the internet."""
    host = urlsplit(f"//{text.lstrip('/')}").hostname or ""
    try:
        local = not ipaddress.ip_address(host).is_global
    except ValueError:
        local = "." not in host or host.endswith((".local", ".internal", ".lan", ".localhost"))
    return "http" if local else "https"


def _userinfo(url: SplitResult) -> str:
    if url.username is None:
        return ""
    parts = [quote(unquote(part), safe="") for part in (url.username, url.password) if part is not None]
    hide(":".join(unquote(part) for part in (url.username, url.password or "")))
    return ":".join(parts) + "@"


def _place(url: SplitResult) -> str:
    """Host and port."""
    host = url.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return host if url.port is None else f"{host}:{url.port}"
