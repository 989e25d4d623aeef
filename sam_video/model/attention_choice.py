"""Which attention to the memories is the fastest on this machine."""

import logging
from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor

from sam_video.model.attention import attend
from sam_video.model.cuda_graphs import is_close

logger = logging.getLogger(__name__)

Attention = Callable[[Tensor, Tensor, Tensor], Tensor]
"""What `attend` does."""

_TOLERANCE = 0.02
"""Of the largest number: how far two attentions in bfloat16 may be from each other."""


def fastest_attention(
    num_queries: int, channels: int, width: int, *, dtype: torch.dtype, device: torch.device
) -> Attention:
    """Return `attend`, or a kernel made for narrow values, if this GPU is faster with it.

    Both are tried once, which takes a second or two, as the kernel has to be compiled.

    Args:
        num_queries: Tokens of an image.
        channels: Of queries and keys.
        width: Of values.
        dtype: Of all of them.
        device: Where they are.
    """
    if device.type != "cuda" or dtype is not torch.bfloat16:
        return attend
    try:
        from sam_video.model.fused_attention import Blocks, attend_fused  # noqa: PLC0415

        kernel = partial(attend_fused, blocks=Blocks.for_gpu(device))
    except Exception as error:  # there is no Triton, or none for this GPU
        logger.info("no kernel for narrow values: %s", error)
        return attend
    trials = (
        tuple(
            torch.randn(count, length, numbers, dtype=dtype, device=device) * scale
            for length, numbers, scale in (
                (num_queries, channels, channels**-0.5),
                (7 * num_queries, channels, 1.0),
                (7 * num_queries, width, 1.0),
            )
        )
        for count in (1, 8)
    )
    return faster(kernel, attend, trials, _gpu_seconds)


def faster(
    candidate: Attention,
    reference: Attention,
    trials: Iterable[tuple[Tensor, ...]],
    seconds: Callable[[Callable[[], object]], float],
) -> Attention:
    """Return the candidate if it gives what the reference gives, a tenth faster or more.

    Args:
        candidate: May fail.
        reference: Is right.
        trials: Queries, keys and values to try them with.
        seconds: Measures how long a call takes.
    """
    saved = 0.0
    try:
        for trial in trials:
            known, found = reference(*trial), candidate(*trial)
            if not is_close(found, known, _TOLERANCE):
                logger.warning("the kernel for narrow values gives something else; it is not used")
                return reference
            saved += 0.9 * seconds(partial(reference, *trial)) - seconds(partial(candidate, *trial))
    except Exception as error:  # Triton's compiler raises what it likes
        logger.warning("the kernel for narrow values is not used: %s", error)
        return reference
    return candidate if saved > 0 else reference


def _gpu_seconds(call: Callable[[], object]) -> float:
    """Return the shortest of ten times."""
    times = []
    for _ in range(10):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        times.append(float(start.elapsed_time(end)))
    return min(times) / 1000
