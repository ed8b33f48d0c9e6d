"""What a model keeps of a micro-batch for its backward pass: counted in a forward pass that computes no numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from cotdistill.training.memory import WIDTHS_KEPT, layers_of

SHORT, LONG = 8, 16  # tokens: from two lengths follows the share that grows with the length alone


def kept_by_token(model: Any) -> float:
    """Bytes that one position keeps in float32, all layers, what is trained taken into account.

    `model` is on the meta device. Scores of attention, which grow with the square of the length, are left out:
    training does not keep them, except in families with a position bias of their own (T5). A model that looks into
    its numbers, and so cannot be run without them, is taken for one of the usual kind.
    """
    try:
        short, long = _kept(model, SHORT), _kept(model, LONG)
    except Exception:  # whatever a model's own code raises
        shape = model.config.get_text_config()
        return float(4 * WIDTHS_KEPT * shape.hidden_size * layers_of(shape))
    linear = short * (LONG / SHORT) ** 2 - long  # a n + b n^2 at both lengths
    return linear / (LONG * (LONG / SHORT - 1)) / (2 if model.config.is_encoder_decoder else 1)


def _kept(model: Any, length: int) -> int:
    """Bytes of all tensors that autograd saves of one sequence (of an encoder-decoder: of a pair), weights aside."""
    saved: dict[int, Tensor] = {}
    weights = {one.untyped_storage()._cdata for one in (*model.parameters(), *model.buffers())}

    def save(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage()._cdata] = tensor
        return tensor

    ids = torch.zeros(1, length, dtype=torch.long, device="meta")
    if model.config.is_encoder_decoder:
        given = {"decoder_input_ids": ids}
    else:  # a whole mask, as transformers would look into the numbers to find out that it needs none
        given = {"attention_mask": torch.zeros(1, 1, length, length, device="meta")}
    with saved_tensors_hooks(save, lambda tensor: tensor):
        output = model(input_ids=ids, use_cache=False, **given)
    del output
    return sum(one.untyped_storage().nbytes() for at, one in saved.items() if at not in weights)
