"""Contexts that advance together in plain batches: what a model is fed, and the state it is given back.

Which of these serves a model is tried at start-up against its own generate() (`fitness`).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache, GenerationConfig

from cotdistill.students.student import Student

STATES = ("cache_params", "state")  # what recurrent models (Mamba, RWKV) call what they carry on


@dataclass(frozen=True)
class Prompt:
    """What one context starts from: decoder ids, and the encoder's ids for an encoder-decoder model."""

    ids: list[int]
    source: list[int] | None = None


class Contexts(Protocol):
    """B contexts of one batch."""

    def rest(self, prompts: Sequence[Prompt]) -> list[int]:
        """What `first` leaves to be fed to the contexts of one session."""

    def first(self) -> Tensor:
        """Logits float32 [B, V] after the prompts."""

    def step(self, tokens: list[int]) -> Tensor:
        """Logits float32 [B, V] after one more token per context."""


class MakeContexts(Protocol):
    """A kind of contexts."""

    def __call__(self, student: Student, contexts: Sequence[Prompt]) -> Contexts:
        """The contexts of one batch."""


def usual_contexts(student: Student) -> MakeContexts:
    """What the model's forward asks for."""
    if student.encoder_decoder:
        return Seq2Seq
    return Recurrent if state_name(student.model) else Causal


def state_name(model: Any) -> str | None:
    """The argument by which a recurrent model is given its state, None for models with a cache of keys and values."""
    known = inspect.signature(model.forward).parameters
    return None if "past_key_values" in known else next((name for name in STATES if name in known), None)


class Causal:
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
        """Logits [B, V] after one more token per row."""
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(tokens), 1)], 1)
        ids = torch.tensor(tokens, device=self.device)[:, None]
        return self._forward(ids, self.mask.sum(-1, keepdim=True) - 1)

    def _forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        options = {"position_ids": positions, "logits_to_keep": 1}
        out = self.model(
            input_ids=ids,
            attention_mask=self.mask,
            past_key_values=self.cache,
            use_cache=True,
            **{name: value for name, value in options.items() if name in self.known},
        )
        logits: Tensor = out.logits[:, -1].float()
        return logits


class Seq2Seq:
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
        """Logits [B, V] after one more token per row."""
        return self._forward(torch.tensor(tokens, device=self.device)[:, None])

    def _forward(self, ids: Tensor) -> Tensor:
        out = self.model(
            encoder_outputs=self.encoded,
            attention_mask=self.mask,
            decoder_input_ids=ids,
            past_key_values=self.cache,
            use_cache=True,
        )
        logits: Tensor = out.logits[:, -1].float()
        return logits


class Recurrent:
    """Recurrent models: the state of the step before is passed on. Padding would enter it, so contexts of one length
    go together and others apart."""

    def __init__(self, student: Student, contexts: Sequence[Prompt]) -> None:
        self.model, self.device, self.name = student.model, student.device, state_name(student.model) or STATES[0]
        self.ids = [prompt.ids for prompt in contexts]
        self.alike = _by_length(self.ids)
        self.states: list[Any] = [None] * len(self.alike)

    def rest(self, prompts: Sequence[Prompt]) -> list[int]:
        """What `first` leaves to be fed: nothing."""
        return []

    def first(self) -> Tensor:
        """Logits [B, V] after the prompts."""
        return self._forward(self.ids)

    def step(self, tokens: list[int]) -> Tensor:
        """Logits [B, V] after one more token per row."""
        return self._forward([[token] for token in tokens])

    def _forward(self, ids: Sequence[list[int]]) -> Tensor:
        rows: list[Tensor] = [torch.empty(0)] * len(ids)
        for at, alike in enumerate(self.alike):
            tokens = torch.tensor([ids[row] for row in alike], device=self.device)
            state = {} if self.states[at] is None else {self.name: self.states[at]}
            out = self.model(input_ids=tokens, use_cache=True, **state)
            self.states[at] = out[self.name]
            for row, logits in zip(alike, out.logits[:, -1].float(), strict=True):
                rows[row] = logits
        return torch.stack(rows)


class Generated:
    """transformers' generate(), one token a call and nothing kept: slow, and right where nothing else is."""

    def __init__(self, student: Student, contexts: Sequence[Prompt]) -> None:
        self.student = student
        self.ids = [list(prompt.ids) for prompt in contexts]
        self.sources = [prompt.source for prompt in contexts]

    def rest(self, prompts: Sequence[Prompt]) -> list[int]:
        """What `first` leaves to be fed: nothing."""
        return []

    def first(self) -> Tensor:
        """Logits [B, V] after the prompts."""
        pairs = zip(self.ids, self.sources, strict=True)
        return torch.stack([generated(self.student, Prompt(ids, source), 1)[1][0] for ids, source in pairs])

    def step(self, tokens: list[int]) -> Tensor:
        """Logits [B, V] after one more token per row."""
        for ids, token in zip(self.ids, tokens, strict=True):
            ids.append(token)
        return self.first()


def generated(student: Student, prompt: Prompt, length: int) -> tuple[list[int], Tensor]:
    """`length` greedy ids of generate() and the model's own logits before each, float32 [length, V].

    The model's generation settings (sampling, penalties, forced tokens) have no part in it.
    """
    tokens = torch.tensor([prompt.ids if prompt.source is None else prompt.source], device=student.device)
    begun = {} if prompt.source is None else {"decoder_input_ids": torch.tensor([prompt.ids], device=student.device)}
    with _no_generation_settings(student):
        out = student.model.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=length,
            min_new_tokens=length,
            do_sample=False,
            num_beams=1,
            output_logits=True,
            return_dict_in_generate=True,
            **begun,
        )
    ids: list[int] = out.sequences[0, -length:].tolist()
    return ids, torch.stack([step[0].float() for step in out.logits])


@contextmanager
def _no_generation_settings(student: Student) -> Iterator[None]:
    settings = student.model.generation_config
    student.model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        pad_token_id=student.tokens.pad, decoder_start_token_id=student.start
    )
    try:
        yield
    finally:
        student.model.generation_config = settings


def _by_length(sequences: Sequence[Sequence[int]]) -> list[list[int]]:
    """Indices of sequences of one length, a list per length."""
    by_length: dict[int, list[int]] = {}
    for at, sequence in enumerate(sequences):
        by_length.setdefault(len(sequence), []).append(at)
    return list(by_length.values())
