"""How `fused_attention` divides its work on each GPU; needs neither Triton nor a GPU."""

import math
from dataclasses import dataclass

MOST_PARTS = 16
"""Parts of an object's keys; the average of each part is written and read once more."""
_FIXED_COST = 3
"""Blocks of keys that take as long as the start and the end of a program."""


@dataclass(frozen=True, slots=True)
class Tile:
    """The part of the work that one program (CTA) does at a time, and with what."""

    num_queries: int
    num_keys: int
    num_warps: int
    num_stages: int
    """Blocks of keys that are loaded ahead, as Triton counts them: 1 loads none ahead."""
    programs_per_sm: int
    """How many programs fit a multiprocessor at a time, by their shared memory."""


# Shared memory and registers are those that the compiler reports; the choice among the tiles that
# fit is computed and not yet measured on any GPU.
DEFAULT_TILE = Tile(64, 32, 4, 1, 2)
"""Takes 48 KB of shared memory with keys of 256 numbers; every GPU with bfloat16 has twice that."""
TILES: dict[tuple[int, int], dict[int, Tile | None]] = {
    (8, 9): {1: Tile(64, 32, 4, 1, 2)},  # L40S, L4: two programs hide each other's loads
    (9, 0): {1: Tile(128, 64, 8, 3, 1)},  # H100, H200: 184 KB, the next keys load meanwhile
}
"""By compute capability, the tile from a number of objects on; None is PyTorch's own attention."""


def tiles_for(capability: tuple[int, int]) -> dict[int, Tile | None]:
    """Return the tiles for a GPU, each from a number of objects on."""
    if capability < (8, 0):  # has no bfloat16
        return {1: None}
    return TILES.get(capability, {1: DEFAULT_TILE})


def tile_for(capability: tuple[int, int], count: int) -> Tile | None:
    """Return the tile for a GPU and a number of objects; None if PyTorch's attention is faster."""
    tiles = tiles_for(capability)
    return tiles[max(least for least in tiles if least <= count)]


def best_parts(num_blocks: int, num_keys: int, num_sms: int, tile: Tile) -> int:
    """Return the number of parts of the keys with which the last wave of programs is full enough.

    Programs run in waves of as many as fit the GPU; a wave takes as long as one program.

    Args:
        num_blocks: Blocks of queries, of all objects.
        num_keys: Of each object.
        num_sms: Multiprocessors of the GPU.
        tile: How many of each a program takes.

    Returns:
        The least number, up to `MOST_PARTS`, that costs at most 3 % more than the best one.
    """
    costs = [
        math.ceil(num_blocks * parts / (num_sms * tile.programs_per_sm))
        * (math.ceil(num_keys / parts / tile.num_keys) + _FIXED_COST)
        for parts in range(1, MOST_PARTS + 1)
    ]
    return next(parts for parts, cost in enumerate(costs, 1) if cost <= 1.03 * min(costs))
