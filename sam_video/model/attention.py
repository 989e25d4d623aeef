"""Exact attention with rotary positions, by the fastest method for its shape."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from sam_video.model.cuda_graphs import is_close

logger = logging.getLogger(__name__)

Attention = Callable[..., Tensor]
"""Takes queries, keys and values as `attend` does."""

TOLERANCE = 0.02
"""Largest difference of two attentions in bfloat16, as a share of the largest number."""

SCORES_PER_CHUNK, LEAST_ROWS = 1 << 20, 128
"""Scores that a CPU holds at a time, and the least queries they are of: fewer scores make small
matrix products, more overflow the caches."""
QUERIES_PER_BLOCK, KEYS_PER_BLOCK = 512, 1024
"""Size of the blocks of scores, for the many keys of large networks."""


@dataclass(frozen=True, slots=True, eq=False)
class Rotation:
    """Rotary position encoding of an image's tokens, in real arithmetic.

    As `sam2.modeling.position_encoding.compute_axial_cis`, with the two parts of each rotated pair
    half the channels apart, not side by side: see `order`.
    """

    cosines: Tensor
    """`(h w, C/2)`"""
    sines: Tensor
    """`(h w, C/2)`"""

    @classmethod
    def of_grid(cls, side: int, channels: int, theta: float) -> "Rotation":
        """Compute the table for `(side, side)` tokens."""
        frequencies = theta ** -(torch.arange(0, channels, 4)[: channels // 4].float() / channels)
        places = torch.arange(side * side)
        columns, rows = (places % side).float(), (places // side).float()
        angles = torch.cat(
            [torch.outer(columns, frequencies), torch.outer(rows, frequencies)], dim=1
        )
        return cls(angles.cos(), angles.sin())

    @staticmethod
    def order(channels: int) -> Tensor:
        """Return the order in which queries and keys must have their channels: even, then odd."""
        return torch.cat([torch.arange(0, channels, 2), torch.arange(1, channels, 2)])

    def __call__(self, tokens: Tensor) -> Tensor:
        """Rotate `(..., h w, C)` tokens."""
        real, imaginary = tokens.float().chunk(2, dim=-1)
        rotated = torch.empty_like(tokens, dtype=torch.float32)
        half = real.shape[-1]
        torch.mul(real, self.cosines, out=rotated[..., :half])
        torch.mul(imaginary, self.cosines, out=rotated[..., half:])
        rotated[..., :half].addcmul_(imaginary, self.sines, value=-1)
        rotated[..., half:].addcmul_(real, self.sines)
        return rotated.to(tokens.dtype)

    def to(self, device: torch.device) -> "Rotation":
        """Return the table on a device."""
        return Rotation(self.cosines.to(device), self.sines.to(device))


def attend(
    queries: Tensor, keys: Tensor, values: Tensor, num_valid: Tensor | None = None
) -> Tensor:
    """Average values by the softmax of scaled queries times keys.

    Args:
        queries: `(N, Q, C)`, scaled.
        keys: `(N, K, C)`.
        values: `(N, K, D)`.
        num_valid: `(N,)` int32: only so many keys of an object count. All by default.

    Returns:
        `(N, Q, D)`.
    """
    if queries.is_cuda:  # its fastest kernels want values as wide as keys
        padded = pad(values, (0, keys.shape[-1] - values.shape[-1]))
        mask = None if num_valid is None else valid_keys(num_valid, keys.shape[1])
        heads = scaled_dot_product_attention(
            queries[:, None], keys[:, None], padded[:, None], attn_mask=mask, scale=1.0
        )
        return heads[:, 0, :, : values.shape[-1]]
    averages = values.new_empty(len(queries), queries.shape[1], values.shape[-1])
    lengths = [keys.shape[1]] * len(keys) if num_valid is None else num_valid.tolist()
    for row, length in enumerate(lengths):
        scores = room_for_scores(queries.shape[1], values[:, :length])
        attend_one(queries[row], keys[row, :length], values[row, :length], averages[row], scores)
    return averages


def valid_keys(num_valid: Tensor, num_keys: int) -> Tensor:
    """Tell which keys of each object count, `(N, 1, 1, K)`."""
    numbers = torch.arange(num_keys, device=num_valid.device)
    return (numbers < num_valid[:, None])[:, None, None]


def room_for_scores(num_queries: int, values: Tensor) -> Tensor:
    """Return memory for `attend_one` to work in, for the values `(N, K, D)` of any N objects.

    New memory for every object would take up to a tenth of the time of the attention.
    """
    num_keys = values.shape[1]
    if attends_in_blocks(num_keys, values.dtype):
        return values.new_empty(min(QUERIES_PER_BLOCK, num_queries), KEYS_PER_BLOCK)
    rows = max(LEAST_ROWS, SCORES_PER_CHUNK // num_keys)
    return values.new_empty(min(rows, num_queries), num_keys)


def attends_in_blocks(num_keys: int, dtype: torch.dtype) -> bool:
    """Tell whether a CPU takes this many keys in blocks."""
    return num_keys > 4 * KEYS_PER_BLOCK and dtype is torch.float32


def attend_one(queries: Tensor, keys: Tensor, values: Tensor, out: Tensor, scores: Tensor) -> None:
    """Attend as `attend`, for one object on a CPU, with scores that stay in its caches.

    Args:
        queries: `(Q, C)`, scaled.
        keys: `(K, C)`.
        values: `(K, D)`.
        out: `(Q, D)`, for the averages.
        scores: From `room_for_scores`.
    """
    step = attend_in_blocks if attends_in_blocks(len(keys), keys.dtype) else attend_at_once
    for chunk, averages in zip(queries.split(len(scores)), out.split(len(scores)), strict=True):
        step(chunk, keys, values, averages, scores[: len(chunk)])


def attend_at_once(
    queries: Tensor, keys: Tensor, values: Tensor, out: Tensor, scores: Tensor
) -> None:
    """Average over all keys: `scores` is `(Q, K)`."""
    torch.mm(queries, keys.t(), out=scores)
    torch.softmax(scores, dim=-1, out=scores)
    torch.mm(scores, values, out=out)


def attend_in_blocks(
    queries: Tensor, keys: Tensor, values: Tensor, out: Tensor, scores: Tensor
) -> None:
    """Average over one block of keys after the other, as FlashAttention does (Dao et al., 2022).

    Each query keeps its largest score so far; the sums are rescaled whenever that grows.
    `scores` is `(Q, KEYS_PER_BLOCK)`.
    """
    largest = queries.new_full((len(queries), 1), -torch.inf)
    total = torch.zeros_like(largest)
    out.zero_()
    blocks = zip(keys.split(KEYS_PER_BLOCK), values.split(KEYS_PER_BLOCK), strict=True)
    for block, block_values in blocks:
        weights = scores if len(block) == KEYS_PER_BLOCK else scores.new_empty(len(out), len(block))
        torch.mm(queries, block.t(), out=weights)
        before, largest = largest, torch.maximum(largest, weights.amax(dim=1, keepdim=True))
        weights.sub_(largest).exp_()
        rescaled = (before - largest).exp_()
        total.mul_(rescaled).add_(weights.sum(dim=1, keepdim=True))
        out.mul_(rescaled).addmm_(weights, block_values)
    out.div_(total)


def to_tokens(maps: Tensor) -> Tensor:
    """Flatten `(N, C, h, w)` to `(N, h w, C)`."""
    return maps.flatten(2).transpose(1, 2)


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
    """Return the candidate if its results equal the reference's and it is a tenth faster or more.

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
            if not is_close(found, known, TOLERANCE):
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
