"""A teacher behind an OpenAI-compatible server: vLLM, TGI, llama.cpp, `transformers serve`, or a hosted one.

The openai client retries with backoff and honours Retry-After; what stays broken is a failed call with its
reason. What no retry can mend (a refused key, an unknown model, an exhausted account, no server there) ends
the run in one line, after the calls under way are in the journal. The key is read from the environment and
written nowhere. Greedy decoding over HTTP is not promised to be repeatable: the rows are the record.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cotdistill.config import ElicitConfig
from cotdistill.errors import CotdistillError, Unavailable, UsageError, missing_extra
from cotdistill.seeds import derive
from cotdistill.teachers.blank_line import up_to_blank_line
from cotdistill.teachers.calls import Call, Deliver, Reply
from cotdistill.teachers.drain import Drain
from cotdistill.teachers.reasoning import split_thoughts
from cotdistill.teachers.rerank import best_of

PREFIX = "openai:"
KEY = "OPENAI_API_KEY"
NO_KEY = "none"  # servers of one's own ask for none, the client insists on one
CHARACTERS_A_TOKEN = 4  # a rule of thumb for English: the server's tokenizer is not known here
MALFORMED_RETRIES = 2


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
        self.key = os.environ.get(KEY, NO_KEY)
        if self.key == NO_KEY and not (config.base_url or os.environ.get("OPENAI_BASE_URL")):
            raise Unavailable(f"no key: set {KEY}, or name a server of your own with --base-url")
        self.name = config.teacher
        self.style: str = config.endpoint
        self.context: int | None = None
        self.settings: Mapping[str, Any] = {"endpoint": config.endpoint}
        self.answered = 0

    def wrap(self, prompt: str) -> str:
        """The prompt; a chat template is the server's business."""
        return prompt

    def count(self, text: str) -> int:
        """About how many tokens a text has."""
        return -(-len(text) // CHARACTERS_A_TOKEN)

    def ask(self, calls: Sequence[Call], deliver: Deliver, drain: Drain) -> None:
        """Up to `concurrency` calls at once. Raises `Unavailable` for what no retry can mend."""
        asyncio.run(self._ask(calls, deliver, drain))

    async def _ask(self, calls: Sequence[Call], deliver: Deliver, drain: Drain) -> None:
        waiting = iter(calls)
        hopeless: list[CotdistillError] = []
        async with self.openai.AsyncOpenAI(**self._client()) as client:

            async def work() -> None:
                for call in _until(waiting, lambda: drain.asked or bool(hopeless)):
                    try:
                        deliver(call, await self._answer(client, call))
                    except Unavailable as error:  # calls under way elsewhere are paid for: they finish first
                        hopeless.append(error)

            await asyncio.gather(*(work() for _ in range(min(self.config.concurrency, len(calls)))))
        if hopeless:
            raise hopeless[0]

    async def _answer(self, client: Any, call: Call) -> Reply:
        if self.config.decode != "rerank":
            return await self._reply(client, call, int(call.decoding.get("sample", 0)))
        replies = [await self._reply(client, call, at) for at in range(self.config.samples)]
        return await asyncio.to_thread(best_of, call, replies, self.rank, self.config.lambda_)

    async def _reply(self, client: Any, call: Call, sample: int) -> Reply:
        """One request. A body that is no completion is asked for again, as the client does not."""
        for attempt in range(MALFORMED_RETRIES + 1):
            try:
                reply = _read(await self._request(client, call, sample), self.style)
            except (ValueError, self.openai.APIResponseValidationError) as error:
                if attempt == MALFORMED_RETRIES:
                    return Reply("", failed=f"malformed answer: {_line(error)}")
            except self.openai.OpenAIError as error:
                return Reply("", failed=self._reason(error))
            else:
                self.answered += 1
                return reply
        raise AssertionError("the loop always returns")

    async def _request(self, client: Any, call: Call, sample: int) -> Any:
        options = self._options(call, sample)
        if self.style == "chat":
            messages = [{"role": "user", "content": call.prompt}]
            return await client.chat.completions.create(messages=messages, **options)
        return await client.completions.create(prompt=call.prompt, **options)

    def _options(self, call: Call, sample: int) -> dict[str, Any]:
        limit = self.config.max_new_tokens
        options: dict[str, Any] = {"model": self.model}
        if self.style == "completion":
            options |= {"max_tokens": limit, "stop": ["\n\n"]}
        else:
            options["max_completion_tokens"] = limit
        if self.config.decode == "greedy":
            return {**options, "temperature": 0.0}
        # Reasoning models refuse these unless they are left at 1.
        chosen = {"temperature": self.config.temperature, "top_p": self.config.top_p}
        seed = derive(self.config.seed, "sample", call.example.id, call.kind, call.supports, sample) % 2**31
        return {**options, **{name: value for name, value in chosen.items() if value != 1.0}, "seed": seed}

    def _reason(self, error: Any) -> str:
        """Why a call failed, in one line without the key. Raises `Unavailable` where all calls would."""
        said = _line(error).replace(self.key, "***") if self.key != NO_KEY else _line(error)
        if isinstance(error, (self.openai.AuthenticationError, self.openai.PermissionDeniedError)):
            raise Unavailable(f"the server refuses the key (is {KEY} right?): {said}")
        if isinstance(error, self.openai.NotFoundError):
            raise Unavailable(f"the server does not know the model {self.model!r} or the {self.style} "
                              f"endpoint: {said}")
        if getattr(error, "code", None) == "insufficient_quota":
            raise Unavailable(f"the account is exhausted: {said}")
        if isinstance(error, self.openai.APITimeoutError):
            return f"no answer within {self.config.timeout:g} s"
        if isinstance(error, self.openai.APIConnectionError):
            if not self.answered:
                where = self.config.base_url or "the server"
                raise Unavailable(f"cannot reach {where}: {_line(error.__cause__ or error)}; is it running?")
            return f"connection lost: {_line(error.__cause__ or error)}"
        if isinstance(error, self.openai.RateLimitError):
            return f"rate limited after {self.config.retries} retries: {said}"
        return said

    def rank(self, prompt: str, continuations: Sequence[str]) -> list[float]:
        """Log probability of each continuation; the completion endpoint must echo prompts with theirs."""
        with self.openai.OpenAI(**self._client()) as client:
            return [self._log_probability(client, prompt, text) for text in continuations]

    def _log_probability(self, client: Any, prompt: str, text: str) -> float:
        try:
            answer = client.completions.create(model=self.model, prompt=prompt + text, max_tokens=1,
                                               temperature=0, echo=True, logprobs=1)
        except self.openai.OpenAIError as error:
            raise Unavailable(f"scoring a prompt failed: {self._reason(error)}") from None
        found = answer.choices[0].logprobs if answer.choices else None
        if found is None or not found.text_offset or not found.token_logprobs:
            raise UsageError("this server returns no log probabilities of prompts, which --decode rerank and "
                             "--wrong hardest read (vLLM's completion endpoint does); leave them away")
        inside = range(len(prompt), len(prompt) + len(text))  # tokens that begin in the continuation
        return float(sum(value for value, offset in zip(found.token_logprobs, found.text_offset, strict=True)
                         if offset in inside and value is not None))

    def _client(self) -> dict[str, Any]:
        return {"api_key": self.key, "base_url": self.config.base_url, "max_retries": self.config.retries,
                "timeout": self.config.timeout}


def _read(answer: Any, style: str) -> Reply:
    """The reply in a completion. Raises `ValueError` where there is none in it."""
    choices = getattr(answer, "choices", None)
    if not choices:
        raise ValueError(f"no choices in {str(answer)[:80]!r}")
    if style == "chat":
        message = choices[0].message
        content = None if message is None else message.content
        thoughts = getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None)
    else:
        content, thoughts = choices[0].text, None
    if not isinstance(content, str) and not thoughts:
        raise ValueError("a choice without text")
    tagged, text = split_thoughts(content or "")
    finished = choices[0].finish_reason != "length"
    if style == "completion":
        text, ended = up_to_blank_line(text)
        finished |= ended
    usage = getattr(answer, "usage", None)
    return Reply(text.strip(), thoughts or tagged, finished, getattr(usage, "prompt_tokens", 0) or 0,
                 getattr(usage, "completion_tokens", 0) or 0)


def _until(calls: Iterator[Call], over: Any) -> Iterator[Call]:
    """Calls from an iterator that all workers share, until it is over."""
    while not over():
        call = next(calls, None)
        if call is None:
            return
        yield call


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
