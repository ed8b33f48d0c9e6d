"""A student: a model, its tokenizer, and what both say about how text becomes ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import torch

from cotdistill.answers.answers import AnswerStyle
from cotdistill.errors import UsageError
from cotdistill.students.encode import Encoder, Sharing
from cotdistill.students.tokens import SegmentTokenizer

T = TypeVar("T")
BATCH_DEPENDENT_ROPE = {"dynamic", "longrope"}  # their frequencies follow the longest row of the batch


class Student:
    """A model, its tokenizer, and what start-up trials found out about them."""

    def __init__(self, model: Any, tokenizer: Any, chat: bool = False) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.encoder_decoder: bool = bool(model.config.is_encoder_decoder)
        self.tokens = SegmentTokenizer(tokenizer, self.encoder_decoder, chat, _ends(model))
        # A router's own loss has no part in ours, and its shape check fails where a cache is filled.
        self._router_logits = getattr(model.config, "output_router_logits", None)
        if self._router_logits:
            model.config.output_router_logits = False
        self._trials: dict[Callable[[Student], Any], Any] = {}

    def tried(self, trial: Callable[[Student], T]) -> T:
        """What `trial` finds when it is run on this student: the first time only, until `changed`.

        Fast paths are tried on the model itself at start-up; there is no list of supported models. A copy
        of a student knows what was tried on it: trials ask what a model computes, which its weights do not decide.
        """
        if trial not in self._trials:
            self._trials[trial] = trial(self)
        return cast(T, self._trials[trial])

    def changed(self) -> None:
        """The model is another one now (adapters attached or merged): every trial is run again when asked for."""
        self._trials = {}  # not cleared: copies of the student as it was keep theirs

    @property
    def device(self) -> torch.device:
        """Where the model's inputs must be."""
        device: torch.device = next(self.model.parameters()).device
        return device

    @property
    def start(self) -> int | None:
        """The decoder's start id, None for decoder-only models."""
        if not self.encoder_decoder:
            return None
        start = self.model.config.decoder_start_token_id
        return int(start if start is not None else self.tokens.pad)

    @property
    def context(self) -> int | None:
        """Longest sequence the model can take; None where its positions are relative and unbounded (T5)."""
        config = self.model.config
        if self.encoder_decoder and getattr(config, "relative_attention_num_buckets", None):
            return None
        limits = (
            getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None),
            self.rope_switch,
        )
        return min((limit for limit in limits if limit), default=None)

    @property
    def rope_switch(self) -> int | None:
        """Length from which on one row changes the rotary frequencies of its whole batch (Phi-3's longrope).

        Longer rows are refused: what a row gives must not depend on its neighbours.
        """
        lengths = _switches(getattr(self.model.config, "rope_parameters", None) or {})
        return min(lengths, default=None)

    def encoder(
        self, answers: AnswerStyle = "text", max_length: int | None = None, sharing: Sharing = "none"
    ) -> Encoder:
        """Renders forms as this student's tokens. A walk merges no forms; for training see `training_encoder`."""
        if max_length and self.rope_switch and max_length > self.rope_switch:
            raise UsageError(
                f"--max-length {max_length}: above {self.rope_switch} tokens one row changes the rotary positions of "
                f"its whole batch (longrope); give at most {self.rope_switch}"
            )
        return Encoder(self.tokens, self.start, answers, max_length or self.context, sharing)

    def save(self, folder: Path, chat_template: bool = True, dtype: str | None = None) -> None:
        """Hugging Face format with tokenizer; safetensors. Without its chat template where chats were not learned, and
        of its base's generation settings with the token ids alone: servers apply the others (penalties) unasked.

        `dtype`: the weights are rounded to it first, in place; a quantised base stays as it is.
        """
        if dtype is not None and not getattr(self.model, "is_quantized", False):
            self.model.to(getattr(torch, dtype))
        template, config = self.tokenizer.chat_template, self.model.config
        generation = getattr(self.model, "generation_config", None)
        if self._router_logits:
            config.output_router_logits = True
        if not chat_template:
            self.tokenizer.chat_template = None
        # Rows are never added to the vocabulary; peft would look for the base's configuration to know that.
        apart = {"save_embedding_layers": False} if hasattr(self.model, "peft_config") else {}
        try:
            if generation is not None:
                self.model.generation_config = self._greedy(generation)
            self.model.save_pretrained(folder, **apart)
            self.tokenizer.save_pretrained(folder)
        finally:
            self.tokenizer.chat_template = template
            if generation is not None:
                self.model.generation_config = generation
            if self._router_logits:
                config.output_router_logits = False

    def _greedy(self, settings: Any) -> Any:
        """Generation settings of the same class with nothing but the ids that begin, end and pad a text."""
        ids = {name: getattr(settings, name, None) for name in ("bos_token_id", "pad_token_id")}
        stops = sorted(self.tokens.stops)
        ends = stops if len(stops) > 1 else stops[0]
        return type(settings)(**ids, eos_token_id=ends, decoder_start_token_id=self.start)


def _switches(parameters: Mapping[str, Any]) -> list[int]:
    """`original_max_position_embeddings` of ropes that follow the longest row; given once or per layer type."""
    nested = [length for value in parameters.values() if isinstance(value, dict) for length in _switches(value)]
    if parameters.get("rope_type") not in BATCH_DEPENDENT_ROPE:
        return nested
    return [*nested, *([int(length)] if (length := parameters.get("original_max_position_embeddings")) else [])]


def _ends(model: Any) -> set[int]:
    """Every id with which the model ends a text: chat models end a turn with another token than a document."""
    more = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return {*more} if isinstance(more, list) else set() if more is None else {more}
