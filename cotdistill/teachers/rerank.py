"""Contrast without token-level access to the teacher: the best of K samples by SCOTT's score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from cotdistill.teachers.calls import Call, Reply

Ranker = Callable[[str, Sequence[str]], list[float]]


def best_of(call: Call, replies: Sequence[Reply], rank: Ranker, lam: float) -> Reply:
    """The reply with the highest mean over its tokens of log p(. | supported) - lam * log p(. | contrast).

    The score of SCOTT's decoding (arXiv 2305.01879), summed over a whole text instead of maximised token by token.
    Tokens of all K samples are counted. The first of equals wins; a failed reply only if all failed.
    """
    usable = [reply for reply in replies if reply.failed is None and reply.text]
    spent = (sum(reply.prompt_tokens for reply in replies), sum(reply.completion_tokens for reply in replies))
    best = usable[0] if usable else replies[0]
    if len({reply.text for reply in usable}) > 1 and call.contrast is not None:
        texts = [" " + reply.text for reply in usable]
        supported, contrast = rank(call.prompt, texts), rank(call.contrast, texts)
        scores = [
            (ours - lam * theirs) / max(reply.completion_tokens, 1)
            for ours, theirs, reply in zip(supported, contrast, usable, strict=True)
        ]
        best = usable[scores.index(max(scores))]
    return replace(best, prompt_tokens=spent[0], completion_tokens=spent[1])
