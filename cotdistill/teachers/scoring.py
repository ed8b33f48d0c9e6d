"""A local teacher's distributions along the rationales it gave, as `distill --kd` learns them.

The rationale's text is read back after its prompt, tokenised as students tokenise a segment: so the tokens agree
with a student's that has the same vocabulary, whatever tokens the teacher had sampled, and whatever was cut from them.
"""

from __future__ import annotations

import numpy as np
import torch

from cotdistill.console import warn_once
from cotdistill.data.distributions import Recorded
from cotdistill.decoding.decode import Prompt
from cotdistill.students.student import Student


def score(model: Student, prompt: Prompt, text: str, k: int) -> Recorded:
    """The K likeliest tokens where each token [t] of a rationale follows the prompt and those before it: one forward.

    A rationale that is longer than the model's context with its prompt has none, which is said once.
    """
    tokens = model.tokens.segment(" " + text.strip()) if text.strip() else ()
    if model.context is not None and len(prompt.ids) + len(tokens) > model.context:
        warn_once("--logprobs: rationales longer than the teacher's context with their prompt have none")
        tokens = ()
    if not tokens:
        return Recorded(np.zeros(0, np.int32), np.zeros((0, k), np.int32), np.zeros((0, k), np.float16))
    likeliest = _logits(model, prompt, list(tokens)).float().log_softmax(-1).topk(k)
    return Recorded(
        np.array(tokens, np.int32),
        likeliest.indices.cpu().numpy().astype(np.int32),
        likeliest.values.cpu().numpy().astype(np.float16),
    )


@torch.inference_mode()
def _logits(model: Student, prompt: Prompt, tokens: list[int]) -> torch.Tensor:
    """[t, V]; an encoder-decoder model reads the prompt in its encoder."""
    ids = torch.tensor([[*prompt.ids, *tokens[:-1]]], device=model.device)
    if prompt.source is None:
        answered = model.model(input_ids=ids, logits_to_keep=len(tokens), use_cache=False)
    else:
        source = torch.tensor([list(prompt.source)], device=model.device)
        answered = model.model(input_ids=source, decoder_input_ids=ids, use_cache=False)
    logits: torch.Tensor = answered.logits[0, -len(tokens) :]
    return logits
