"""A teacher behind an OpenAI-compatible server: vLLM, TGI, llama.cpp, `transformers serve`, or a hosted one.

A call that keeps failing is recorded with its reason. What no retry can fix ends the run in one line, after the calls
under way are in the journal. Greedy decoding over HTTP is not promised to be repeatable: the rows are the record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cotdistill.config import ElicitConfig
from cotdistill.data.distributions import Recorded
from cotdistill.data.journal import FinishedCall
from cotdistill.errors import CotdistillError, Unavailable, UsageError
from cotdistill.redaction import masked
from cotdistill.seeds import derive
from cotdistill.teachers.calls import Call, Deliver, Reply
from cotdistill.teachers.client import Client
from cotdistill.teachers.dialect import GREEDY, NEW_LIMIT, OLD_LIMIT
from cotdistill.teachers.drain import Drain
from cotdistill.teachers.faults import Fault
from cotdistill.teachers.replies import log_probability, read_reply
from cotdistill.teachers.rerank import best_of
from cotdistill.teachers.served_tokens import ServedTokens
from cotdistill.teachers.server import Abandoned, Server, shared_until

CHARACTERS_A_TOKEN = 4  # a rule of thumb for English: the server's tokenizer is unknown here


class OpenAITeacher:
    """`openai:MODEL` at `--base-url`; chat or completion endpoint."""

    def __init__(self, config: ElicitConfig) -> None:
        self.server = Server("--teacher", config.teacher, config, config.seed)
        if config.contrasts and config.endpoint == "chat":
            raise UsageError(
                "--decode rerank reads the log probabilities of prompts, which only completion "
                "endpoints return; add --endpoint completion"
            )
        self.served: ServedTokens | None = None
        if config.logprobs is not None:
            assert config.tokenizer is not None  # refused before (`eliciting.refuse_unscored`)
            self.served = ServedTokens(config.tokenizer, config.logprobs, config.trust_remote_code)
        self.config = config
        self.name = config.teacher
        self.style: str = config.endpoint
        self.context: int | None = None
        self.settings: Mapping[str, Any] = {
            "endpoint": config.endpoint,
            **({"extra_body": masked(self.server.extra)} if self.server.extra else {}),
        }

    def wrap(self, prompt: str) -> str:
        """The prompt; a chat template is the server's business."""
        return prompt

    def count(self, text: str) -> int:
        """About how many tokens a text has."""
        return -(-len(text) // CHARACTERS_A_TOKEN)

    def ask(self, calls: Sequence[Call], deliver: Deliver, drain: Drain) -> None:
        """Up to `concurrency` calls at once. Raises `Unavailable` for what no retry can fix."""
        asyncio.run(self._ask(calls, deliver, drain))

    def rank(self, prompt: str, continuations: Sequence[str]) -> list[float]:
        """Log probability of each continuation; the completion endpoint must echo prompts with theirs."""
        try:
            return self._ranked(prompt, continuations)
        except Fault as fault:
            raise Unavailable(f"scoring a prompt failed: {fault}") from None

    @property
    def vocabulary(self) -> str:
        """Digest of the vocabulary of `--tokenizer`."""
        assert self.served is not None
        return self.served.vocabulary

    def along(self, call: Call, entry: FinishedCall, k: int) -> Recorded:
        """What the server told along a rationale: see `teachers.served_tokens`."""
        assert self.served is not None
        return self.served.along(entry.rationale.text if entry.rationale else "", entry.said)

    async def _ask(self, calls: Sequence[Call], deliver: Deliver, drain: Drain) -> None:
        waiting = iter(calls)
        hopeless: list[CotdistillError] = []
        self.server.over = over = lambda: drain.asked or bool(hopeless)
        async with self.server.client() as client:

            async def work() -> None:
                for call in shared_until(waiting, over):
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
        reply, dialect = await self.server.asked(
            client, self.style, asked, lambda body: read_reply(body, self.style, limit)
        )
        if reply.overlong and dialect.limit == NEW_LIMIT:  # it may accept the older name
            self.server.dialect = replace(self.server.dialect, limit=OLD_LIMIT)
        if self.served is None:
            reply = replace(reply, said=())
        else:
            self.served.check(reply.text, reply.said)
        return replace(reply, served=dialect.served()) if greedy else reply

    def _request(self, call: Call, sample: int) -> dict[str, Any]:
        """The request for a server that accepts every parameter."""
        limit = self.config.max_new_tokens
        request: dict[str, Any] = {**self.server.named}
        if self.style == "completion":
            request |= {"prompt": call.prompt, OLD_LIMIT: limit, "stop": ["\n\n"], **self._top("logprobs")}
        else:
            request |= {"messages": [{"role": "user", "content": call.prompt}], NEW_LIMIT: limit}
            request |= {"logprobs": True, **self._top("top_logprobs")} if self.served else {}
        if self.config.decode == "greedy":
            return {**request, "temperature": GREEDY}
        # Reasoning models refuse these unless they are left at 1.
        chosen = {"temperature": self.config.temperature, "top_p": self.config.top_p}
        seed = derive(self.config.seed, "sample", call.example.id, call.kind, call.supports, sample) % 2**31
        return {**request, **{name: value for name, value in chosen.items() if value != 1.0}, "seed": seed}

    def _top(self, parameter: str) -> dict[str, Any]:
        """What asks for the likeliest tokens, where they are stored."""
        return {} if self.config.logprobs is None else {parameter: self.config.logprobs}

    def _ranked(self, prompt: str, continuations: Sequence[str]) -> list[float]:
        return asyncio.run(self._rank(prompt, continuations))

    async def _rank(self, prompt: str, continuations: Sequence[str]) -> list[float]:
        async with self.server.client() as client:
            return [await self._log_probability(client, prompt, text) for text in continuations]

    async def _log_probability(self, client: Client, prompt: str, text: str) -> float:
        asked = {
            **self.server.named,
            "prompt": prompt + text,
            OLD_LIMIT: 1,
            "temperature": GREEDY,
            "echo": True,
            "logprobs": 1,
        }
        value, _ = await self.server.asked(
            client, "completion", asked, lambda body: log_probability(body, len(prompt), len(prompt + text))
        )
        return value
