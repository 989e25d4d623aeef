"""How the kernel divides its work."""

import math

import pytest

from sam_video.model import attention_tiles
from sam_video.model.attention_tiles import (
    DEFAULT_TILE,
    MOST_PARTS,
    TILES,
    Tile,
    best_parts,
    tile_for,
)

TILE = Tile(64, 32, 4, 1, 2)
MAP = 4096
"""Queries, and keys of a mask memory."""


def cost(count: int, num_parts: int, num_keys: int, num_sms: int, tile: Tile) -> int:
    """Return how long the programs take in turns, in blocks of keys."""
    free, ends = [0] * (num_sms * tile.programs_per_sm), []
    keys_per_part = math.ceil(num_keys / num_parts)
    for _ in range(count * math.ceil(MAP / tile.num_queries) * num_parts):
        ends.append(free.pop(0) + math.ceil(keys_per_part / tile.num_keys) + 3)
        free.append(ends[-1])  # all take alike, so that the first to start is the first to end
    return max(ends)


@pytest.mark.parametrize("num_sms", [58, 132, 142], ids=lambda n: f"{n} SMs")
@pytest.mark.parametrize("num_keys", [64, MAP + 4, 7 * MAP + 64], ids=lambda n: f"{n} keys")
@pytest.mark.parametrize("count", [1, 3, 5, 16], ids=lambda n: f"{n} objects")
def test_the_number_of_parts_is_the_least_of_those_that_fill_the_gpu_best(
    count: int, num_keys: int, num_sms: int
) -> None:
    found = best_parts(count * MAP // TILE.num_queries, num_keys, num_sms, TILE)
    costs = {n: cost(count, n, num_keys, num_sms, TILE) for n in range(1, MOST_PARTS + 1)}
    good = [n for n, cost in costs.items() if cost <= 1.03 * min(costs.values())]
    assert found == good[0]


@pytest.mark.parametrize(
    ("capability", "num_sms"), [((8, 9), 142), ((9, 0), 132)], ids=["L40S", "H200"]
)
def test_programs_fill_a_gpu_with_any_number_of_objects(
    capability: tuple[int, int], num_sms: int
) -> None:
    for count in range(1, 17):
        tile = tile_for(capability, count)
        assert tile is not None
        num_blocks, num_keys = count * MAP // tile.num_queries, 7 * MAP + 64
        parts = best_parts(num_blocks, num_keys, num_sms, tile)
        work = num_blocks * num_keys / tile.num_keys / num_sms / tile.programs_per_sm
        assert work / cost(count, parts, num_keys, num_sms, tile) > 0.9


def test_a_tile_is_chosen_by_gpu_and_number_of_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = Tile(64, 16, 4, 1, 2), Tile(128, 32, 8, 2, 1)
    monkeypatch.setattr(attention_tiles, "TILES", {(8, 9): {1: few, 3: None, 6: many}})
    chosen = [tile_for((8, 9), count) for count in (1, 2, 3, 5, 6, 16)]
    assert chosen == [few, few, None, None, many, many]


@pytest.mark.parametrize("capability", [(8, 0), (8, 6), (12, 0)], ids=str)
def test_a_gpu_that_the_table_does_not_name_gets_a_small_tile(capability: tuple[int, int]) -> None:
    assert tile_for(capability, 1) == tile_for(capability, 16) == DEFAULT_TILE


def test_a_gpu_without_bfloat16_gets_no_tile() -> None:
    assert tile_for((7, 5), 1) is None


def test_the_table_has_a_row_for_one_object() -> None:
    assert all(1 in tiles for tiles in TILES.values())
