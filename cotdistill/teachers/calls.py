"""What is asked of a teacher and what comes back: text, never token ids, crosses this boundary."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from cotdistill.data.journal import call_key
from cotdistill.data.records import Example, Kind
from cotdistill.teachers.drain import Drain
from cotdistill.teachers.prompts import Shot


@dataclass(frozen=True)
class Call:
    """One rationale asked for.

    `supports`: the answer it is to support, the gold one or for a counterfactual a wrong one. The prompt
    names it where decoding["hint"] is "gold" or "wrong". `contrast`: the second branch's prompt in
    contrastive decoding. `shots`: the demonstrations both prompts begin with: calls that share them can be
    decoded together.
    """

    example: Example
    kind: Kind
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
        """The name of this call: the same question, words, teacher and decoding have the same."""
        return call_key(self.example.id, self.kind, self.digest, teacher, self.decoding)


@dataclass(frozen=True)
class Reply:
    """What a teacher answered, or why it did not (`failed`, then the text is empty)."""

    text: str
    reasoning: str | None = None  # thoughts told apart from the answer, by the server or in <think> tags
    finished: bool = True  # it ended by itself, not at the token limit nor at a filter
    prompt_tokens: int = 0
    completion_tokens: int = 0
    failed: str | None = None
    overlong: bool = False  # longer than what was asked for: the server did not mind the limit
    served: Mapping[str, Any] = field(default_factory=dict)  # what the server made of the decoding asked for


Deliver = Callable[[Call, Reply], None]


class Teacher(Protocol):
    """Who can be asked."""

    @property
    def name(self) -> str:
        """The exact model and its revision, where known; it goes into every row."""

    @property
    def style(self) -> str:
        """Which shipped prompt suits it, "completion" or "chat"."""

    @property
    def context(self) -> int | None:
        """Tokens that prompt and answer may have together; None: not known."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What else decides its answers; recorded with the decoding."""

    def wrap(self, prompt: str) -> str:
        """The prompt as it is sent, in the model's chat template for instance."""

    def count(self, text: str) -> int:
        """Tokens of a text, as exact as can be known here."""

    def ask(self, calls: Sequence[Call], deliver: Deliver, drain: Drain) -> None:
        """Answer every call exactly once, in any order, handing each reply over as soon as it is there.

        Once `drain` is asked for, what is under way is finished and nothing new begun.
        """

    def rank(self, prompt: str, continuations: Sequence[str]) -> list[float]:
        """Log probability of each continuation of a prompt. Raises `UsageError` where it is not to be had."""
