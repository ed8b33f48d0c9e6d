"""Decoding for students and teachers alike: sessions advance token by token, several at once.

A session is one question: k contexts that receive the same tokens (k = 1 walks a student, k = 2 is SCOTT's
contrast). The rule chooses the next token from the k contexts' logits; the session answers what to append
(the token, or forced text in its place) or that it is done. Prompts, connectors and stops are the session's
business, caches and batching the decoder's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from cotdistill.decoding.contexts import MakeContexts, usual_contexts
from cotdistill.decoding.contexts import Prompt as Prompt
from cotdistill.students.student import Student


@dataclass(frozen=True)
class Choice:
    """The rule's pick and what the first context alone would have picked (SCOTT's first stop rule asks)."""

    token: int
    alone: int


class Session(Protocol):
    """One question being decoded."""

    prompts: list[Prompt]

    def push(self, choice: Choice) -> list[int] | None:
        """Tokens to append to every context (at least one), or None when done."""


class Rule(Protocol):
    """How the next token follows from the contexts' logits."""

    def __call__(self, logits: Tensor, sessions: Sequence[Session]) -> list[Choice]:
        """logits float32 [sessions, k, V] -> one choice a session."""


class Decodes(Protocol):
    """What advances sessions: plain batches (`Decoder`) or continuous batching (`ContinuousDecoder`)."""

    @property
    def student(self) -> Student:
        """Whose tokens they are."""

    def run(self, sessions: Sequence[Session]) -> None:
        """Advance every session until it is done. All sessions have the same number of contexts."""


def greedy(logits: Tensor, sessions: Sequence[Session]) -> list[Choice]:
    """The most likely token of the first context."""
    return [Choice(token, token) for token in logits[:, 0].argmax(-1).tolist()]


@dataclass(frozen=True)
class Decoder:
    """The plain decoder: batches of sessions sorted by prompt length, in lock-step."""

    student: Student
    rule: Rule = greedy
    batch_size: int = 16
    contexts: MakeContexts | None = None  # None: what the model's forward asks for

    @torch.inference_mode()
    def run(self, sessions: Sequence[Session]) -> None:
        """Advance every session until it is done. All sessions have the same number of contexts."""
        self.student.model.eval()
        waiting = sorted(sessions, key=_length, reverse=True)
        for at in range(0, len(waiting), self.batch_size):
            self._run_batch(waiting[at : at + self.batch_size])

    def _run_batch(self, sessions: Sequence[Session]) -> None:
        k = len(sessions[0].prompts)
        contexts = [prompt for session in sessions for prompt in session.prompts]
        forward = (self.contexts or usual_contexts(self.student))(self.student, contexts)
        queues = [forward.rest(session.prompts) for session in sessions]
        live = set(range(len(sessions)))
        logits = forward.first().view(len(sessions), k, -1)
        while True:
            # Only sessions at an open token are asked: a rule that draws must not draw for forced or done
            # ones.
            waiting = [at for at in sorted(live) if not queues[at]]
            if waiting:
                choices = self.rule(logits[waiting], [sessions[at] for at in waiting])
                for at, choice in zip(waiting, choices, strict=True):
                    pushed = sessions[at].push(choice)
                    if pushed is None:
                        live.discard(at)
                    queues[at] = list(pushed or ())
            if not live:
                return
            fed = [queue.pop(0) if queue else self.student.tokens.pad for queue in queues]
            logits = forward.step([token for token in fed for _ in range(k)]).view(len(sessions), k, -1)


def _length(session: Session) -> tuple[int, int]:
    """Of the longest context, decoder ids first: what a batch has to wait for."""
    return max((len(prompt.ids), len(prompt.source or ())) for prompt in session.prompts)
