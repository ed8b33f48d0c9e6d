"""Calls to a teacher and its replies: text, never token ids, crosses this boundary."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from cotdistill.data.journal import call_key
from cotdistill.data.records import Example, RationaleKind
from cotdistill.data.said import Said
from cotdistill.teachers.drain import Drain
from cotdistill.teachers.prompts import Shot


@dataclass(frozen=True)
class Call:
    """A request for one rationale.

    `supports`: the answer it is to support, the gold one or for a counterfactual a wrong one. The prompt
    names it where decoding["hint"] is "gold" or "wrong". `contrast`: the second branch's prompt in
    contrastive decoding. `shots`: the demonstrations both prompts begin with: calls that share them can be
    decoded together.
    """

    example: Example
    kind: RationaleKind
    supports: str
    prompt: str
    decoding: Mapping[str, Any]
    contrast: str | None = None
    shots: tuple[Shot, ...] = ()

    @cached_property
    def digest(self) -> str:
        """sha256 of the rendered prompt, of both where there are two."""
        return hashlib.sha256("\x1f".join(filter(None, (self.prompt, self.contrast))).encode()).hexdigest()

    def key(self, teacher: str) -> str:
        """The key of this call: the same for the same question, prompt, teacher and decoding."""
        return call_key(self.example.id, self.kind, self.digest, teacher, self.decoding)


@dataclass(frozen=True)
class Reply:
    """A teacher's answer, or why there is none (`failed`; the text is empty then)."""

    text: str
    reasoning: str | None = None  # thoughts, separate from the answer, by the server or in <think> tags
    finished: bool = True  # it ended by itself, not at the token limit or a filter
    prompt_tokens: int = 0
    completion_tokens: int = 0
    failed: str | None = None
    overlong: bool = False  # longer than the limit, which the server ignored
    said: tuple[Said, ...] = ()  # the likeliest tokens along it, where a server was asked for them
    served: Mapping[str, Any] = field(default_factory=dict)  # how the server changed the decoding


Deliver = Callable[[Call, Reply], None]


class Teacher(Protocol):
    """A model that can be asked."""

    @property
    def name(self) -> str:
        """The exact model and its revision, where known; it goes into every row."""

    @property
    def style(self) -> str:
        """The kind of shipped prompt for it, "completion" or "chat"."""

    @property
    def context(self) -> int | None:
        """Tokens of the context, for prompt and answer together; None: unknown."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Further settings that decide its answers; recorded with the decoding."""

    def wrap(self, prompt: str) -> str:
        """The prompt as it is sent, in the model's chat template for instance."""

    def count(self, text: str) -> int:
        """Tokens of a text, as exactly as is known here."""

    def ask(self, calls: Sequence[Call], deliver: Deliver, drain: Drain) -> None:
        """Answer every call exactly once, in any order, delivering each reply as soon as it arrives.

        Once `drain` is set, calls under way are finished and none is begun.
        """

    def rank(self, prompt: str, continuations: Sequence[str]) -> list[float]:
        """Log probability of each continuation of a prompt. Raises `UsageError` where it is not available."""
