"""Memory while training: the token budget of a micro-batch is halved when it does not fit."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil  # type: ignore[import-untyped]
import torch

from cotdistill.console import say
from cotdistill.errors import Unavailable
from cotdistill.training.cpu_kernels import trim_heap

GPU_BUDGET = 16384  # positions of a micro-batch: enough work to occupy a GPU
# On a CPU a micro-batch that leaves the caches gains nothing, and one too small pays Python for every layer.
CPU_ACTIVATIONS = 64 << 20  # bytes
CPU_BUDGETS = 400, 4096
WIDTHS_KEPT = 20  # hidden widths that one position of one layer keeps for its backward pass, about
SMALLEST = 64


class OutOfMemory(Exception):
    """A micro-batch did not fit."""


def default_budget(device: torch.device, model: Any) -> int:
    """Positions of a micro-batch that suit the device and, on a CPU, the model's size."""
    if device.type != "cpu":
        return GPU_BUDGET
    config = model.config.get_text_config()
    stored: int = 4 * WIDTHS_KEPT * config.hidden_size * layers_of(config)
    return min(max(CPU_ACTIVATIONS // stored, CPU_BUDGETS[0]), CPU_BUDGETS[1])


def layers_of(shape: Any) -> int:
    """The layers of a model's configuration, an encoder's and a decoder's."""
    return int(shape.num_hidden_layers + (getattr(shape, "num_decoder_layers", None) or 0))


class TokenBudget:
    """Positions a micro-batch may hold. `limit`: bytes the process (CPU) or the device (GPU) may use."""

    def __init__(self, device: torch.device, tokens: int, limit: int | None) -> None:
        self.device = device
        self.tokens = tokens
        self.limit = limit
        self.checkpointed = self.said = False
        if limit is not None and device.type == "cuda":
            at = torch.cuda.current_device() if device.index is None else device.index
            total = torch.cuda.get_device_properties(at).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, limit / total), at)

    def check(self) -> None:
        """Called where activations are at their peak, between a forward and its backward pass."""
        if self.limit is not None and self.device.type in ("cpu", "mps"):
            on_cpu = self.device.type == "cpu"
            used = psutil.Process().memory_info().rss if on_cpu else torch.mps.driver_allocated_memory()
            if used > self.limit:
                raise OutOfMemory(f"{used >> 20} MiB are in use, --max-memory allows {self.limit >> 20}")

    def checkpoint_activations(self, model: Any) -> None:
        """Keep only each layer's input and compute the rest again in the backward pass: a third more time."""
        self.checkpointed = True
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})

    def shrink(self, model: Any, why: BaseException) -> None:
        """Half the budget; below the smallest, activations are recomputed instead of kept; then nothing is left."""
        release_memory()
        if self.tokens > SMALLEST:
            self.tokens //= 2
            if not self.said:
                say(f"out of memory ({why}): micro-batches of {self.tokens} tokens from now on, or fewer", "warn")
            self.said = True
        elif not self.checkpointed:
            self.checkpoint_activations(model)
            say("out of memory: activations are recomputed from now on", "warn")
        else:
            raise Unavailable(
                f"a single row does not fit in memory ({why}); use a shorter --max-length, --lora, or "
                "a machine with more memory"
            ) from why


def release_memory() -> None:
    """Give back what is free: C's heap keeps blocks that a smaller micro-batch may never fill again."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
    trim_heap()


@contextmanager
def out_of_memory_raised() -> Iterator[None]:
    """What the devices raise, as one exception."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemory(_first_line(error)) from error
    except RuntimeError as error:
        # The allocators of the CPU and of MPS have no exception of their own.
        if not any(phrase in str(error) for phrase in ("can't allocate memory", "MPS backend out of memory")):
            raise
        raise OutOfMemory(_first_line(error)) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
