"""Attention to the memories: is the kernel right, and which way is the fastest?"""

import importlib.util
import os
import warnings
from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import pad, scaled_dot_product_attention

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.report import first_line
from sam_video.model.attention import attend
from sam_video.model.attention_tiles import Tile, tile_for

Call = Callable[[], object]

TOLERANCE = 0.01
"""Largest error of results in bfloat16, as a share of all of them (Euclidean norms)."""

WORTH_A_CHANGE = 1.05
"""How many times as fast another tile must be to be named."""
VALID_KEYS, AS_THE_PACKAGE = "PyTorch, valid keys", "kernel as the package takes it"
"""Ways to attend that recordings may take."""

TILES = {
    (8, 9): (
        Tile(64, 32, 4, 1, 2),
        Tile(128, 32, 8, 2, 1),
        Tile(128, 32, 4, 2, 1),
        Tile(128, 16, 8, 3, 1),
        Tile(64, 64, 4, 2, 1),
        Tile(64, 16, 4, 2, 2),
    ),
    (9, 0): (
        Tile(128, 64, 8, 3, 1),
        Tile(128, 64, 8, 2, 1),
        Tile(128, 32, 8, 2, 2),
        Tile(128, 64, 8, 1, 2),
        Tile(64, 64, 4, 2, 2),
        Tile(128, 128, 8, 2, 1),
    ),
}
"""Tiles to try by compute capability: all fit the shared memory, and spill no registers."""
FURTHER_TILES = (Tile(64, 32, 4, 1, 2), Tile(64, 32, 4, 2, 2), Tile(32, 32, 4, 1, 2))
"""Tiles to try on other GPUs, and in a rehearsal."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of an attention: objects, queries, keys, numbers of a key and of a value."""

    count: int
    num_queries: int = 4096
    num_keys: int = 28736
    channels: int = 256
    width: int = 64
    num_valid: int | None = None
    """How many keys count, if not all."""
    shares_queries: bool = True

    def __str__(self) -> str:
        valid = "" if self.num_valid is None else f", {self.num_valid} valid"
        shared = ", shared queries" if self.shares_queries else ""
        sizes = f"N={self.count} Q={self.num_queries} K={self.num_keys} C={self.channels}"
        return f"{sizes} D={self.width}{valid}{shared}"

    def tensors(self, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Return random queries, keys and values."""

        def numbers(count: int, length: int, width: int) -> Tensor:
            return torch.randn(count, length, width, device=device).to(dtype)

        rows = 1 if self.shares_queries else self.count
        queries = numbers(rows, self.num_queries, self.channels) * self.channels**-0.5
        return (
            queries.expand(self.count, -1, -1),
            numbers(self.count, self.num_keys, self.channels),
            numbers(self.count, self.num_keys, self.width),
        )

    def valid(self, device: torch.device) -> Tensor | None:
        """Return the number of keys that count, as an attention takes it."""
        if self.num_valid is None:
            return None
        return torch.full((self.count,), self.num_valid, dtype=torch.int32, device=device)


SHAPES = (
    Shape(1, shares_queries=False),
    Shape(2, num_keys=4100),
    Shape(3, num_keys=28732),
    Shape(5, num_keys=28736, num_valid=20484),
    Shape(2, num_keys=28736, num_valid=1),
    Shape(4, num_queries=100, num_keys=77, shares_queries=False),
    Shape(5, num_queries=576, num_keys=4096, channels=128),
)
SMALL_SHAPES = (
    Shape(1, 40, 70, 32, 16, shares_queries=False),
    Shape(2, 33, 65, 32, 16),
    Shape(2, 33, 65, 32, 16, num_valid=40),
)


def check_kernel(bench: Bench) -> None:
    """Compare the kernel and PyTorch's attention with the formula, in float64."""
    ways: dict[str, Callable[..., Tensor]] = {"PyTorch's": attend}
    if has_triton(bench):
        ways["the kernel's"] = partial(run_kernel, bench, None)
    for shape in bench.pick(SHAPES, SMALL_SHAPES):
        inputs = shape.tensors(bench.device, kernel_dtype(bench))
        known = formula(*inputs, shape.num_valid)
        for name, way in ways.items():
            try:
                found = way(*inputs, shape.valid(bench.device)).double()
            except Exception as failure:  # Triton's compiler raises what it likes
                bench.report.check(False, f"{name} attention, {shape}: {first_line(failure)}")
                continue
            error = float((found - known).norm() / known.norm())
            bench.report.check(error < TOLERANCE, f"{name} attention, {shape}: error {error:.1e}")


def has_triton(bench: Bench) -> bool:
    """Tell whether there is Triton, which a GPU's image must have."""
    if importlib.util.find_spec("triton") is not None:
        return True
    bench.report.say("INFO" if bench.is_rehearsal else "FAIL", "there is no Triton: no kernel")
    return False


def kernel_dtype(bench: Bench) -> torch.dtype:
    """Return what the kernel is tried in: Triton's interpreter cannot multiply bfloat16."""
    return bench.pick(torch.bfloat16, torch.float32)


def formula(queries: Tensor, keys: Tensor, values: Tensor, num_valid: int | None) -> Tensor:
    """Attend in float64, object by object."""
    rows = zip(queries, keys[:, :num_valid], values[:, :num_valid], strict=True)
    return torch.stack([(q.double() @ k.double().mT).softmax(-1) @ v.double() for q, k, v in rows])


def run_kernel(bench: Bench, tile: Tile | None, *inputs: Tensor | None) -> Tensor:
    """Run the kernel with a tile, by default as the package does, on what `attend` takes."""
    if bench.is_rehearsal:  # Triton reads this when a kernel is defined
        os.environ["TRITON_INTERPRET"] = "1"
    from sam_video.model.fused_attention import attend_fused  # noqa: PLC0415

    attend_so: Callable[..., Tensor] = attend_fused
    if bench.is_rehearsal:
        attend_so = partial(attend_fused, num_parts=2)
        tile = tile or FURTHER_TILES[0]
    return attend_so(*inputs, tile=tile)


def time_attention(bench: Bench) -> None:
    """Time every way of attending for each number of objects, as a recording would run it."""
    rows: dict[int, dict[str, float]] = {}
    for count in bench.pick(range(1, 11), (1, 2)):
        shape = bench.pick(
            Shape(count, num_keys=28736, num_valid=28672), Shape(count, 40, 70, 32, 16, 60)
        )
        rows[count], impossible = time_ways(bench, ways_to_attend(bench, shape))
        if impossible:
            bench.report.info(f"{count} objects, not possible: {'; '.join(impossible)}")
        _report_row(bench, shape, rows[count])
    bench.report.figures["attention, milliseconds a layer"] = rows
    if not bench.is_rehearsal:
        _time_new_number_of_keys(bench)


def time_ways(bench: Bench, ways: dict[str, Call]) -> tuple[dict[str, float], list[str]]:
    """Return the milliseconds that each way takes, and those that are not there on this GPU."""
    found, impossible = {}, []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch, which says at length what is not possible
        for name, call in ways.items():
            try:
                found[name] = round(bench.milliseconds(call, 5, 2).device, 3)
            except Exception as error:  # Triton's compiler raises what it likes
                impossible.append(f"{name} ({first_line(error)[:60]})")
    return found, impossible


def ways_to_attend(bench: Bench, shape: Shape) -> dict[str, Call]:
    """Return calls by name; `padded` widens values to the keys, `narrow` does not."""
    queries, keys, values = inputs = shape.tensors(bench.device, kernel_dtype(bench))
    valid = shape.valid(bench.device)
    ways: dict[str, Call] = {
        VALID_KEYS: partial(attend, queries, keys, values, valid),
        "PyTorch, all keys": partial(attend, *inputs),
    }
    wide = pad(values, (0, shape.channels - shape.width))
    for backend in (
        SDPBackend.FLASH_ATTENTION,
        SDPBackend.EFFICIENT_ATTENTION,
        SDPBackend.CUDNN_ATTENTION,
    ):
        name = backend.name.removesuffix("_ATTENTION").lower()
        ways[f"{name}, padded"] = partial(_with_backend, backend, queries, keys, wide)
        ways[f"{name}, narrow"] = partial(_with_backend, backend, queries, keys, values)
    if importlib.util.find_spec("triton") is not None:
        ways[AS_THE_PACKAGE] = partial(run_kernel, bench, None, *inputs, valid)
        for tile in tiles_to_try(bench):
            ways[f"kernel {astuple(tile)}"] = partial(run_kernel, bench, tile, *inputs, valid)
    return ways


def tiles_to_try(bench: Bench) -> tuple[Tile, ...]:
    """Return the tiles that may be the fastest on this GPU."""
    if bench.is_rehearsal:
        return FURTHER_TILES[:2]
    return TILES.get(torch.cuda.get_device_capability(), FURTHER_TILES)


def _with_backend(backend: SDPBackend, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    queries, keys, values = (tensor[:, None] for tensor in (queries, keys, values))
    with sdpa_kernel(backend):
        return scaled_dot_product_attention(queries, keys, values, scale=1.0)


def _report_row(bench: Bench, shape: Shape, found: dict[str, float]) -> None:
    """Say which ways are the fastest, and whether the package takes one that is close."""
    flop = 2 * shape.count * shape.num_queries * shape.num_keys * (shape.channels + shape.width)
    ranked = sorted(found, key=lambda way: found[way])
    rates = [f"{way} {found[way]:.2f} ms ({flop / found[way] / 1e9:.0f} TFLOP/s)" for way in ranked]
    bench.report.info(f"{shape.count} objects: {', '.join(rates[:4])}")
    if bench.is_rehearsal or AS_THE_PACKAGE not in found:
        return
    tile = tile_for(torch.cuda.get_device_capability(), shape.count)
    taken = VALID_KEYS if tile is None else AS_THE_PACKAGE
    best = next(way for way in ranked if way == VALID_KEYS or way.startswith("kernel"))
    if (share := found[taken] / found[best]) > WORTH_A_CHANGE:
        text = f"attention_tiles.py should say {best}, {share:.2f} times as fast"
        bench.report.info(f"{shape.count} objects: {text}")


def _time_new_number_of_keys(bench: Bench) -> None:
    """Check that no plan is built for each number of keys, as cuDNN does."""
    inputs = Shape(1, num_keys=9999).tensors(bench.device, torch.bfloat16)
    first = bench.milliseconds(partial(attend, *inputs), 1, 0).thread
    bench.report.check(first < 100, f"a first call with a new number of keys takes {first:.0f} ms")
