"""Decoding for students and teachers alike: sessions advance token by token, several at once.

A session is one question: k contexts that receive the same tokens (k = 1 walks a student, k = 2 is SCOTT's
contrast). The rule chooses the next token from the k contexts' logits; the session answers what to append
(the token, or forced text in its place) or that it is done. Prompts, connectors and stops are the session's
business, caches and batching the decoder's.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache

from cotdistill.students.families import Student


@dataclass(frozen=True)
class Prompt:
    """What one context starts from: decoder ids, and the encoder's ids for an encoder-decoder model."""

    ids: list[int]
    source: list[int] | None = None


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
    """What advances sessions: plain batches (`Decoder`) or slots (`slots.SlotDecoder`)."""

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
    """The plain decoder: batches of sessions sorted by prompt length, padded on the left, in lock-step."""

    student: Student
    rule: Rule = greedy
    batch_size: int = 16

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
        family = _Seq2Seq if self.student.encoder_decoder else _Causal
        forward = family(self.student, contexts)
        queues = [forward.rest(session.prompts) for session in sessions]
        live = set(range(len(sessions)))
        logits = forward.first().view(len(sessions), k, -1)
        while True:
            # Only sessions at an open token are asked: a rule that draws must not draw for forced or done
            # ones.
            asked = [at for at in sorted(live) if not queues[at]]
            if asked:
                choices = self.rule(logits[asked], [sessions[at] for at in asked])
                for at, choice in zip(asked, choices, strict=True):
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


class _Causal:
    """Left-padded decoder-only batch with explicit positions (GPT-2 without them is off by 0.4)."""

    def __init__(self, student: Student, contexts: Sequence[Prompt]) -> None:
        self.model, self.device = student.model, student.device
        width = max(len(prompt.ids) for prompt in contexts)
        padding = [width - len(prompt.ids) for prompt in contexts]
        ids = [[student.tokens.pad] * pad + prompt.ids for pad, prompt in zip(padding, contexts, strict=True)]
        self.ids = torch.tensor(ids, device=self.device)
        self.mask = torch.tensor([[0] * pad + [1] * (width - pad) for pad in padding], device=self.device)
        self.cache = DynamicCache(config=self.model.config)
        # Bloom has no positions to give, GPT-J no head to spare.
        self.known = inspect.signature(self.model.forward).parameters

    def rest(self, prompts: Sequence[Prompt]) -> list[int]:
        """What `first` leaves to be fed: nothing."""
        return []

    def first(self) -> Tensor:
        """Logits [B, V] after the prompts."""
        return self._forward(self.ids, (self.mask.cumsum(-1) - 1).clamp(min=0))

    def step(self, tokens: list[int]) -> Tensor:
        """Logits [B, V] after one more token a row."""
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(tokens), 1)], 1)
        ids = torch.tensor(tokens, device=self.device)[:, None]
        return self._forward(ids, self.mask.sum(-1, keepdim=True) - 1)

    def _forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        options = {"position_ids": positions, "logits_to_keep": 1}
        out = self.model(input_ids=ids, attention_mask=self.mask, past_key_values=self.cache, use_cache=True,
                         **{name: value for name, value in options.items() if name in self.known})
        logits: Tensor = out.logits[:, -1].float()
        return logits


class _Seq2Seq:
    """Encoder-decoder batch: all decoders start together, so their positions agree without padding.

    Longer decoder prompts (a rationale that is given) are fed token by token behind the shortest: their decoders have
    no positions that could be moved, and relative ones count what is padded.
    """

    def __init__(self, student: Student, contexts: Sequence[Prompt]) -> None:
        self.model, self.device = student.model, student.device
        sources = [prompt.source or [] for prompt in contexts]
        width = max(map(len, sources))
        ids = torch.tensor([s + [student.tokens.pad] * (width - len(s)) for s in sources], device=self.device)
        self.mask = torch.tensor([[1] * len(s) + [0] * (width - len(s)) for s in sources], device=self.device)
        self.encoded = self.model.get_encoder()(input_ids=ids, attention_mask=self.mask)
        self.shortest = min(len(prompt.ids) for prompt in contexts)
        self.starts = [prompt.ids[: self.shortest] for prompt in contexts]
        self.cache = EncoderDecoderCache(DynamicCache(), DynamicCache())

    def rest(self, prompts: Sequence[Prompt]) -> list[int]:
        """What `first` leaves to be fed; the contexts of a session differ in their sources only."""
        if any(prompt.ids != prompts[0].ids for prompt in prompts):
            raise ValueError("the contexts of an encoder-decoder's session need one decoder prompt")
        return prompts[0].ids[self.shortest :]

    def first(self) -> Tensor:
        """Logits [B, V] after what all decoder prompts have (mostly the start token alone)."""
        return self._forward(torch.tensor(self.starts, device=self.device))

    def step(self, tokens: list[int]) -> Tensor:
        """Logits [B, V] after one more token a row."""
        return self._forward(torch.tensor(tokens, device=self.device)[:, None])

    def _forward(self, ids: Tensor) -> Tensor:
        out = self.model(encoder_outputs=self.encoded, attention_mask=self.mask, decoder_input_ids=ids,
                         past_key_values=self.cache, use_cache=True)
        logits: Tensor = out.logits[:, -1].float()
        return logits
