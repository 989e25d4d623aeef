"""Attention on a GPU in one kernel, for values that are narrower than the keys.

Mask memories hold 64 numbers where keys have 256, and PyTorch's own kernels want both alike. This
one follows FlashAttention (Dao et al., 2022). The keys of an object are divided into parts, as in
Flash-Decoding (Dao et al., 2023): the queries of one object alone leave most of a GPU idle.
"""

import math
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

_LARGE_SHARED_MEMORY = 160 * 2**10
"""Bytes: blocks of 64 keys take 144 KB, of 32 keys 84 KB. An A100 has 163 KB, an L40S 99 KB."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """How the work is divided."""

    num_queries: int
    num_keys: int
    num_warps: int
    num_programs: int
    """As many as fill the GPU, if there is enough to do."""

    @classmethod
    def for_gpu(cls, device: torch.device) -> "Blocks":
        """Return what suits a GPU."""
        properties = triton.runtime.driver.active.utils.get_device_properties(device.index or 0)
        is_large = properties["max_shared_mem"] >= _LARGE_SHARED_MEMORY
        return cls(128, 64 if is_large else 32, 8, 2 * properties["multiprocessor_count"])


def attend_fused(queries: Tensor, keys: Tensor, values: Tensor, blocks: Blocks) -> Tensor:
    """Average values by the softmax of scaled queries times keys.

    Args:
        queries: `(N, Q, C)`, scaled. C and D are powers of 2, at least 16.
        keys: `(N, K, C)`.
        values: `(N, K, D)`.
        blocks: From `Blocks.for_gpu`.

    Returns:
        `(N, Q, D)`.
    """
    count, num_queries, channels = queries.shape
    num_keys, width = values.shape[1:]
    num_blocks = triton.cdiv(num_queries, blocks.num_queries)
    wanted = max(1, blocks.num_programs // (count * num_blocks))
    keys_per_part = blocks.num_keys * triton.cdiv(triton.cdiv(num_keys, wanted), blocks.num_keys)
    num_parts = triton.cdiv(num_keys, keys_per_part)
    averages = queries.new_empty(count, num_parts, num_queries, width, dtype=torch.float32)
    weights = averages.new_empty(count, num_parts, num_queries)
    if queries.stride()[1:] != (channels, 1):
        queries = queries.contiguous()
    _average_part[num_blocks, num_parts, count](
        queries,
        keys.contiguous(),
        values.contiguous(),
        averages,
        weights,
        num_queries,
        num_keys,
        keys_per_part,
        queries.stride(0),
        CHANNELS=channels,
        WIDTH=width,
        BLOCK_QUERIES=blocks.num_queries,
        BLOCK_KEYS=blocks.num_keys,
        num_warps=blocks.num_warps,
        num_stages=2,
    )
    shares = (weights * math.log(2)).softmax(dim=1)
    return (averages * shares[..., None]).sum(dim=1).to(values.dtype)


@triton.jit  # type: ignore[untyped-decorator]
def _average_part(  # type: ignore[no-untyped-def]
    queries,
    keys,
    values,
    averages,
    weights,
    num_queries,
    num_keys,
    keys_per_part,
    query_stride,  # from object to object; 0 where they share their queries
    CHANNELS: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK_QUERIES: tl.constexpr,
    BLOCK_KEYS: tl.constexpr,
):
    """Average the values of one part of the keys for a block of one object's queries.

    `weights` gets the logarithm to base 2 of the sum of the exponentials of the part's scores.
    """
    block, part, item = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    rows = block * BLOCK_QUERIES + tl.arange(0, BLOCK_QUERIES)
    channels, numbers = tl.arange(0, CHANNELS), tl.arange(0, WIDTH)
    query_places = item * query_stride + rows[:, None] * CHANNELS + channels[None, :]
    block_queries = tl.load(queries + query_places, mask=rows[:, None] < num_queries, other=0.0)
    largest = tl.full([BLOCK_QUERIES], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_QUERIES], tl.float32)
    summed = tl.zeros([BLOCK_QUERIES, WIDTH], tl.float32)
    first = part * keys_per_part
    last = tl.minimum(first + keys_per_part, num_keys)
    for start in range(first, last, BLOCK_KEYS):
        columns = start + tl.arange(0, BLOCK_KEYS)
        is_key = columns < last
        key_rows = item * num_keys + columns
        key_places = key_rows[None, :] * CHANNELS + channels[:, None]
        block_keys = tl.load(keys + key_places, mask=is_key[None, :], other=0.0)
        scores = tl.dot(block_queries, block_keys) * 1.4426950408889634  # to base 2
        scores = tl.where(is_key[None, :], scores, float("-inf"))
        highest = tl.maximum(largest, tl.max(scores, 1))
        shares = tl.exp2(scores - highest[:, None])
        rescaled = tl.exp2(largest - highest)
        total = total * rescaled + tl.sum(shares, 1)
        value_places = key_rows[:, None] * WIDTH + numbers[None, :]
        block_values = tl.load(values + value_places, mask=is_key[:, None], other=0.0)
        summed = summed * rescaled[:, None] + tl.dot(shares.to(block_values.dtype), block_values)
        largest = highest
    results = (item * tl.num_programs(1) + part) * num_queries + rows
    average_places = results[:, None] * WIDTH + numbers[None, :]
    tl.store(averages + average_places, summed / total[:, None], mask=rows[:, None] < num_queries)
    tl.store(weights + results, largest + tl.log2(total), mask=rows < num_queries)
