"""A teacher behind an OpenAI-compatible server: vLLM, TGI, llama.cpp, `transformers serve`, or a hosted one.

The openai client builds and sends requests; when to ask again is decided here, since servers put failures into
answers of status 200 too. What stays broken is a failed call with its reason. What no retry can mend (a refused
key, an unknown model, an exhausted account, no server there) ends the run in one line, after the calls under way
are in the journal. The key is read from the environment and written nowhere. Greedy decoding over HTTP is not
promised to be repeatable: the rows are the record.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from cotdistill.config import ElicitConfig
from cotdistill.console import warn_once
from cotdistill.errors import CotdistillError, Unavailable, UsageError, missing_extra
from cotdistill.redaction import masked
from cotdistill.seeds import derive, rng
from cotdistill.teachers.address import address
from cotdistill.teachers.api_key import KEY, read_key
from cotdistill.teachers.calls import Call, Deliver, Reply
from cotdistill.teachers.client import Client
from cotdistill.teachers.dialect import GREEDY, NEW_LIMIT, OLD_LIMIT, Dialect
from cotdistill.teachers.drain import Drain
from cotdistill.teachers.faults import Fault
from cotdistill.teachers.replies import log_probability, read_answer
from cotdistill.teachers.rerank import best_of

T = TypeVar("T")
PREFIX = "openai:"
CHARACTERS_A_TOKEN = 4  # a rule of thumb for English: the server's tokenizer is not known here
FIRST_WAIT, LONGEST_BACKOFF = 0.5, 8.0  # seconds before the next try, doubling
GLANCE = 0.1  # seconds; how often a wait looks whether the run is over


class OpenAITeacher:
    """`openai:MODEL` at `--base-url`; chat or completion endpoint."""

    def __init__(self, config: ElicitConfig) -> None:
        try:
            import openai
        except ImportError:
            raise missing_extra("openai", "a server teacher") from None
        if config.decode == "contrastive":
            raise UsageError("--decode contrastive needs the probabilities of every token, which servers do "
                             "not give; use --decode rerank (the best of K samples by the contrastive "
                             "score), or a local model")
        if config.contrasts and config.endpoint == "chat":
            raise UsageError("--decode rerank reads the log probabilities of prompts, which only completion "
                             "endpoints give; add --endpoint completion")
        self.openai, self.config = openai, config
        self.model = config.teacher.removeprefix(PREFIX)
        if not self.model.strip() or not self.model.isprintable():
            raise UsageError(f"--teacher {config.teacher}: name the server's model, such as openai:gpt-4o-mini")
        self.key = read_key()
        self.address = address(config.base_url)
        if self.key is None and self.address is None:
            raise Unavailable(f"no key: set {KEY}, or name a server of your own with --base-url")
        self.name = config.teacher
        self.style: str = config.endpoint
        self.context: int | None = None
        self.extra: dict[str, Any] = json.loads(config.extra_body or "{}")
        self.settings: Mapping[str, Any] = {"endpoint": config.endpoint, **(
            {"extra_body": masked(self.extra)} if self.extra else {})}
        self.answered = 0
        self.dialect = Dialect()
        self.over: Callable[[], bool] = lambda: False  # whether no further request is to be made

    def wrap(self, prompt: str) -> str:
        """The prompt; a chat template is the server's business."""
        return prompt

    def count(self, text: str) -> int:
        """About how many tokens a text has."""
        return -(-len(text) // CHARACTERS_A_TOKEN)

    def ask(self, calls: Sequence[Call], deliver: Deliver, drain: Drain) -> None:
        """Up to `concurrency` calls at once. Raises `Unavailable` for what no retry can mend."""
        asyncio.run(self._ask(calls, deliver, drain))

    def rank(self, prompt: str, continuations: Sequence[str]) -> list[float]:
        """Log probability of each continuation; the completion endpoint must echo prompts with theirs."""
        try:
            return self._ranked(prompt, continuations)
        except Fault as fault:
            raise Unavailable(f"scoring a prompt failed: {fault}") from None

    async def _ask(self, calls: Sequence[Call], deliver: Deliver, drain: Drain) -> None:
        waiting = iter(calls)
        hopeless: list[CotdistillError] = []
        self.over = lambda: drain.asked or bool(hopeless)
        async with self._client() as client:

            async def work() -> None:
                for call in _until(waiting, self.over):
                    try:
                        reply = await self._answer(client, call)
                    except Abandoned:
                        return
                    except (Unavailable, UsageError) as error:  # calls under way elsewhere are paid for: they
                        hopeless.append(error)  # finish first
                    else:
                        deliver(call, reply)

            await asyncio.gather(*(work() for _ in range(min(self.config.concurrency, len(calls)))))
        if hopeless:
            raise hopeless[0]

    async def _answer(self, client: Client, call: Call) -> Reply:
        """The reply to one call, or why there is none."""
        try:
            if self.config.decode != "rerank":
                return await self._reply(client, call, int(call.decoding.get("sample", 0)))
            replies = [await self._reply(client, call, at) for at in range(self.config.samples)]
            return await asyncio.to_thread(best_of, call, replies, self._ranked, self.config.lambda_)
        except Fault as fault:
            return Reply("", failed=str(fault))

    async def _reply(self, client: Client, call: Call, sample: int) -> Reply:
        asked = self._request(call, sample)
        greedy, limit = self.config.decode == "greedy", self.config.max_new_tokens
        reply, dialect = await self._asked(client, self.style, asked,
                                           lambda body: read_answer(body, self.style, limit))
        if reply.overlong and dialect.limit == NEW_LIMIT:  # it may know the older name
            self.dialect = replace(self.dialect, limit=OLD_LIMIT)
        return replace(reply, served=dialect.served()) if greedy else reply

    async def _asked(self, client: Client, style: str, asked: Mapping[str, Any],
                     read: Callable[[bytes], T]) -> tuple[T, Dialect]:
        """What `read` makes of the answer, asked again where that may help, and the dialect understood.

        Raises `Fault` where this request failed, `Unavailable` where every other one would.
        """
        dialect, tries = self.dialect, 0
        while True:
            try:
                found = read(await client.post(dialect.base, style, dialect.adapted(asked)))
            except Fault as fault:
                if other := dialect.after(fault, len(client.bases), asked):
                    dialect = other
                    continue
                most = self.config.retries if fault.most is None else min(fault.most, self.config.retries)
                if not fault.again or tries >= most:
                    raise self._lost(fault, tries, client, dialect, asked) from None
                await self._wait(fault, tries)
                tries += 1
            else:
                self.answered += 1
                self._learn(dialect)
                return found, dialect

    def _request(self, call: Call, sample: int) -> dict[str, Any]:
        """What is asked, in the words of a server that understands everything."""
        limit = self.config.max_new_tokens
        asked: dict[str, Any] = {"model": self.model, "extra_body": self.extra or None}
        if self.style == "completion":
            asked |= {"prompt": call.prompt, OLD_LIMIT: limit, "stop": ["\n\n"]}
        else:
            asked |= {"messages": [{"role": "user", "content": call.prompt}], NEW_LIMIT: limit}
        if self.config.decode == "greedy":
            return {**asked, "temperature": GREEDY}
        # Reasoning models refuse these unless they are left at 1.
        chosen = {"temperature": self.config.temperature, "top_p": self.config.top_p}
        seed = derive(self.config.seed, "sample", call.example.id, call.kind, call.supports, sample) % 2**31
        return {**asked, **{name: value for name, value in chosen.items() if value != 1.0}, "seed": seed}

    def _learn(self, dialect: Dialect) -> None:
        """Remember what the server understood, for all that is asked from now on."""
        if dialect.temperature is None:
            warn_once("the server refuses temperature 0 and was asked at its own: what is called greedy are "
                      'samples (recorded as "served" in the rows)')
        if self.dialect.limit == OLD_LIMIT:  # learnt from an answer that ran over, which no refusal says
            dialect = replace(dialect, limit=OLD_LIMIT)
        self.dialect = dialect

    def _lost(self, fault: Fault, tries: int, client: Client, dialect: Dialect,
              asked: Mapping[str, Any]) -> Fault | Unavailable:
        """The end of one request, or of all."""
        if fault.hopeless:
            return Unavailable(fault.hopeless)
        for name in ("temperature", "top_p"):
            if name in asked and asked[name] != GREEDY and fault.refuses(name):
                return Unavailable(f"the server refuses --{name.replace('_', '-')} {asked[name]:g}: {fault}")
        if fault.status in (404, 405) or (fault.unknown_model and not self.answered):
            return Unavailable(f"the server does not know the model {self.model!r} or the {self.style} endpoint "
                               f"at {client.where(dialect.base)}: {fault}")
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
        jitter = 1 - 0.25 * rng(self.config.seed, "wait", str(fault), tries).random()
        seconds = fault.wait or min(FIRST_WAIT * 2.0**tries, LONGEST_BACKOFF) * jitter
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self.over():
                raise Abandoned
            await asyncio.sleep(min(left, GLANCE))

    def _ranked(self, prompt: str, continuations: Sequence[str]) -> list[float]:
        return asyncio.run(self._rank(prompt, continuations))

    async def _rank(self, prompt: str, continuations: Sequence[str]) -> list[float]:
        async with self._client() as client:
            return [await self._log_probability(client, prompt, text) for text in continuations]

    async def _log_probability(self, client: Client, prompt: str, text: str) -> float:
        asked = {"model": self.model, "extra_body": self.extra or None, "prompt": prompt + text, OLD_LIMIT: 1,
                 "temperature": GREEDY, "echo": True, "logprobs": 1}
        value, _ = await self._asked(client, "completion", asked,
                                     lambda body: log_probability(body, len(prompt), len(prompt + text)))
        return value

    def _client(self) -> Client:
        return Client(self.openai, self.key, self.address, self.config.timeout)


class Abandoned(Exception):
    """The run is over before a request could be made again."""


def _until(calls: Iterator[Call], over: Callable[[], bool]) -> Iterator[Call]:
    """Calls from an iterator that all workers share, until it is over."""
    while not over():
        call = next(calls, None)
        if call is None:
            return
        yield call
