"""Exact attention with rotary positions, by the fastest method for its shape."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from sam_video.limits import gpu_features
from sam_video.model.attention_tiles import tile_for, tiles_for
from sam_video.model.cuda_graphs import is_close
from sam_video.progress import timed_step

logger = logging.getLogger(__name__)

Trial = tuple[Tensor, Tensor, Tensor, Tensor | None]
"""Arguments of an `Attention`."""

TOLERANCE = 0.02
"""Largest difference of two attentions in bfloat16, as a share of the largest number."""

TAIL = 64
"""Keys of a trial beyond its maps, as many as 16 pointers make; they have large values, so that it
shows where the keys end."""

SCORES_PER_CHUNK, LEAST_ROWS = 1 << 20, 128
"""Scores that a CPU holds at a time, and the least queries they are of: fewer scores make small
matrix products, more overflow the caches."""
QUERIES_PER_BLOCK, KEYS_PER_BLOCK = 512, 1024
"""Size of the blocks of scores, for the many keys of large networks."""


class Attention(Protocol):
    """Computes what `attend` does."""

    def __call__(
        self, queries: Tensor, keys: Tensor, values: Tensor, num_valid: Tensor | None = None, /
    ) -> Tensor:
        """Average values by the softmax of scaled queries times keys."""


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
        num_valid: `(N,)` or `(1,)` int32 of at least 1: only so many keys of an object count. The
            others must be finite numbers all the same. All by default.

    Returns:
        `(N, Q, D)`.
    """
    if queries.is_cuda:
        return attend_by_pytorch(queries, keys, values, num_valid)
    averages = values.new_empty(len(queries), queries.shape[1], values.shape[-1])
    lengths = [keys.shape[1]] * len(keys)
    if num_valid is not None:
        lengths = num_valid.expand(len(keys)).tolist()
    scores = {
        length: room_for_scores(queries.shape[1], values[:, :length]) for length in set(lengths)
    }
    for row, length in enumerate(lengths):
        own_keys, own_values = keys[row, :length], values[row, :length]
        attend_one(queries[row], own_keys, own_values, averages[row], scores[length])
    return averages


def attend_by_pytorch(
    queries: Tensor, keys: Tensor, values: Tensor, num_valid: Tensor | None = None
) -> Tensor:
    """Attend as `attend`, by a kernel of PyTorch's and without waiting for the GPU.

    PyTorch takes FlashAttention where values are as wide as keys and all keys count, and elsewhere
    its memory-efficient kernel, which computes no more than it is asked for.
    """
    mask = None
    if num_valid is not None:
        numbers = torch.arange(keys.shape[1], device=keys.device)
        mask = (numbers < num_valid[:, None])[:, None, None]  # (N or 1, 1, 1, K)
    queries, keys, values = (tensor[:, None] for tensor in (queries, keys, values))
    return scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=1.0)[:, 0]


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
    """Return a kernel made for narrow values where it runs and is right, else `attend`.

    A table says which tiles the kernel takes for a GPU and a number of objects, so that each start
    makes the same choice. Here the kernel is compiled, which takes some seconds, and checked. It is
    tried only where `SAM_VIDEO_GPU_FEATURES` names `kernel`.

    Args:
        num_queries: Tokens of an image.
        channels: Of queries and keys.
        width: Of values.
        dtype: Of all of them.
        device: Where they are.
    """
    if device.type != "cuda" or dtype is not torch.bfloat16 or "kernel" not in gpu_features():
        return attend
    try:
        from sam_video.model.fused_attention import attend_fused  # noqa: PLC0415
    except Exception as error:  # there is no Triton, or none for this machine
        logger.info("no kernel for narrow values: %s", error)
        return attend
    capability = torch.cuda.get_device_capability(device)

    def kernel(
        queries: Tensor, keys: Tensor, values: Tensor, num_valid: Tensor | None = None
    ) -> Tensor:
        tile = tile_for(capability, len(values))
        if tile is None:
            return attend(queries, keys, values, num_valid)
        return attend_fused(queries, keys, values, num_valid, tile=tile)

    counts = [count for count, tile in tiles_for(capability).items() if tile is not None]
    if not counts:
        return attend
    trials = random_trials(counts, (num_queries, channels, width), dtype=dtype, device=device)
    with timed_step("compiling the attention kernel"):
        return checked(kernel, attend, trials)


def random_trials(
    counts: Iterable[int],
    sizes: tuple[int, int, int],
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> Iterator[Trial]:
    """Yield arguments with any end of the keys, and with fewer that count.

    Args:
        counts: Numbers of objects, which share their queries.
        sizes: `num_queries`, `channels` and `width` of `fastest_attention`.
        dtype: Of the tensors.
        device: Where they are.
    """
    num_queries, channels, width = sizes
    generator = torch.Generator(device).manual_seed(0)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=dtype, device=device, generator=generator)

    for count in counts:
        queries = (numbers(1, num_queries, channels) * channels**-0.5).expand(count, -1, -1)
        most = 7 * num_queries + TAIL
        keys, values = numbers(count, most, channels), numbers(count, most, width)
        values[:, -TAIL:] *= 100
        for num_keys, valid in ((most, None), (most - 60, None), (most, most - 60), (most, 1)):
            num_valid = None
            if valid is not None:
                num_valid = torch.tensor([valid], dtype=torch.int32, device=device)
            yield queries, keys[:, :num_keys], values[:, :num_keys], num_valid


def checked(candidate: Attention, reference: Attention, trials: Iterable[Trial]) -> Attention:
    """Return the candidate if its results are the reference's, else the reference.

    Args:
        candidate: May fail.
        reference: Is right.
        trials: To try them with.
    """
    try:
        for trial in trials:
            if not is_close(candidate(*trial), reference(*trial), TOLERANCE):
                logger.warning("the kernel for narrow values gives something else; it is not used")
                return reference
    except Exception as error:  # Triton's compiler raises what it likes
        logger.warning("the kernel for narrow values is not used: %s", error)
        return reference
    return candidate
