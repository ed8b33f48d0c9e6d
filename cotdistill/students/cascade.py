"""Keys and values in slots, and attention over a shared prefix and a slot's own tokens.

A slot holds one context. Its keys and values are written in place; what all contexts begin with (few-shot
demonstrations) is kept once and read by all of them, never copied per row: the scores of both parts meet in
one softmax, which is the exact cascade. A step is one forward over tokens laid end to end, [1, N], of any
number per slot: nothing is padded outside attention. Sizes: N tokens, S slots, H heads, G key-value heads, D
head width, P prefix tokens, L own tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface

NAME = "cotdistill_slots"
ROOM = 32  # tokens by which the slots grow at a time
SLACK = 2 * ROOM  # unused room from which on they shrink


@dataclass(frozen=True)
class KeyValues:
    """Keys and values of one layer: [S, G, L, D] for slots, [G, P, D] for a prefix."""

    keys: Tensor
    values: Tensor


class SlotCache:
    """Keys and values of S slots in every layer, behind an optional shared prefix of `start` tokens."""

    def __init__(self, slots: int, prefix: dict[int, KeyValues] | None = None) -> None:
        self.slots = slots
        self.prefix = prefix or {}
        self.start = next(iter(self.prefix.values())).keys.shape[1] if self.prefix else 0
        self.layers: dict[int, KeyValues] = {}
        self.room = 0

    def reserve(self, length: int) -> None:
        """Room for `length` own tokens in every slot, and not much more: attention reads all of it."""
        if length <= self.room <= length + SLACK:
            return
        room = -(-length // ROOM) * ROOM
        # Zeros, not empty memory: a masked position's weight is 0, and 0 times a stray NaN would be NaN.
        for at, held in self.layers.items():
            fitting = [F.pad(states, (0, 0, 0, room - self.room)) for states in (held.keys, held.values)]
            self.layers[at] = KeyValues(*fitting)
        self.room = room

    def layer(self, at: int, like: Tensor) -> KeyValues:
        """The slots of one layer; made at its first use, when `like` [1, G, N, D] shows its shape."""
        if at not in self.layers:
            shape = (self.slots, like.shape[1], self.room, like.shape[3])
            self.layers[at] = KeyValues(like.new_zeros(shape), like.new_zeros(shape))
        return self.layers[at]

    def copy(self, source: int, target: int, length: int) -> None:
        """Give slot `target` the first `length` own tokens of slot `source`."""
        for held in self.layers.values():
            held.keys[target, :, :length] = held.keys[source, :, :length]
            held.values[target, :, :length] = held.values[source, :, :length]

    def as_prefix(self, length: int) -> dict[int, KeyValues]:
        """The first `length` tokens of slot 0 as a shared prefix."""
        return {at: KeyValues(held.keys[0, :, :length].clone(), held.values[0, :, :length].clone())
                for at, held in self.layers.items()}


@dataclass
class Rows:
    """Queries that attend together: R slots with up to Q new tokens each.

    take: index of each query among the step's tokens [R, Q] (padding: any). give: which of the R * Q results
    are real, and tokens: the step's tokens they belong to; all None where the rows are the tokens, in order.
    """

    slots: Tensor | slice  # [R]
    take: Tensor | None  # [R, Q]
    at: Tensor  # own position of each query [R, Q]; padding: any written position
    length: int  # own tokens to read, at least the longest of these slots with its new ones
    give: Tensor | None = None  # [M]
    tokens: Tensor | None = None  # [M]
    masks: dict[tuple[int | None, int], tuple[Tensor, Tensor | None]] = field(default_factory=dict)

    def mask(self, window: int | None, groups: int, start: int,
             dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """What to add to own scores [R, 1, groups * Q, L] and to prefix scores [R, 1, groups * Q, P] (None:
        nothing).

        Made once a step and window: layers share it.
        """
        if (window, groups) not in self.masks:
            seen = torch.arange(self.length, device=self.at.device)
            own = seen <= self.at[..., None]
            before = None
            if window is not None:
                own &= seen > self.at[..., None] - window
                if start:
                    first = torch.arange(-start, 0, device=self.at.device)
                    before = additive(first > self.at[..., None] - window, groups, dtype)
            self.masks[window, groups] = additive(own, groups, dtype), before
        return self.masks[window, groups]


class Attends(Protocol):
    """What every layer of a forward under `slot_attention` asks."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float,
               softcap: float | None, window: int | None) -> Tensor:
        """query [1, H, N, D], key and value [1, G, N, D] -> [1, N, H, D]."""


