"""The KV cache of continuous batching, and attention over a shared prefix and a context's own tokens.

A *context* is one token sequence being decoded, a *lane* the row of the cache that holds its keys and values (the
word of llama.cpp's server). Three things are unlike the cache of `generate()`:

- Lanes are written in place. A new context moves into a lane that another one left; nothing is ever concatenated
  or re-ordered, and lanes may hold sequences of any lengths.
- Prefix sharing: what all contexts begin with (few-shot demonstrations) is held once, [G, P, D], not per lane. A
  query attends to it and to its own lane; both lots of scores go through one softmax, so the result is exact.
- Nothing is padded outside attention. A forward is one sequence [1, N] of tokens laid end to end, any number per
  lane: the layers see N real tokens, and only attention groups them by lane.

What one decoding step does, with A in lane 0 (5 own tokens cached, 1 new) and B in lane 1 (new, 3 tokens), after a
shared prefix of P tokens:

    forward       [1, 4]      A5 B0 B1 B2              position ids P+5, P, P+1, P+2
    written       lane 0, place 5; lane 1, places 0 to 2
    queries       group 1: A5 reads prefix and lane 0 up to place 5
                  group 2: B0 B1 B2 read prefix and lane 1, causally

Sizes: N tokens, S lanes, H heads, G key-value heads, D head width, P prefix tokens, L own tokens, R lanes with Q
queries each in a group.
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

NAME = "cotdistill_kv_cache"
ROOM = 32  # places by which all lanes grow at a time: growing copies the cache
SLACK = 2 * ROOM  # unused places from which on they shrink: attention reads them all


@dataclass(frozen=True)
class KeyValues:
    """Keys and values of one layer: [S, G, L, D] for lanes, [G, P, D] for a prefix."""

    keys: Tensor
    values: Tensor


class KVCache:
    """Keys and values of S lanes in every layer, behind an optional shared prefix of `start` tokens."""

    def __init__(self, lanes: int, prefix: dict[int, KeyValues] | None = None) -> None:
        self.lanes = lanes
        self.prefix = prefix or {}
        self.start = next(iter(self.prefix.values())).keys.shape[1] if self.prefix else 0
        self.layers: dict[int, KeyValues] = {}
        self.room = 0

    def reserve(self, length: int) -> None:
        """Room for `length` own tokens in every lane, and not much more: attention reads all of it."""
        if length <= self.room <= length + SLACK:
            return
        room = -(-length // ROOM) * ROOM
        # Zeros, not empty memory: a masked position's weight is 0, and 0 times a stray NaN would be NaN.
        for at, states_of in self.layers.items():
            fitting = [F.pad(states, (0, 0, 0, room - self.room)) for states in (states_of.keys, states_of.values)]
            self.layers[at] = KeyValues(*fitting)
        self.room = room

    def layer(self, at: int, like: Tensor) -> KeyValues:
        """The lanes of one layer; made at its first use, when `like` [1, G, N, D] shows its shape."""
        if at not in self.layers:
            shape = (self.lanes, like.shape[1], self.room, like.shape[3])
            self.layers[at] = KeyValues(like.new_zeros(shape), like.new_zeros(shape))
        return self.layers[at]

    def copy(self, source: int, target: int, length: int) -> None:
        """Give lane `target` the first `length` own tokens of lane `source`."""
        for held in self.layers.values():
            held.keys[target, :, :length] = held.keys[source, :, :length]
            held.values[target, :, :length] = held.values[source, :, :length]

    def as_prefix(self, length: int) -> dict[int, KeyValues]:
        """The first `length` tokens of lane 0 as a shared prefix."""
        return {
            at: KeyValues(held.keys[0, :, :length].clone(), held.values[0, :, :length].clone())
            for at, held in self.layers.items()
        }


@dataclass
class QueryGroup:
    """Queries that attend together, padded to one [R, Q]: R lanes with up to Q new tokens each.

    take: index of each query among the step's tokens [R, Q] (padding: any). give: which of the R * Q results
    are real, and tokens: the step's tokens they belong to; all None where the rows are the tokens, in order.
    """

    lanes: Tensor | slice  # [R]
    take: Tensor | None  # [R, Q]
    at: Tensor  # own position of each query [R, Q]; padding: any written position
    length: int  # own tokens to read, at least the longest of these lanes with its new ones
    give: Tensor | None = None  # [M]
    tokens: Tensor | None = None  # [M]
    masks: dict[tuple[int | None, int], tuple[Tensor, Tensor | None]] = field(default_factory=dict)

    def mask(self, window: int | None, groups: int, start: int, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """What to add to own scores [R, 1, groups * Q, L] and to prefix scores [R, 1, groups * Q, P] (None: nothing).

        Made once per step and window: layers share it.
        """
        if (window, groups) not in self.masks:
            places = torch.arange(self.length, device=self.at.device)
            # Causal, and at once what hides the stale keys of an earlier context behind a lane's newest token.
            own = places <= self.at[..., None]
            before = None
            if window is not None:
                own &= places > self.at[..., None] - window
                if start:
                    # Places count from behind the prefix, so the prefix has the places -start to -1: a sliding
                    # window may end inside it.
                    prefix = torch.arange(-start, 0, device=self.at.device)
                    before = additive(prefix > self.at[..., None] - window, groups, dtype)
            self.masks[window, groups] = additive(own, groups, dtype), before
        return self.masks[window, groups]


class Attends(Protocol):
    """What every layer of a forward under `cached_attention` asks."""

    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scaling: float,
        softcap: float | None,
        window: int | None,
    ) -> Tensor:
        """query [1, H, N, D], key and value [1, G, N, D] -> [1, N, H, D]."""


@dataclass
class StepAttention:
    """One forward over lanes: where new keys and values go, and which queries attend together."""

    cache: KVCache
    source: Tensor | None  # token of each write [W]; None: the tokens in order
    lane: Tensor  # [W]
    at: Tensor  # own position [W]
    groups: list[QueryGroup]

    def attend(
        self,
        layer: int,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        scaling: float,
        softcap: float | None,
        window: int | None,
    ) -> Tensor:
        """query [1, H, N, D], key and value [1, G, N, D] -> [1, N, H, D]."""
        cached = self.cache.layer(layer, key)
        new_keys, new_values = key[0].transpose(0, 1), value[0].transpose(0, 1)  # [N, G, D]
        # Written before anything is read: each new token must attend to itself and to those beside it. A token that
        # two contexts begin with is computed once and written into both lanes: W > N writes then have a source.
        if self.source is not None:
            new_keys, new_values = new_keys[self.source], new_values[self.source]
        cached.keys[self.lane, :, self.at] = new_keys
        cached.values[self.lane, :, self.at] = new_values
        prefix = self.cache.prefix.get(layer)
        queries = query[0].transpose(0, 1)  # [N, H, D]
        outputs = None
        for group in self.groups:
            mask, before = group.mask(window, queries.shape[1] // key.shape[1], self.cache.start, query.dtype)
            grouped = queries[:, :, None] if group.take is None else queries[group.take].transpose(1, 2)
            # A slice of lanes is a view: the usual step, one new token in every lane, copies no key.
            keys, values = cached.keys[group.lanes, :, : group.length], cached.values[group.lanes, :, : group.length]
            attended = prefix_attention(grouped, keys, values, mask, prefix, before, scaling, softcap)
            attended = attended.transpose(1, 2)  # [R, Q, H, D]
            if group.take is None:
                return attended.transpose(0, 1)
            outputs = torch.empty_like(queries) if outputs is None else outputs
            outputs[group.tokens] = attended.flatten(0, 1)[group.give]
        assert outputs is not None
        return outputs[None]


def prefix_attention(
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor,
    prefix: KeyValues | None,
    before: Tensor | None,
    scaling: float,
    softcap: float | None,
) -> Tensor:
    """Attention of query [R, H, Q, D] over a shared prefix [G, P, D] and own keys [R, G, L, D] -> [R, H, Q, D].

    `mask` and `before` are added to own and prefix scores.
    """
    rows, heads, length, width = query.shape
    # Grouped-query attention without repeat_interleave: the H / G query heads that read one key-value head are stacked
    # as further queries of it, so that keys and values are never copied.
    query = query.reshape(rows, keys.shape[1], -1, width)  # [R, G, groups * Q, D]
    # One query a row is a few small products: on a CPU the fused kernel takes longer than they do.
    if prefix is None and softcap is None and (length > 1 or query.is_cuda):
        out = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask, scale=scaling)
        return out.reshape(rows, heads, length, width)  # a GPU's kernels give another layout than the CPU's
    query = query * scaling
    own = _cap(query @ keys.transpose(-1, -2), softcap) + mask
    if prefix is None:
        return (_softmax(own) @ values).view(rows, heads, length, width)
    out = _with_prefix(query, own, values, prefix, before, softcap)
    return out.reshape(rows, heads, length, width)


def _with_prefix(
    query: Tensor, own: Tensor, values: Tensor, prefix: KeyValues, before: Tensor | None, softcap: float | None
) -> Tensor:
    """One softmax over prefix scores and own scores [R, G, Q, L]; the queries are scaled. -> [R, G, Q, D]"""
    rows, heads, length, _ = query.shape
    split = prefix.keys.shape[1]
    # The prefix's keys are the same for all rows, so all rows' queries meet them in one product per head, [R * Q, D] x
    # [D, P]: the keys are read once, not R times. Scores stay in that product's order [G, R, Q]; own scores, the
    # smaller part, are transposed to it.
    shared = query.transpose(0, 1).flatten(1, 2) @ prefix.keys.transpose(-1, -2)
    shared = _cap(shared.view(heads, rows, length, split), softcap)
    if before is not None:
        shared = shared + before.transpose(0, 1)
    # Over both parts together: two softmaxes merged by their log-sum-exp give the same, in more passes.
    weights = _softmax(torch.cat([shared, own.transpose(0, 1)], -1))  # [G, R, Q, P + L]
    from_prefix = weights[..., :split].flatten(1, 2) @ prefix.values
    from_own = weights[..., split:].transpose(0, 1) @ values
    return from_own + from_prefix.view(heads, rows, length, -1).transpose(0, 1)


@contextmanager
def cached_attention(model: Any) -> Iterator[None]:
    """The model attends through `step.attend` inside this context; forwards pass `step=`."""
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    sliding_window: int | None = None,
    step: Attends | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The function that transformers calls in every layer: forwards pass `step=` through the model to it.

    The model's own mask and cache are not used; its projections, rotary positions and norms are.
    """
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
