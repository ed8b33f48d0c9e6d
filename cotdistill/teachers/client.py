"""The openai client as one function: a request in, the bytes of its answer or a `Fault` out.

No exception of the client leaves this file: their texts quote headers, and with them the key.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from cotdistill.errors import Unavailable, missing_extra
from cotdistill.redaction import redacted
from cotdistill.teachers.address import Address
from cotdistill.teachers.api_key import proxies
from cotdistill.teachers.faults import Fault, of_body, of_connection, one_clean_line
from cotdistill.teachers.replies import parse_body

NO_KEY = "none"  # local servers need none, the client insists on one
HOSTED = "api.openai.com"
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


class Client:
    """Connections to one server, under each of its possible base URLs; closed by `async with`."""

    def __init__(self, openai: Any, key: str | None, address: Address | None, timeout: float) -> None:
        self.openai, self.timeout = openai, timeout
        self.place = HOSTED if address is None else address.place
        self.bases = (None,) if address is None else address.bases
        options: dict[str, Any] = {"api_key": key or NO_KEY, "timeout": timeout, "max_retries": 0}
        try:
            if address is not None:
                options |= {"base_url": address.bases[0], "default_query": address.query}
            if address is not None and address.azure and key:
                # A header other than Authorization would follow a redirect to any host.
                options |= {
                    "default_headers": {"api-key": key},
                    "http_client": openai.DefaultAsyncHttpxClient(follow_redirects=False),
                }
            first = openai.AsyncOpenAI(**options)
            self.clients = [first, *(first.with_options(base_url=base) for base in self.bases[1:])]
        except Exception as error:  # of the environment's proxies, certificates, headers
            raise _misconfigured(error) from None

    def where(self, base: int) -> str:
        """A base URL, with the proxy and certificates on the way to it."""
        proxied = f" through the proxy of {' or '.join(proxies())}" if proxies() else ""
        return f"{redacted(str(self.clients[base].base_url)).rstrip('/')}{proxied}"

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.clients[0].close()

    async def post(self, base: int, style: str, options: Mapping[str, Any]) -> bytes:
        """The body that a request is answered with; the time limit bounds all of it, not each read."""
        client = self.clients[base]
        endpoint = client.chat.completions if style == "chat" else client.completions
        try:
            async with asyncio.timeout(self.timeout):
                answer = await endpoint.with_raw_response.create(**options)
        except (TimeoutError, self.openai.APITimeoutError):
            raise Fault(f"no answer within {self.timeout:g} s", 408, again=True) from None
        except self.openai.APIStatusError as error:
            raise _refused(error.response) from None
        except self.openai.APIConnectionError as error:
            raise of_connection(error, self.place) from None
        except Exception as error:  # any other failure of the client fails this row alone
            raise Fault(f"{type(error).__name__}: {one_clean_line(str(error))}", 0) from None
        return bytes(answer.http_response.content)


def _refused(response: Any) -> Fault:
    fault = of_body(parse_body(response.content), response.status_code, response.headers)
    if response.history:  # a redirected POST arrives as a GET, and without its body
        fault.args = (f"{fault} (redirected to {one_clean_line(str(response.url))}: is --base-url right?)",)
    return fault


def _misconfigured(error: Exception) -> Unavailable:
    """Why no client can be created, and what to set."""
    reason = one_clean_line(str(error)) or type(error).__name__
    through = ", ".join(proxies())
    if isinstance(error, ImportError) and "socks" in reason.lower():
        return missing_extra("socks", f"the SOCKS proxy of {through}")
    if through and "proxy" in reason.lower():
        return Unavailable(
            f"{through} is not the URL of a proxy ({reason}); set it to http://HOST:PORT or "
            "socks5://HOST:PORT, or unset it"
        )
    named = [name for name in CERTIFICATES if os.environ.get(name)]
    if isinstance(error, OSError) and named:
        return Unavailable(f"{' and '.join(named)}: cannot read certificates ({reason}); set it to a PEM file")
    return Unavailable(f"cannot create a client for the server: {reason}")
