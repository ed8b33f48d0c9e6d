"""The arithmetic of a training step: what it multiplies, counted while it runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from tests.benchmarks.rounds import Paused

aten = torch.ops.aten
# Names that torch's own counter does not know, by the ones it does.
KNOWN_AS = {
    aten.addmm_: aten.addmm,
    aten._scaled_dot_product_flash_attention_for_cpu: aten._scaled_dot_product_flash_attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: aten._scaled_dot_product_flash_attention_backward,
}


class Multiplied(TorchDispatchMode):
    """Sums the FLOPs of the matrix products and attentions inside the block (attention whole, not its causal half).

    Unlike torch's `FlopCounterMode` it hooks into no module, so that it may be entered between two steps.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flop = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run and count one operator."""
        out = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        if formula := flop_registry.get(KNOWN_AS.get(packet, packet)):
            self.flop += formula(*args, **(kwargs or {}), out_val=out)
        return out


def multiplied(advance: Callable[[int], None]) -> float:
    """GFLOP of one optimizer step."""
    mode = Multiplied()
    inside: AbstractContextManager[Any] = advance.inside(mode) if isinstance(advance, Paused) else mode
    with inside:
        advance(1)
    return mode.flop / 1e9
