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
    compiled,
    differs_from_the_table,
    error,
    kernel_process,
    largest_without_keys,
    reads_invalid_keys,
)

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not here")

SMALL = Tile(32, 32, 4, 1, 1)
TILES_BY_GPU = [
    ((8, 0), DEFAULT_TILE),
    ((8, 6), DEFAULT_TILE),
    *((gpu, tile) for gpu, tiles in TILES.items() for tile in set(tiles.values()) if tile),
]
TABLE = sorted({tile for _, tile in TILES_BY_GPU}, key=str)
MEMORY = {
    (8, 0): (166912, 167936),
    (8, 6): (101376, 102400),
    (8, 9): (101376, 102400),
    (9, 0): (232448, 233472),
}
"""Bytes of shared memory by compute capability: the most of a program, and of a multiprocessor."""
RESERVED = 1024
"""Bytes of shared memory that a program takes besides."""
# A GPU multiplies float32 with 10 bits by default.
TOLERANCES = {torch.float32: 1e-5 if DEVICE == "cpu" else 1e-2, torch.bfloat16: 1e-2}
DTYPES = pytest.mark.parametrize("dtype", TOLERANCES, ids=str)


@pytest.fixture(scope="module")
def process() -> Iterator[ProcessPoolExecutor]:
    """Runs kernels: on the GPU, or interpreted."""
    with kernel_process(interprets=True) as process:
        yield process


@pytest.fixture(scope="module")
def compiler() -> Iterator[ProcessPoolExecutor]:
    """Compiles kernels."""
    with kernel_process(interprets=False) as process:
        yield process


SHAPES = {
    "one key": Case(SMALL, num_keys=1),
    "fewer keys than parts": Case(SMALL, 4, num_keys=70),
    "one part": Case(SMALL, 1),
    "keys off the blocks": Case(SMALL, 5),
    "queries off the blocks": Case(SMALL, 2, num_queries=40, num_keys=64),
    "inputs in another order": Case(SMALL, is_transposed=True),
    "whole blocks": Case(SMALL, 2, num_queries=32, num_keys=128),
}


@DTYPES
@pytest.mark.parametrize("case", SHAPES.values(), ids=SHAPES)
def test_values_are_averaged_by_the_softmax_of_the_scores(
    process: ProcessPoolExecutor, case: Case, dtype: torch.dtype
) -> None:
    assert process.submit(error, replace(case, dtype=dtype)).result() < TOLERANCES[dtype]


VALID = {
    "one key": (1,),
    "off the blocks": (77,),
    "a number for each object": (1, 200),
    "whole blocks, and empty parts": (32, 64),
    "all keys": (333,),
    "more than all": (1000,),
}


@DTYPES
@pytest.mark.parametrize("num_valid", VALID.values(), ids=VALID)
def test_keys_beyond_the_number_of_valid_ones_count_nothing(
    process: ProcessPoolExecutor, num_valid: tuple[int, ...], dtype: torch.dtype
) -> None:
    case = Case(SMALL, 4, num_valid, dtype)
    assert process.submit(error, case).result() < TOLERANCES[dtype]


@pytest.mark.parametrize("num_valid", [(1,), (160,), (5, 77)], ids=str)
def test_keys_beyond_the_valid_ones_change_no_bit(
    process: ProcessPoolExecutor, num_valid: tuple[int, ...]
) -> None:
    assert not process.submit(reads_invalid_keys, Case(SMALL, 4, num_valid)).result()


@pytest.mark.parametrize("num_valid", [None, (77,)], ids=str)
def test_tile_and_parts_are_those_of_the_gpu_however_many_keys_are_valid(
    process: ProcessPoolExecutor, num_valid: tuple[int, ...] | None
) -> None:
    case = Case(SMALL, num_valid=num_valid)
    for gpu in TILES:
        assert not process.submit(differs_from_the_table, case, gpu, 5).result()


def test_an_object_without_keys_gets_zeros(process: ProcessPoolExecutor) -> None:
    assert process.submit(largest_without_keys, Case(SMALL, num_valid=(0,))).result() == 0.0


@pytest.mark.parametrize("num_valid", [None, (3, 90, 333)], ids=str)
def test_objects_may_share_their_queries(
    process: ProcessPoolExecutor, num_valid: tuple[int, ...] | None
) -> None:
    case = Case(SMALL, num_valid=num_valid, count=3, shares_queries=True)
    assert process.submit(error, case).result() < TOLERANCES[torch.float32]


def test_scores_beyond_what_exponentials_hold_are_no_trouble(process: ProcessPoolExecutor) -> None:
    assert process.submit(error, Case(SMALL, scale=1e4)).result() < 1e-2


@DTYPES
@pytest.mark.parametrize("channels", [128, 256], ids=lambda n: f"{n} channels")
@pytest.mark.parametrize("tile", TABLE, ids=str)
def test_every_tile_is_right(
    process: ProcessPoolExecutor, tile: Tile, channels: int, dtype: torch.dtype
) -> None:
    case = Case(
        tile,
        num_parts=2,
        num_valid=(2 * tile.num_keys + 1,),
        dtype=dtype,
        num_queries=tile.num_queries + 6,
        num_keys=3 * tile.num_keys + 5,
        channels=channels,
        width=64,
        count=1,
    )
    assert process.submit(error, case).result() < TOLERANCES[dtype]


@pytest.mark.parametrize(("capability", "tile"), TILES_BY_GPU, ids=str)
def test_every_tile_fits_its_gpu(
    compiler: ProcessPoolExecutor, capability: tuple[int, int], tile: Tile
) -> None:
    program = compiler.submit(compiled, tile, 256, capability).result()
    most, of_sm = MEMORY[capability]
    assert program.shared <= most
    assert tile.programs_per_sm * (program.shared + RESERVED) <= of_sm
    assert tile.programs_per_sm * tile.num_warps * 32 * program.registers <= 65536
    assert program.spilt == 0
