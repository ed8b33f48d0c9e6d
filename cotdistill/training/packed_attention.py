"""Packing: the token trees of a micro-batch lie one after the other in a single row, without padding.

    trees          A: a0 a1 a2     B: b0 b1 b2 b3, and c2 c3 branching off behind b1
    ids            a0 a1 a2  b0 b1 b2 b3 c2 c3           [1, T]
    position ids    0  1  2   0  1  2  3  2  3           depth in the own tree
    lengths        3, 6
    ancestors      None (a chain: causal), bool [6, 6] (c3 attends to b0 b1 c2 c3, not to b2 b3)

Nothing leaks from one tree into another because no kernel ever sees two of them: `packed_attention` is registered with
transformers' AttentionInterface and runs tree by tree (CPU) or as one variable-length kernel (CUDA, half precision).
Everything else in a transformer treats positions one by one, so it may see them in one row. Position ids that start
again at 0 are not enough: without the separation here rows contaminate each other *silently* (logits off by 0.4), so
`objective.can_pack` compares a packed row with its trees run alone before any training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from inspect import signature
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface

from cotdistill.students.encode import TokenTree

PACKED = "cotdistill_packed"
HALF = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Segments:
    """Where the trees of a packed row lie. `ancestors[i]` is None for a chain, else bool [T_i, T_i] (true: attend)."""

    lengths: tuple[int, ...]
    ancestors: tuple[Tensor | None, ...]
    depth: Tensor  # [T]: position ids
    starts: Tensor  # int32 [trees + 1], cumulative lengths

    @cached_property
    def chains(self) -> bool:
        """True where plain causal attention is right for every segment."""
        return all(mask is None for mask in self.ancestors)

    @cached_property
    def longest(self) -> int:
        """Length of the longest segment, rounded up to a power of two: a compiled layer is then rarely recompiled."""
        return 1 << (max(self.lengths) - 1).bit_length()


def segments(trees: Sequence[TokenTree], device: torch.device) -> Segments:
    """The layout of `trees` packed in their order."""
    lengths = tuple(len(tree.ids) for tree in trees)
    pairs = [(None, np.arange(len(tree.ids))) if tree.is_chain else ancestors(tree) for tree in trees]
    masks = tuple(None if mask is None else moved(torch.from_numpy(mask), device) for mask, _ in pairs)
    depth = torch.from_numpy(np.concatenate([depth for _, depth in pairs])).long()
    starts = torch.from_numpy(np.cumsum([0, *lengths], dtype=np.int32))
    return Segments(lengths, masks, moved(depth, device), moved(starts, device))


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """On the device, without making the host wait for it."""
    if tensor.device == device:
        return tensor
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


def ancestors(tree: TokenTree) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Which nodes each node attends to, bool [T, T] (itself and its ancestors), and its depth [T]."""
    mask = np.eye(len(tree.ids), dtype=bool)
    depth = np.zeros(len(tree.ids), np.int64)
    for node, parent in enumerate(tree.parent.tolist()):  # parents come before children, so their rows are complete
        if parent >= 0:
            mask[node] |= mask[parent]
            depth[node] = depth[parent] + 1
    return mask, depth


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    segments: Segments | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **unused: Any,
) -> tuple[Tensor, None]:
    """Attention inside each segment: query [1, H, T, D], key and value [1, H_kv, T, D] -> [1, T, H, D]."""
    if segments is None:
        raise ValueError("packed attention needs its segments; use another attn_implementation outside of training")
    kind = query.device.type
    if torch.is_autocast_enabled(kind):  # rotary embeddings leave queries and keys in float32
        query, key, value = (part.to(torch.get_autocast_dtype(kind)) for part in (query, key, value))
    fused = query.is_cuda and query.dtype in HALF and segments.chains and not dropout and softcap is None
    if fused and _varlen_options() and (sliding_window is None or "window_size" in _varlen_options()):
        return _varlen(query, key, value, segments, scaling, sliding_window), None
    groups = query.shape[1] // key.shape[1]
    if groups > 1:  # grouped-query attention: H / H_kv query heads read one key-value head
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    # Tree by tree: a block-diagonal mask [T, T] over the whole row would give the same, but most of what it computes is
    # masked out. `split` makes views, so nothing is copied.
    parts = (torch.split(part, list(segments.lengths), 2) for part in (query, key, value))
    outputs = []
    for q, k, v, mask in zip(*parts, segments.ancestors, strict=True):
        if sliding_window is not None and q.shape[2] > sliding_window:
            mask = _window(mask, q.shape[2], sliding_window, q.device)
        if softcap is not None:
            outputs.append(_softcapped(q, k, v, mask, scaling, softcap, dropout))
        else:
            outputs.append(
                F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal=mask is None, scale=scaling)
            )
    return torch.cat(outputs, 2).transpose(1, 2), None


AttentionInterface.register(PACKED, packed_attention)


@contextmanager
def using_attention(model: Any, implementation: str | None) -> Iterator[None]:
    """The model attends in this way inside the block (None: as it does already), and as before after it."""
    before = model.config._attn_implementation
    if implementation is not None and implementation != before:
        model.set_attn_implementation(implementation)
    try:
        yield
    finally:
        if model.config._attn_implementation != before:
            model.set_attn_implementation(before)


def _varlen(
    query: Tensor, key: Tensor, value: Tensor, segments: Segments, scaling: float | None, sliding_window: int | None
) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    known = _varlen_options()
    options: dict[str, Any] = {}
    if "window_size" in known:
        options["window_size"] = (-1 if sliding_window is None else sliding_window - 1, 0)
    else:
        options["is_causal"] = True  # before torch 2.12
    q, k, v = (part[0].transpose(0, 1) for part in (query, key, value))  # [T, H, D]
    default = q.shape[-1] ** -0.5  # what the kernel scales by; another scale (Gemma's) goes into the queries
    if scaling is not None and scaling != default:
        q = q * (scaling / default)
    if q.shape[1] != k.shape[1]:
        if "enable_gqa" in known:
            options["enable_gqa"] = True
        else:
            groups = q.shape[1] // k.shape[1]
            k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    out = varlen_attn(q, k, v, segments.starts, segments.starts, segments.longest, segments.longest, **options)
    assert isinstance(out, Tensor)
    return out[None]


@cache
def _varlen_options() -> frozenset[str]:
    """The parameters this torch's varlen_attn takes, which changed between versions; none where it has no such kernel.

    Without it the trees are attended one by one, as on the CPU.
    """
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return frozenset()
    return frozenset(signature(varlen_attn).parameters)


def _window(mask: Tensor | None, length: int, window: int, device: torch.device) -> Tensor:
    """`mask` (None: causal) without what lies `window` or more steps back along the path."""
    mask = torch.ones(length, length, dtype=torch.bool, device=device).tril() if mask is None else mask
    depth = mask.sum(-1)  # how many it attends to, itself included: distance is counted in the tree, not in the row
    return mask & (depth[:, None] - depth[None] < window)


def _softcapped(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None, cap: float, dropout: float
) -> Tensor:
    """Gemma 2's attention, which the fused kernels refuse: scores are squashed to (-cap, cap) before the mask."""
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    scores = torch.tanh(scores / cap) * cap
    if mask is None:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1, dtype=torch.float32)
    return F.dropout(weights, dropout).to(value.dtype) @ value
