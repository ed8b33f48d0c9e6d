"""One OpenAI-compatible server: requests in, what is read from the answers out, asked again where that may help.

The openai client builds and sends requests; retries are decided here, since servers put failures into answers of
status 200 too. What no retry can fix (a refused key, an unknown model, an exhausted account, no server there) is
`Unavailable`. The key is read from the environment and never written.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from cotdistill.config.server import PREFIX, ServerOptions
from cotdistill.console import warn_once
from cotdistill.errors import Unavailable, UsageError, missing_extra
from cotdistill.seeds import rng
from cotdistill.teachers.address import address
from cotdistill.teachers.api_key import KEY, read_key
from cotdistill.teachers.client import Client
from cotdistill.teachers.dialect import GREEDY, OLD_LIMIT, Dialect
from cotdistill.teachers.faults import Fault

T = TypeVar("T")
FIRST_WAIT, LONGEST_BACKOFF = 0.5, 8.0  # seconds before the next try, doubling
GLANCE = 0.1  # seconds; how often a wait checks whether the run is over


class Server:
    """`openai:MODEL` at `--base-url`, and the dialect that its answers have taught. `option`: what named it."""

    def __init__(self, option: str, name: str, options: ServerOptions, seed: int) -> None:
        try:
            import openai
        except ImportError:
            raise missing_extra("openai", f"{option} {PREFIX}NAME") from None
        self.openai, self.options, self.seed = openai, options, seed
        self.model = name.removeprefix(PREFIX)
        if not self.model.strip() or not self.model.isprintable():
            raise UsageError(f"{option} {name}: name the server's model, such as openai:gpt-4o-mini")
        self.key = read_key()
        self.address = address(options.base_url)
        if self.key is None and self.address is None:
            raise Unavailable(f"no key: set {KEY}, or name a server of your own with --base-url")
        self.extra: dict[str, Any] = json.loads(options.extra_body or "{}")
        self.answered = 0
        self.dialect = Dialect()
        self.over: Callable[[], bool] = lambda: False  # whether no further request is to be made

    @property
    def named(self) -> dict[str, Any]:
        """What every request begins with."""
        return {"model": self.model, "extra_body": self.extra or None}

    def client(self) -> Client:
        """Connections to it; closed by `async with`."""
        return Client(self.openai, self.key, self.address, self.options.timeout)

    async def asked(
        self, client: Client, style: str, asked: Mapping[str, Any], read: Callable[[bytes], T]
    ) -> tuple[T, Dialect]:
        """What `read` makes of the answer, asked again where that may help, and the dialect understood.

        Raises `Fault` where this request failed, `Unavailable` where every other one would.
        """
        dialect, tries = self.dialect, 0
        while True:
            try:
                answer = read(await client.post(dialect.base, style, dialect.adapted(asked)))
            except Fault as fault:
                if other := dialect.after(fault, len(client.bases), asked):
                    dialect = other
                    continue
                most = self.options.retries if fault.most is None else min(fault.most, self.options.retries)
                if not fault.again or tries >= most:
                    raise self._lost(fault, tries, client, dialect, style, asked) from None
                await self._wait(fault, tries)
                tries += 1
            else:
                self.answered += 1
                self._learn(dialect)
                return answer, dialect

    def _learn(self, dialect: Dialect) -> None:
        """Remember the dialect that the server accepted for all later requests."""
        if dialect.temperature is None:
            warn_once(
                "the server refuses temperature 0 and was asked at its own: what is called greedy are "
                'samples (recorded as "served" in the rows)'
            )
        if self.dialect.limit == OLD_LIMIT:  # learnt from an answer beyond the limit, not from a refusal
            dialect = replace(dialect, limit=OLD_LIMIT)
        self.dialect = dialect

    def _lost(
        self, fault: Fault, tries: int, client: Client, dialect: Dialect, style: str, request: Mapping[str, Any]
    ) -> Fault | Unavailable:
        """The error that ends one request, or the run."""
        if fault.hopeless:
            return Unavailable(fault.hopeless)
        for name in ("temperature", "top_p"):
            if name in request and request[name] != GREEDY and fault.refuses(name):
                return Unavailable(f"the server refuses --{name.replace('_', '-')} {request[name]:g}: {fault}")
        if "logprobs" in request and (fault.refuses("logprobs") or fault.refuses("top_logprobs")):
            return Unavailable(f"the server refuses --logprobs: {fault}; take fewer, or omit it")
        if fault.status in (404, 405) or (fault.unknown_model and not self.answered):
            return Unavailable(
                f"the server does not know the model {self.model!r} or the {style} endpoint "
                f"at {client.where(dialect.base)}: {fault}"
            )
        if fault.status is None and not self.answered:
            return Unavailable(f"cannot reach {client.where(0)}: {fault}; is it running?")
        if fault.status == 429 and tries:
            return Fault(f"rate limited after {tries} retries: {fault}", 429)
        if fault.status is None:
            return Fault(f"connection lost: {fault}")
        return fault

    async def _wait(self, fault: Fault, tries: int) -> None:
        """Until the next try: as long as the server asks for, else doubling. Raises `Abandoned` where the run
        ends meanwhile: another request would be begun anew."""
        jitter = 1 - 0.25 * rng(self.seed, "wait", str(fault), tries).random()
        seconds = fault.wait or min(FIRST_WAIT * 2.0**tries, LONGEST_BACKOFF) * jitter
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self.over():
                raise Abandoned
            await asyncio.sleep(min(left, GLANCE))


class Abandoned(Exception):
    """The run is over before a request could be made again."""


def shared_until(calls: Iterator[T], over: Callable[[], bool]) -> Iterator[T]:
    """Calls from an iterator that all workers share, until it is over."""
    while not over():
        call = next(calls, None)
        if call is None:
            return
        yield call
