"""The one place that knows decoder-only from encoder-decoder: collating and the loss of a
micro-batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cotdistill.errors import UsageError
from cotdistill.evaluation.answers import AnswerStyle
from cotdistill.strategies.forms import Reweight
from cotdistill.students.attention import PACKED, Segments, moved, segments, using_attention
from cotdistill.students.batches import Row
from cotdistill.students.encode import Encoded, Encoder, Share
from cotdistill.students.forwards import replaced
from cotdistill.students.loss import Scratch, nll_of, weighted_nll
from cotdistill.students.model_files import savable
from cotdistill.students.tokens import SegmentTokenizer

BATCH_DEPENDENT_ROPE = {"dynamic", "longrope"}  # their frequencies follow the longest row of the batch
TOLERANCE = 1e-4  # of an nll in float32, a fast path against the plain one


@dataclass(frozen=True)
class Batch:
    """One micro-batch. `inputs` are the model's keyword arguments; target n reads the logits at flat position
    kept[n] of [B, T], is token tokens[n] of form forms[n], and counts coef[n]."""

    inputs: dict[str, Any]  # ids and masks [B, T]; packed: ids and positions [1, T] and their segments
    kept: Tensor  # [N]
    tokens: Tensor  # [N]
    forms: Tensor  # [N]
    coef: Tensor  # [N]


class Student:
    """A model, its tokenizer, and how token trees become its inputs."""

    def __init__(self, model: Any, tokenizer: Any, chat: bool = False) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.encoder_decoder: bool = bool(model.config.is_encoder_decoder)
        self.tokens = SegmentTokenizer(tokenizer, self.encoder_decoder, chat, _ends(model))
        # A router's own loss has no part in ours, and its shape check fails where a cache is filled.
        self._router_logits = getattr(model.config, "output_router_logits", None)
        if self._router_logits:
            model.config.output_router_logits = False

    @property
    def device(self) -> torch.device:
        """Where the model's inputs must be."""
        found: torch.device = next(self.model.parameters()).device
        return found

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
        limits = (getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None),
                  self.rope_switch)
        return min((limit for limit in limits if limit), default=None)

    @property
    def rope_switch(self) -> int | None:
        """Length from which on one row changes the rotary frequencies of its whole batch (Phi-3's longrope).

        Longer rows are refused: what a row gives must not depend on its neighbours.
        """
        found = _switches(getattr(self.model.config, "rope_parameters", None) or {})
        return min(found, default=None)

    @property
    def share(self) -> Share:
        """How far the forms of one example can be merged: trees where packed attention was found exact.

        Not on a GPU: its fused kernel takes chains only, and is worth more than the tokens a tree spares.
        """
        return "tree" if self.device.type == "cpu" and self.can_pack else "chain"

    def encoder(
        self, answers: AnswerStyle = "text", max_length: int | None = None, share: Share | None = None
    ) -> Encoder:
        """Renders forms as this student's tokens; `share` None: merged as far as the model was found to allow.

        Everything that encodes comes here, tests and benchmarks too. A walk merges nothing: it passes "none".
        """
        if max_length and self.rope_switch and max_length > self.rope_switch:
            raise UsageError(
                f"--max-length {max_length}: above {self.rope_switch} tokens one row changes the rotary positions of "
                f"its whole batch (longrope); give at most {self.rope_switch}"
            )
        return Encoder(self.tokens, self.start, answers, max_length or self.context, share or self.share)

    @cached_property
    def can_pack(self) -> bool:
        """Whether packed rows give the nll of their trees run alone, tried on this model and device.

        Also in bfloat16 on a GPU, where another kernel runs: there rounding hides small leaks, so the
        distance must be far smaller than that of a row packed *with* leakage.
        """
        layers = set(getattr(self.model.config, "layer_types", None) or ())
        known = layers <= {"full_attention", "sliding_attention"}
        if self.encoder_decoder or not known or getattr(self.model.config, "attention_chunk_size", None):
            return False
        kind = self.device.type
        half = nullcontext() if kind == "cpu" else torch.autocast(kind, torch.bfloat16)
        return self._packs_exactly(nullcontext(), TOLERANCE) and (
            kind == "cpu" or self._packs_exactly(half, 0.0)
        )

    def _packs_exactly(self, precision: AbstractContextManager[Any], tolerance: float) -> bool:
        rows = _probe()
        leaking = _chain([token for row in rows for token in row.tree.ids])
        with _evaluating(self.model), precision:
            try:
                with using_attention(self.model, PACKED):
                    packed = self.token_nll(self.collate(rows, packed=True))
                    leaked = self.token_nll(self.collate([leaking], packed=True))
            except (TypeError, ValueError, RuntimeError, AttributeError, NotImplementedError):
                return False  # a model that takes no registered attention, or hands its segments to nobody
            alone = torch.cat([self.token_nll(self.collate([row])) for row in _probe(cut=True)])
        return float((packed - alone).abs().max()) <= max(
            tolerance, 0.1 * float((leaked - alone).abs().max())
        )

    @cached_property
    def head_is_linear(self) -> bool:
        """Whether logits are what the head says and nothing more: then the chunked loss takes its place.

        Tried with large logits, which a soft cap or a scale behind the head (Gemma 2, Cohere) would change.
        """
        head = self.model.get_output_embeddings()
        if type(head) is not nn.Linear:
            return False
        batch = self.collate(_probe(cut=True, encoder=self.encoder_decoder))
        said: list[Tensor] = []

        def answer(hidden: Tensor) -> Tensor:
            said[:] = [100 * nn.functional.linear(hidden, head.weight, head.bias).sign()]
            return said[0]

        with _evaluating(self.model):
            with replaced({head: answer}):
                heard = self.model(**batch.inputs, use_cache=False).logits
            try:
                direct = self._direct_loss(batch, self.model)[1]
            except (TypeError, RuntimeError):
                return False
            return torch.equal(heard, said[0]) and _agree(direct, self.token_nll(batch))

    def forget_tests(self) -> None:
        """The model was changed: the start-up tests above are run again when asked for."""
        for name in ("can_pack", "head_is_linear"):
            self.__dict__.pop(name, None)

    def collate(self, rows: Sequence[Row], packed: bool = False) -> Batch:
        """Token trees padded on the right to the longest, or packed in one row, on the model's device."""
        trees = [row.tree for row in rows]
        inputs, kept = _packed(trees, self.device) if packed else self._padded(trees)
        tokens, forms, coef = (
            np.concatenate(parts)
            for parts in (
                [tree.tokens for tree in trees],
                [tree.forms for tree in trees],
                [row.coef for row in rows],
            )
        )
        batch = Batch(
            inputs,
            torch.from_numpy(kept),
            torch.from_numpy(tokens).long(),
            torch.from_numpy(forms).long(),
            torch.from_numpy(coef),
        )
        return _to(batch, self.device)

    def token_nll(self, batch: Batch, model: nn.Module | None = None) -> Tensor:
        """The plain reference: negative log likelihood of every target from the model's own logits, float32
        [N].
        """
        with selected_head(self.model, batch.kept):
            logits = (model or self.model)(**batch.inputs, use_cache=False).logits
        return nll_of(logits.reshape(-1, logits.shape[-1]), batch.tokens)

    def loss(
        self,
        batch: Batch,
        model: nn.Module | None = None,
        reweight: Reweight | None = None,
        plain: bool = False,
        scratch: Scratch | None = None,
    ) -> tuple[Tensor, Tensor]:
        """(sum of coef * nll to differentiate, coef * nll of every target without gradient [N])."""
        if not plain and self.head_is_linear:
            total, nll, coef = self._direct_loss(batch, model or self.model, reweight, scratch)
            return total, coef * nll
        nll = self.token_nll(batch, model)
        coef = batch.coef if reweight is None else reweight(batch.coef, nll.detach())
        weighted = coef * nll
        return weighted.sum(), weighted.detach()

    def save(self, folder: Path, chat_template: bool = True, dtype: str | None = None) -> None:
        """Hugging Face format with tokenizer; safetensors. Without its chat template where chats were not learned.

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
                self.model.generation_config = savable(generation)
            self.model.save_pretrained(folder, **apart)
            self.tokenizer.save_pretrained(folder)
        finally:
            self.tokenizer.chat_template = template
            if generation is not None:
                self.model.generation_config = generation
            if self._router_logits:
                config.output_router_logits = False

    def _direct_loss(
        self,
        batch: Batch,
        model: nn.Module,
        reweight: Reweight | None = None,
        scratch: Scratch | None = None,
    ) -> tuple[Tensor, ...]:
        """The head answers with the loss, not with logits, inside the model's forward as DDP needs it."""
        head = self.model.get_output_embeddings()
        found: list[Tensor] = []

        def answer(hidden: Tensor) -> Tensor:
            states = hidden.reshape(-1, hidden.shape[-1]).index_select(0, batch.kept)
            found[:] = weighted_nll(
                states, head.weight, head.bias, batch.tokens, batch.coef, reweight, scratch
            )
            return found[0]

        with replaced({head: answer}):
            total = model(**batch.inputs, use_cache=False).logits
        if total.shape != ():
            raise RuntimeError("the model changes its head's output")
        return total, found[1], found[2]

    def _padded(self, trees: Sequence[Encoded]) -> tuple[dict[str, Tensor], Any]:
        if not all(tree.is_chain for tree in trees):
            raise ValueError("a branching token tree needs packed attention; encode with share='chain'")
        ids = _pad([tree.ids for tree in trees], self.tokens.pad)
        # Causal positions never see what is padded behind them: only an encoder needs a mask.
        # decoder_input_ids are the ids themselves; made from masked labels they would be erased (T5 shifts
        # -100 into pad).
        inputs = {"decoder_input_ids" if self.encoder_decoder else "input_ids": ids}
        if self.encoder_decoder:
            sources = [tree.source for tree in trees if tree.source is not None]
            inputs["input_ids"] = _pad(sources, self.tokens.pad)
            inputs["attention_mask"] = _mask([len(source) for source in sources])
        kept = np.concatenate(
            [tree.positions.astype(np.int64) + at * ids.shape[1] for at, tree in enumerate(trees)]
        )
        return inputs, kept