@dataclass
class Step:
    """One forward over slots: where new keys and values go, and which queries attend together."""

    cache: SlotCache
    source: Tensor | None  # token of each write [W]; None: the tokens in order
    slot: Tensor  # [W]
    at: Tensor  # own position [W]
    rows: list[Rows]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float,
               softcap: float | None, window: int | None) -> Tensor:
        """query [1, H, N, D], key and value [1, G, N, D] -> [1, N, H, D]."""
        held = self.cache.layer(layer, key)
        new_keys, new_values = key[0].transpose(0, 1), value[0].transpose(0, 1)
        if self.source is not None:
            new_keys, new_values = new_keys[self.source], new_values[self.source]
        held.keys[self.slot, :, self.at] = new_keys
        held.values[self.slot, :, self.at] = new_values
        prefix = self.cache.prefix.get(layer)
        queries = query[0].transpose(0, 1)  # [N, H, D]
        out = None
        for rows in self.rows:
            mask, before = rows.mask(window, queries.shape[1] // key.shape[1], self.cache.start, query.dtype)
            asked = queries[:, :, None] if rows.take is None else queries[rows.take].transpose(1, 2)
            keys, values = held.keys[rows.slots, :, :rows.length], held.values[rows.slots, :, :rows.length]
            found = cascade(asked, keys, values, mask, prefix, before, scaling, softcap)
            found = found.transpose(1, 2)  # [R, Q, H, D]
            if rows.take is None:
                return found.transpose(0, 1)
            out = torch.empty_like(queries) if out is None else out
            out[rows.tokens] = found.flatten(0, 1)[rows.give]
        assert out is not None
        return out[None]


def cascade(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor, prefix: KeyValues | None,
            before: Tensor | None, scaling: float, softcap: float | None) -> Tensor:
    """Attention of query [R, H, Q, D] over a shared prefix [G, P, D] and own keys [R, G, L, D] -> [R, H, Q,
    D].

    `mask` and `before` are added to own and prefix scores. Query heads of one key-value head are stacked as
    queries: grouped heads then need no copy of the keys.
    """
    rows, heads, length, width = query.shape
    query = query.reshape(rows, keys.shape[1], -1, width)  # [R, G, groups * Q, D]
    # One query a row is a few small products: on a CPU the fused kernel takes longer than they do.
    if prefix is None and softcap is None and (length > 1 or query.is_cuda):
        out = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask, scale=scaling)
        return out.view(rows, heads, length, width)
    query = query * scaling
    own = _cap(query @ keys.transpose(-1, -2), softcap) + mask
    if prefix is None:
        return (_softmax(own) @ values).view(rows, heads, length, width)
    out = _with_prefix(query, own, values, prefix, before, softcap)
    return out.reshape(rows, heads, length, width)


def _with_prefix(query: Tensor, own: Tensor, values: Tensor, prefix: KeyValues, before: Tensor | None,
                 softcap: float | None) -> Tensor:
    """One softmax over prefix scores and own scores [R, G, Q, L]; the queries are scaled. -> [R, G, Q, D]

    All rows' queries meet the prefix in one product a head, [R * Q, D] x [D, P]. Scores stay in the order [G,
    R, Q] of that product: its large part is then never copied to be transposed.
    """
    rows, heads, length, _ = query.shape
    split = prefix.keys.shape[1]
    shared = query.transpose(0, 1).flatten(1, 2) @ prefix.keys.transpose(-1, -2)
    shared = _cap(shared.view(heads, rows, length, split), softcap)
    if before is not None:
        shared = shared + before.transpose(0, 1)
    weights = _softmax(torch.cat([shared, own.transpose(0, 1)], -1))  # [G, R, Q, P + L]
    from_prefix = weights[..., :split].flatten(1, 2) @ prefix.values
    from_own = weights[..., split:].transpose(0, 1) @ values
    return from_own + from_prefix.view(heads, rows, length, -1).transpose(0, 1)


@contextmanager
def slot_attention(model: Any) -> Iterator[None]:
    """The model attends through `step.attend` inside this context; forwards pass `step=`."""
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _attention(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
               scaling: float | None = None, softcap: float | None = None, sliding_window: int | None = None,
               step: Attends | None = None, **kwargs: Any) -> tuple[Tensor, None]:
    """The function transformers calls in every layer."""
    if step is None:
        raise RuntimeError("the model does not pass the step's plan on to its attention")
    if sliding_window is None and _declares_window(module):
        raise NotImplementedError("its sliding window is declared but not passed to attention")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    layer: int = module.layer_idx  # type: ignore[assignment]
    return step.attend(layer, query, key, value, scale, softcap, sliding_window), None


def _declares_window(module: nn.Module) -> bool:
    """Whether the configuration gives this layer a sliding window."""
    config: Any = getattr(module, "config", None)
    if getattr(config, "sliding_window", None) is None:
        return False
    types = getattr(config, "layer_types", None)
    return types is None or types[module.layer_idx] == "sliding_attention"


def additive(allowed: Tensor, groups: int, dtype: torch.dtype) -> Tensor:
    """bool [R, Q, K] -> 0 or -inf [R, 1, groups * Q, K], one row where Q is 1 (it broadcasts over groups)."""
    mask = torch.zeros_like(allowed, dtype=dtype).masked_fill_(~allowed, float("-inf"))[:, None]
    return mask if mask.shape[2] == 1 else mask.repeat(1, 1, groups, 1)


def _cap(scores: Tensor, softcap: float | None) -> Tensor:
    return scores if softcap is None else torch.tanh(scores / softcap) * softcap


def _softmax(scores: Tensor) -> Tensor:
    return torch.softmax(scores, -1, dtype=torch.float32).to(scores.dtype)


def common_prefix(sequences: Sequence[Sequence[int]]) -> int:
    """How many ids all sequences begin with."""
    first = sequences[0]
    shared = min(map(len, sequences))
    for other in sequences[1:]:
        if first[:shared] != other[:shared]:
            shared = next(at for at in range(shared) if first[at] != other[at])
    return shared


AttentionInterface.register(NAME, _attention)
