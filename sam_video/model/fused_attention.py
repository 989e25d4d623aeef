"""Attention on a GPU in one kernel, for values that are narrower than the keys.

Mask memories hold 64 numbers where keys have 256. PyTorch's own kernels want both alike, or are
slower. This one follows FlashAttention (Dao et al., 2022). The keys of an object are divided into
parts, as in Flash-Decoding (Dao et al., 2023): the queries of one object alone leave most of a GPU
idle.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from sam_video.model.attention_tiles import DEFAULT_TILE, Tile, best_parts, tile_for

_LOG2_E = tl.constexpr(math.log2(math.e))
_MERGED_ROWS = 16
"""Queries whose parts one program merges."""
_LOWEST = tl.constexpr(-1e38)
"""Weight of a part without keys: finite, so that even an object without keys gives no NaN."""
_VARYING = ["num_valid", "num_queries", "num_keys", "num_parts", "query_rows", "valid_stride"]
"""Arguments that may change from frame to frame; Triton would compile the kernels again for numbers
that are 1 or multiples of 16, and for addresses that are."""


def attend_fused(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    num_valid: Tensor | None = None,
    *,
    tile: Tile | None = None,
    num_parts: int | None = None,
) -> Tensor:
    """Average values by the softmax of scaled queries times keys.

    The result depends on the shapes and on the numbers alone. Nothing waits for the GPU.

    Args:
        queries: `(N, Q, C)`, scaled. C and D are powers of 2, at least 16.
        keys: `(N, K, C)`, less than 2**31 numbers.
        values: `(N, K, D)`.
        num_valid: `(N,)` or `(1,)` int32: only so many keys of an object count; the others are
            not even read. All by default.
        tile: Size of the blocks; by default the one for this GPU and number of objects.
        num_parts: Into which the keys of an object are divided; by default as many as fill the GPU
            best, whatever `num_valid` says.

    Returns:
        `(N, Q, D)`; zeros for an object without keys.
    """
    count, num_queries, channels = queries.shape
    num_keys, width = values.shape[1:]
    device = queries.device
    tile = tile or tile_for(torch.cuda.get_device_capability(device), count) or DEFAULT_TILE
    num_blocks = triton.cdiv(num_queries, tile.num_queries)
    num_parts = num_parts or _parts_for(device, count * num_blocks, num_keys, tile)
    if num_valid is None:
        num_valid = torch.full((1,), num_keys, dtype=torch.int32, device=device)
    averages = queries.new_empty(count, num_parts, num_queries, width, dtype=torch.float32)
    weights = averages.new_empty(count, num_parts, num_queries)
    if queries.stride()[1:] != (channels, 1) or queries.stride(0) % channels:
        queries = queries.contiguous()
    _average_part[num_blocks, num_parts, count](
        *(queries, keys.contiguous(), values.contiguous(), num_valid, averages, weights),
        *(num_queries, num_keys, queries.stride(0) // channels, num_valid.expand(count).stride(0)),
        *(channels, width, tile.num_queries, tile.num_keys),
        num_warps=tile.num_warps,
        num_stages=tile.num_stages,
    )
    merged = values.new_empty(count, num_queries, width)
    _merge_parts[triton.cdiv(num_queries, _MERGED_ROWS), count](
        *(averages, weights, merged, num_queries, num_parts, width, _MERGED_ROWS)
    )
    return merged


def _parts_for(device: torch.device, num_blocks: int, num_keys: int, tile: Tile) -> int:
    num_sms = torch.cuda.get_device_properties(device).multi_processor_count
    return best_parts(num_blocks, num_keys, num_sms, tile)


@triton.jit(do_not_specialize=_VARYING)  # type: ignore[untyped-decorator]
def _average_part(  # type: ignore[no-untyped-def]
    queries,
    keys,
    values,
    num_valid,
    averages,
    weights,  # logarithms to base 2 of the sums of the exponentials of the part's scores
    num_queries,
    num_keys,
    query_rows,  # from object to object; 0 where they share their queries
    valid_stride,  # from object to object; 0 where they share their number
    CHANNELS: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK_QUERIES: tl.constexpr,
    BLOCK_KEYS: tl.constexpr,
):
    """Average the values of one part of the keys for a block of one object's queries."""
    block, part, item = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    rows = block * BLOCK_QUERIES + tl.arange(0, BLOCK_QUERIES)
    is_query = rows < num_queries
    channels, numbers = tl.arange(0, CHANNELS), tl.arange(0, WIDTH)
    query_places = (item * query_rows + rows[:, None]) * CHANNELS + channels[None, :]
    block_queries = tl.load(queries + query_places, mask=is_query[:, None], other=0.0)
    largest = tl.full([BLOCK_QUERIES], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_QUERIES], tl.float32)
    summed = tl.zeros([BLOCK_QUERIES, WIDTH], tl.float32)
    end = tl.minimum(tl.load(num_valid + item * valid_stride), num_keys)
    first, last = _keys_of_part(part, end, BLOCK_KEYS)
    for start in range(first, last, BLOCK_KEYS):
        columns = start + tl.arange(0, BLOCK_KEYS)
        is_key = columns < last
        key_rows = item * num_keys + columns
        key_places = key_rows[None, :] * CHANNELS + channels[:, None]
        block_keys = tl.load(keys + key_places, mask=is_key[None, :], other=0.0)
        scores = tl.dot(block_queries, block_keys) * _LOG2_E
        scores = tl.where(is_key[None, :], scores, float("-inf"))
        highest = tl.maximum(largest, tl.max(scores, 1))
        shares = tl.exp2(scores - highest[:, None])
        rescaled = tl.exp2(largest - highest)
        total = total * rescaled + tl.sum(shares, 1)
        value_places = key_rows[:, None] * WIDTH + numbers[None, :]
        block_values = tl.load(values + value_places, mask=is_key[:, None], other=0.0)
        summed = summed * rescaled[:, None] + tl.dot(shares.to(block_values.dtype), block_values)
        largest = highest
    weight = tl.where(total == 0.0, _LOWEST, largest + tl.log2(total))
    total = tl.where(total == 0.0, 1.0, total)  # of a part without keys
    results = (item * tl.num_programs(1) + part) * num_queries + rows
    average_places = results[:, None] * WIDTH + numbers[None, :]
    tl.store(averages + average_places, summed / total[:, None], mask=is_query[:, None])
    tl.store(weights + results, weight, mask=is_query)