def _switches(parameters: Mapping[str, Any]) -> list[int]:
    """`original_max_position_embeddings` of ropes that follow the longest row; given once or per layer type."""
    nested = [one for value in parameters.values() if isinstance(value, dict) for one in _switches(value)]
    if parameters.get("rope_type") not in BATCH_DEPENDENT_ROPE:
        return nested
    return [*nested, *([int(length)] if (length := parameters.get("original_max_position_embeddings")) else [])]


def _ends(model: Any) -> set[int]:
    """Every id with which the model ends a text: chat models end a turn with another token than a document."""
    more = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return {*more} if isinstance(more, list) else set() if more is None else {more}


@contextmanager
def selected_head(model: Any, kept: Tensor) -> Iterator[None]:
    """Only the kept flat positions [N] reach the language-model head; logits come back as [N, V].

    A hook in front of the head instead of a head run by hand: scaling before it (T5) and soft-capping after
    it (Gemma 2) stay the model's own, and it works through DDP's forward.
    """

    def select(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (inputs[0].reshape(-1, inputs[0].shape[-1]).index_select(0, kept), *inputs[1:])

    hook = model.get_output_embeddings().register_forward_pre_hook(select)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """No dropout and no gradient inside; the mode it had afterwards."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def _probe(cut: bool = False, encoder: bool = False) -> list[Row]:
    """Rows for the start-up tests: two chains and a tree of two branches; `cut`: its branches apart."""
    stem, left, right = [5, 9, 7], [3, 8, 2, 6], [4, 1]
    chains = [[2, 7, 4, 9, 1], [8, 3, 3, 6, 5, 1, 7]]
    if cut:
        rows = [_chain(ids, 0) for ids in (*chains, stem + left)] + [_chain(stem + right, len(stem))]
    else:
        tree = np.array([-1, 0, 1, 2, 3, 4, 5, 2, 7], np.int32)
        rows = [*map(_chain, chains), _row(stem + left + right, tree, 0)]
    source = np.array([3, 5, 8, 2], np.int32) if encoder else None
    return [Row(replace(row.tree, source=source), row.coef) for row in rows]


def _chain(ids: Sequence[int], first: int = 0) -> Row:
    return _row(ids, np.arange(-1, len(ids) - 1, dtype=np.int32), first)


def _row(ids: Sequence[int], parent: Any, first: int) -> Row:
    positions = np.arange(first, len(ids), dtype=np.int32)
    tokens = np.array(ids[first:], np.int32) % 7 + 1
    ones = np.ones(len(positions), np.float32)
    return Row(
        Encoded(np.array(ids, np.int32), parent, positions, tokens, np.zeros_like(positions), ones, None),
        ones,
    )


def _agree(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and float((one - other).abs().max()) <= TOLERANCE


def _packed(trees: Sequence[Encoded], device: torch.device) -> tuple[dict[str, Any], Any]:
    """One row [1, T] of all trees, their position ids (depths) and segments."""
    ids = torch.from_numpy(np.concatenate([tree.ids for tree in trees])).long()
    layout: Segments = segments(trees, device)
    offsets = np.cumsum([0, *layout.lengths[:-1]])
    kept = np.concatenate(
        [tree.positions.astype(np.int64) + at for tree, at in zip(trees, offsets, strict=True)]
    )
    return {"input_ids": ids[None], "position_ids": layout.depth[None], "segments": layout}, kept


def _pad(sequences: Sequence[np.ndarray[Any, Any]], pad: int) -> Tensor:
    width = max(map(len, sequences))
    out = np.full((len(sequences), width), pad, np.int64)
    for row, sequence in zip(out, sequences, strict=True):
        row[: len(sequence)] = sequence
    return torch.from_numpy(out)


def _mask(lengths: Sequence[int]) -> Tensor:
    return (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]).long()


def _to(batch: Batch, device: torch.device) -> Batch:
    def move(value: Any) -> Any:
        return moved(value, device) if isinstance(value, Tensor) else value

    return Batch(
        {name: move(value) for name, value in batch.inputs.items()},
        move(batch.kept),
        move(batch.tokens),
        move(batch.forms),
        move(batch.coef),
    )
