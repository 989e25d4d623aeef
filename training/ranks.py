"""Several processes that share each step, as `torchrun` starts them; one is enough."""

import os

import torch
import torch.distributed as dist
from sam2.modeling.sam2_base import SAM2Base


def join_ranks() -> int:
    """Join the processes that `torchrun` started, if it did, and return this one's rank."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return 0
    dist.init_process_group("gloo")
    return dist.get_rank()


def average_gradients(network: SAM2Base) -> None:
    """Replace every process's gradients by their mean."""
    if not dist.is_initialized():
        return
    gradients = [_gradient(p) for p in network.parameters() if p.requires_grad]
    _average(gradients)


def average_norms(network: SAM2Base) -> None:
    """Replace every process's running statistics of batch norms by their mean."""
    if not dist.is_initialized():
        return
    _average([buffer for buffer in network.buffers() if buffer.is_floating_point()])


def agree(value: float) -> float:
    """Return the first process's value in all."""
    if not dist.is_initialized():
        return value
    shared = torch.tensor(value, dtype=torch.float64)
    dist.broadcast(shared, src=0)
    return float(shared)


def _gradient(parameter: torch.nn.Parameter) -> torch.Tensor:
    if parameter.grad is None:  # not used in this step here, but perhaps elsewhere
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def _average(tensors: list[torch.Tensor]) -> None:
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    offset = 0
    for tensor in tensors:
        tensor.copy_(flat[offset : offset + tensor.numel()].view_as(tensor))
        offset += tensor.numel()
