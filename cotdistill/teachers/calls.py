"""What is asked of a teacher and what comes back: text, never token ids, crosses this boundary."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from cotdistill.data.records import Example, Kind


@dataclass(frozen=True)
class Call:
    """One rationale asked for.

    `supports`: the answer it is to support, the gold one or for a counterfactual a wrong one. The prompt names it
    where decoding["hint"] is "gold" or "wrong". `contrast`: the second branch's prompt in contrastive decoding.
    """

    example: Example
    kind: Kind
    supports: str
    prompt: str
    decoding: Mapping[str, Any]
    contrast: str | None = None
    sample: int = 0

    @cached_property
    def digest(self) -> str:
        """sha256 of the rendered prompt, of both where there are two."""
        return hashlib.sha256("\x1f".join(filter(None, (self.prompt, self.contrast))).encode()).hexdigest()

    def key(self, teacher: str) -> str:
        """The name of this call: the same question in the same words, asked of the same teacher in the same way."""
        return call_key(self.example.id, self.kind, self.digest, teacher, self.decoding)


@dataclass(frozen=True)
class Reply:
    """What a teacher answered, or why it did not (`failed`, then the text is empty)."""

    text: str
    finished: bool = True  # it ended by itself, not at the token limit
    prompt_tokens: int = 0
    completion_tokens: int = 0
    failed: str | None = None


Deliver = Callable[[Call, Reply], None]


class Teacher(Protocol):
    """Who can be asked. `name` goes into every row and names the exact model (and its revision, where known)."""

    name: str

    def ask(self, calls: Sequence[Call], deliver: Deliver) -> None:
        """Answer every call exactly once, in any order, handing each reply over as soon as it is there."""


def call_key(row: str, kind: str, prompt: str | None, teacher: str, decoding: Mapping[str, Any]) -> str:
    """Digest of what defines a rationale (the sample's number stands in `decoding`)."""
    parts = json.dumps([row, kind, prompt, teacher, decoding], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(parts.encode()).hexdigest()