@triton.jit  # type: ignore[untyped-decorator]
def _keys_of_part(part, num_keys, BLOCK_KEYS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return the first key of a part and the one after its last."""
    keys_per_part = tl.cdiv(tl.cdiv(num_keys, tl.num_programs(1)), BLOCK_KEYS) * BLOCK_KEYS
    first = part * keys_per_part
    return first, tl.minimum(first + keys_per_part, num_keys)


@triton.jit(do_not_specialize=_VARYING)  # type: ignore[untyped-decorator]
def _merge_parts(  # type: ignore[no-untyped-def]
    averages,
    weights,
    merged,
    num_queries,
    num_parts,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Average what the parts gave, by their weights, for a block of one object's queries."""
    block, item = tl.program_id(0), tl.program_id(1)
    rows, numbers = block * BLOCK + tl.arange(0, BLOCK), tl.arange(0, WIDTH)
    is_query = rows < num_queries
    first = item * num_parts * num_queries + rows
    largest = tl.full([BLOCK], float("-inf"), tl.float32)
    for part in range(num_parts):
        weight = tl.load(weights + first + part * num_queries, mask=is_query, other=0.0)
        largest = tl.maximum(largest, weight)
    total = tl.zeros([BLOCK], tl.float32)
    summed = tl.zeros([BLOCK, WIDTH], tl.float32)
    for part in range(num_parts):
        results = first + part * num_queries
        share = tl.exp2(tl.load(weights + results, mask=is_query, other=0.0) - largest)
        places = results[:, None] * WIDTH + numbers[None, :]
        average = tl.load(averages + places, mask=is_query[:, None], other=0.0)
        total += share
        summed += share[:, None] * average
    places = (item * num_queries + rows)[:, None] * WIDTH + numbers[None, :]
    average = (summed / total[:, None]).to(merged.dtype.element_ty)
    tl.store(merged + places, average, mask=is_query[:, None])
