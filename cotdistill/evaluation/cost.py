"""What a forward pass costs, from a model's shapes."""

from __future__ import annotations

from typing import Any


def flops_per_token(model: Any) -> float:
    """Forward FLOPs of one token: 2 x the parameters it is multiplied with; looked-up embeddings are not.

    Attention scores (2 x layers x width x context each for keys and values) are left out: a few percent at
    these lengths. An encoder-decoder's token passes through one of two stacks, so half of their parameters.
    The head is counted at every token, as is usual (2N per token).
    Source: Kaplan et al. (2020), Scaling laws for neural language models, table 1.
    """
    head = model.get_output_embeddings()
    looked_up = {parameter for module in (model.get_input_embeddings(),) for parameter in module.parameters()}
    products = {parameter for parameter in model.parameters() if parameter not in looked_up}
    multiplied = sum(parameter.numel() for parameter in products)
    own = sum(parameter.numel() for parameter in head.parameters()) if head is not None else 0
    body = multiplied - sum(p.numel() for p in head.parameters() if p in products) if head is not None else multiplied
    return float(2 * (body / 2 if model.config.is_encoder_decoder else body) + 2 * own)
