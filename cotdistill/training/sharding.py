"""FSDP: weights, gradients and optimizer state shared out over the processes of a run, by torch's `fully_shard`.

The same on GPUs (NCCL) and on CPUs (gloo), where accelerate's own FSDP silently becomes DDP. What is kept of a run is
gathered first: checkpoints are the same sealed files whatever the number of processes, and a run goes on in any other
number. (The files of torch.distributed.checkpoint are pickled.)
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from cotdistill.config import DistillConfig
from cotdistill.errors import UsageError


def check_parallel(config: DistillConfig) -> None:
    """Complain about what cannot be sharded."""
    if config.parallel != "fsdp":
        return
    if config.optimizer != "adamw":
        raise UsageError(
            f"--parallel fsdp: {config.optimizer}'s state cannot be sharded; use --optimizer adamw, or --parallel ddp"
        )
    if config.dtype == "float16":
        raise UsageError("--parallel fsdp: float16 needs a loss scale that all processes share; use --dtype bfloat16")
    if config.quantize:
        raise UsageError("--parallel fsdp: quantized weights cannot be sharded; omit --quantize, or use --parallel ddp")


def shard(model: nn.Module, device: torch.device) -> None:
    """Share out a model's parameters over all processes: every layer by itself, then what is beside the layers."""
    from torch.distributed import get_world_size
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from transformers.modeling_layers import GradientCheckpointingLayer

    mesh = init_device_mesh(device.type, (get_world_size(),))
    for module in list(model.modules()):
        if isinstance(module, GradientCheckpointingLayer):
            fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)


def outline(model: nn.Module) -> Any:
    """A copy of a model without its parameters' numbers, to be `assembled`; tied parameters stay tied."""
    empty = {
        id(parameter): nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
        for parameter in model.parameters()
    }
    return copy.deepcopy(model, dict(empty))


def assembled(outlined: nn.Module, model: nn.Module, keep: bool = True) -> Any:
    """The whole of a sharded model, on its device; every process takes part, those that do not `keep` get None."""
    assembled_model = copy.deepcopy(outlined) if keep else None
    places = dict(assembled_model.named_parameters()) if assembled_model is not None else {}
    for name, parameter in model.named_parameters():
        value = whole(parameter.detach())
        if name in places:
            trained = nn.Parameter(value.clone(), parameter.requires_grad)
            torch.utils.swap_tensors(places[name], trained)  # type: ignore[no-untyped-call]
    if assembled_model is not None:
        buffers = dict(model.named_buffers())
        with torch.no_grad():
            for name, buffer in assembled_model.named_buffers():
                buffer.data = buffers[name].clone()
    return assembled_model


def whole(value: Tensor) -> Tensor:
    """A tensor, gathered where it is shared out; every process must ask for it."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def gathered(named: Mapping[str, Tensor], keep: bool = True) -> dict[str, Tensor]:
    """Whole copies on the CPU, of a process's own; every process takes part, those that do not `keep` get nothing."""
    tensors = {}
    for name, value in named.items():
        tensor = whole(value.detach())
        if keep:
            tensors[name] = tensor.cpu().clone().contiguous()
    return tensors


def like(value: Tensor, model: Tensor) -> Tensor:
    """A whole tensor, shared out as `model` is; every process has the whole already."""
    if not isinstance(model, DTensor) or value.shape != model.shape:
        return value
    return distribute_tensor(value.to(model.device), model.device_mesh, model.placements, src_data_rank=None)
