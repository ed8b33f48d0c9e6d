"""Where a model runs: `--device` as torch understands it, held against what this machine has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cotdistill.errors import Unavailable

if TYPE_CHECKING:
    from torch import Tensor


def device_of(name: str) -> str:
    """The device of that name; `auto`: a CUDA device where there is one, else Apple's MPS where torch has it.

    Raises `Unavailable` (exit 6).
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.ones(1, device=name).cpu()  # `meta` holds no numbers, other backends are not in this build of torch
    except Exception as error:  # torch raises RuntimeError, AssertionError, NotImplementedError, ImportError
        raise Unavailable(f"--device {name}: not available here; choose from {', '.join(_here())}") from error
    return name


def bfloat16_on_gpu(name: str) -> bool:
    """Whether that device is a GPU that computes in bfloat16."""
    import torch

    return device_of(name).startswith("cuda") and torch.cuda.is_bf16_supported()


def in_float64(numbers: Tensor) -> Tensor:
    """The same numbers in float64, where they are; Apple's MPS has no float64, so from there on the CPU."""
    return (numbers.cpu() if numbers.device.type == "mps" else numbers).double()


def _here() -> list[str]:
    import torch

    gpus = [f"cuda:{at}" for at in range(torch.cuda.device_count())]
    return ["cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]
