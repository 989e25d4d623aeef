"""The kernel for narrow values, beside the formula; without a GPU Triton interprets it."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch

from sam_video.model.attention_tiles import DEFAULT_TILE, TILES, Tile
from tests.model.kernel_cases import (
    DEVICE,
    Case,
    error,
    kernel_process,
    largest_without_keys,
    reads_invalid_keys,
)

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not here")

SMALL = Tile(32, 16, 4, 1, 1)
TABLE = sorted(
    {DEFAULT_TILE, *(tile for tiles in TILES.values() for tile in tiles.values() if tile)},
    key=str,
)
# A GPU multiplies float32 with 10 bits by default.
TOLERANCES = {torch.float32: 1e-5 if DEVICE == "cpu" else 1e-2, torch.bfloat16: 1e-2}


@pytest.fixture(scope="module")
def process() -> Iterator[ProcessPoolExecutor]:
    with kernel_process(interprets=True) as process:
        yield process


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("num_parts", [1, 3, 16], ids=lambda n: f"{n} parts")
@pytest.mark.parametrize("num_keys", [1, 64, 333], ids=lambda n: f"{n} keys")
@pytest.mark.parametrize("num_queries", [20, 64], ids=lambda n: f"{n} queries")
def test_values_are_averaged_by_the_softmax_of_the_scores(
    process: ProcessPoolExecutor,
    num_queries: int,
    num_keys: int,
    num_parts: int,
    dtype: torch.dtype,
) -> None:
    case = Case(SMALL, num_parts, num_queries=num_queries, num_keys=num_keys, dtype=dtype)
    assert process.submit(error, case).result() < TOLERANCES[dtype]


VALID = {
    "one key": (1,),
    "off the blocks": (77,),
    "a number for each object": (1, 200),
    "empty parts": (17, 64),
    "all keys": (333,),
    "more than all": (1000,),
}


@pytest.mark.parametrize("num_parts", [1, 16], ids=lambda n: f"{n} parts")
@pytest.mark.parametrize("num_valid", VALID.values(), ids=VALID)
def test_keys_beyond_the_number_of_valid_ones_count_nothing(
    process: ProcessPoolExecutor, num_valid: tuple[int, ...], num_parts: int
) -> None:
    for dtype, tolerance in TOLERANCES.items():
        case = Case(SMALL, num_parts, num_valid, dtype)
        assert process.submit(error, case).result() < tolerance


@pytest.mark.parametrize("num_valid", [(1,), (77,), (160,), (5, 160)], ids=str)
def test_keys_beyond_the_valid_ones_change_no_bit(
    process: ProcessPoolExecutor, num_valid: tuple[int, ...]
) -> None:
    assert not process.submit(reads_invalid_keys, Case(SMALL, 4, num_valid)).result()


def test_an_object_without_keys_gets_zeros(process: ProcessPoolExecutor) -> None:
    assert process.submit(largest_without_keys, Case(SMALL, num_valid=(0,))).result() == 0.0


def test_objects_may_share_their_queries(process: ProcessPoolExecutor) -> None:
    case = Case(SMALL, count=3, shares_queries=True)
    assert process.submit(error, case).result() < TOLERANCES[torch.float32]
    assert process.submit(error, replace(case, num_valid=(3, 90, 333))).result() < 1e-2


def test_scores_beyond_what_exponentials_hold_are_no_trouble(process: ProcessPoolExecutor) -> None:
    assert process.submit(error, Case(SMALL, scale=1e4)).result() < 1e-2


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("channels", [128, 256], ids=lambda n: f"{n} channels")
@pytest.mark.parametrize("tile", TABLE, ids=str)
def test_every_tile_is_right(
    process: ProcessPoolExecutor, tile: Tile, channels: int, dtype: torch.dtype
) -> None:
    case = Case(tile, 2, dtype=dtype, num_queries=150, num_keys=277, channels=channels, width=64)
    assert process.submit(error, case).result() < TOLERANCES[dtype]
    assert process.submit(error, replace(case, num_valid=(65,))).result() < TOLERANCES[dtype]
