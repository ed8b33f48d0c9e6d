"""A local teacher's distributions along the rationales it gave, as `distill --kd` learns them.

The rationale's text is read back after its prompt, tokenised as students tokenise a segment: so the tokens agree
with a student's that has the same vocabulary, whatever tokens the teacher had sampled, and whatever was cut from them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from cotdistill.console import progress, warn_once
from cotdistill.data.distributions import Distributions, Recorded, recorded_key, vocabulary_digest
from cotdistill.data.records import Rationale
from cotdistill.decoding.decode import Prompt
from cotdistill.errors import UsageError
from cotdistill.students.student import Student
from cotdistill.teachers.calls import Call


def score(model: Student, answered: Sequence[tuple[Call, Prompt, Rationale]], k: int) -> Distributions:
    """One forward per rationale. One longer than the model's context is left out, and said."""
    recorded: dict[str, Recorded] = {}
    vocabulary = model.tokens.tokenizer.get_vocab()
    if k >= len(vocabulary):
        raise UsageError(f"--logprobs {k}: the teacher's vocabulary has {len(vocabulary)} tokens; take fewer")
    with progress("logprobs", len(answered)) as advance:
        for call, prompt, rationale in answered:
            tokens = model.tokens.segment(" " + rationale.text.strip()) if rationale.text.strip() else ()
            if model.context is not None and len(prompt.ids) + len(tokens) > model.context:
                warn_once("--logprobs: rationales longer than the teacher's context with their prompt have none")
                tokens = ()
            key = recorded_key(call.example.id, rationale.kind, rationale.text)
            recorded[key] = _along(model, prompt.ids, tokens, k) if tokens else _nothing(k)
            advance(1, "")
    return Distributions.of(recorded, vocabulary_digest(vocabulary), k)


def _nothing(k: int) -> Recorded:
    return Recorded(np.zeros(0, np.int32), np.zeros((0, k), np.int32), np.zeros((0, k), np.float16))


@torch.inference_mode()
def _along(model: Student, prompt: Sequence[int], tokens: Sequence[int], k: int) -> Recorded:
    """The K likeliest tokens where each of `tokens` [t] follows the prompt and those before it."""
    ids = torch.tensor([[*prompt, *tokens[:-1]]], device=model.device)
    logits = model.model(input_ids=ids, logits_to_keep=len(tokens), use_cache=False).logits[0]
    likeliest = logits.float().log_softmax(-1).topk(k)
    return Recorded(
        np.array(tokens, np.int32),
        likeliest.indices.cpu().numpy().astype(np.int32),
        likeliest.values.cpu().numpy().astype(np.float16),
    )
