"""Cases for the Triton kernels, run in a process of their own.

Triton decides when it is imported whether it compiles kernels or interprets them, so the process of
the tests must not import it. A GPU, where there is one, runs the compiled kernel.
"""

import os
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from subprocess import run
from tempfile import NamedTemporaryFile, TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from sam_video.model.attention_tiles import Tile, best_parts, tile_for

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a kernel takes on a GPU."""

    shared: int
    """Bytes of shared memory of a program."""
    registers: int
    """Of a thread."""
    spilt: int
    """Bytes of registers that a thread keeps in memory instead."""


@dataclass(frozen=True, slots=True)
class Case:
    """Arguments of `attend_fused`; the numbers are random."""

    tile: Tile
    num_parts: int = 3
    num_valid: tuple[int, ...] | None = None
    dtype: torch.dtype = torch.float32
    num_queries: int = 20
    num_keys: int = 333
    channels: int = 32
    width: int = 16
    count: int = 2
    scale: float = 1.0
    """Of the scores."""
    shares_queries: bool = False
    is_transposed: bool = False
    """Whether neighbours in memory are numbers of different tokens."""

    def inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Return queries, keys, values and the number of valid keys."""
        generator = torch.Generator().manual_seed(0)

        def numbers(count: int, length: int, width: int) -> Tensor:
            made = torch.randn(count, length, width, generator=generator).to(self.dtype)
            return made.mT.contiguous().mT if self.is_transposed else made

        count = 1 if self.shares_queries else self.count
        queries = numbers(count, self.num_queries, self.channels) * self.channels**-0.5
        keys = numbers(self.count, self.num_keys, self.channels) * self.scale
        values = numbers(self.count, self.num_keys, self.width)
        valid = None if self.num_valid is None else torch.tensor(self.num_valid, dtype=torch.int32)
        return queries.expand(self.count, -1, -1), keys, values, valid


def attend(
    case: Case, queries: Tensor, keys: Tensor, values: Tensor, num_valid: Tensor | None
) -> Tensor:
    """Run the kernel as a case says."""
    return _on_device(queries, keys, values, num_valid, tile=case.tile, num_parts=case.num_parts)


def _on_device(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    num_valid: Tensor | None,
    *,
    tile: Tile | None = None,
    num_parts: int | None = None,
) -> Tensor:
    from sam_video.model.fused_attention import attend_fused

    queries, keys, values = (tensor.to(DEVICE) for tensor in (queries, keys, values))
    num_valid = None if num_valid is None else num_valid.to(DEVICE)
    found = attend_fused(queries, keys, values, num_valid, tile=tile, num_parts=num_parts)
    return found.cpu()


def error(case: Case) -> float:
    """Return the largest difference from the formula, as a share of the largest number."""
    queries, keys, values, valid = case.inputs()
    scores = queries.double() @ keys.double().mT
    if valid is not None:
        is_valid = torch.arange(case.num_keys) < valid[:, None]
        scores = scores.masked_fill(~is_valid[:, None], -torch.inf)
    expected = scores.softmax(-1) @ values.double()
    found = attend(case, queries, keys, values, valid).double()
    assert found.isfinite().all()
    return float((found - expected).abs().max() / expected.abs().max())


def reads_invalid_keys(case: Case) -> bool:
    """Tell whether numbers of keys that do not count change a bit, or the length does."""
    queries, keys, values, valid = case.inputs()
    assert valid is not None
    end = int(valid.max())
    short = attend(case, queries, keys[:, :end], values[:, :end], valid)
    keys[:, end:], values[:, end:] = torch.nan, torch.nan
    return not torch.equal(attend(case, queries, keys, values, valid), short)


def differs_from_the_table(case: Case, capability: tuple[int, int], num_sms: int) -> bool:
    """Tell whether a GPU divides the work otherwise than the table and the formula say."""
    queries, keys, values, valid = case.inputs()
    tile = tile_for(capability, case.count)
    assert tile is not None
    num_blocks = case.count * -(-case.num_queries // tile.num_queries)
    num_parts = best_parts(num_blocks, case.num_keys, num_sms, tile)
    known = attend(replace(case, tile=tile, num_parts=num_parts), queries, keys, values, valid)
    properties = SimpleNamespace(multi_processor_count=num_sms)
    with (
        patch("torch.cuda.get_device_capability", return_value=capability),
        patch("torch.cuda.get_device_properties", return_value=properties),
    ):
        found = _on_device(queries, keys, values, valid)
    return not torch.equal(found, known)


def largest_without_keys(case: Case) -> float:
    """Return the largest number that objects without keys get."""
    return float(attend(case, *case.inputs()).abs().max())


def compiled(tile: Tile, channels: int, capability: tuple[int, int]) -> Compiled:
    """Compile the kernel for a GPU that need not be there."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from sam_video.model.fused_attention import _average_part as kernel

    names = kernel.arg_names
    blocks = {"BLOCK_QUERIES": tile.num_queries, "BLOCK_KEYS": tile.num_keys}
    constants = {"CHANNELS": channels, "WIDTH": 64, **blocks}
    types = dict.fromkeys(names, "i32") | dict.fromkeys(constants, "constexpr")
    types |= dict.fromkeys(("queries", "keys", "values"), "*bf16")
    types |= {"num_valid": "*i32", "averages": "*fp32", "weights": "*fp32"}
    aligned = ("queries", "keys", "values", "averages", "weights")
    source = ASTSource(
        fn=kernel,
        signature=types,
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={(names.index(name),): [["tt.divisibility", 16]] for name in aligned},
    )
    target = GPUTarget("cuda", 10 * capability[0] + capability[1], 32)
    options = {"num_warps": tile.num_warps, "num_stages": tile.num_stages}
    binary = triton.compile(source, target=target, options=options)
    return Compiled(binary.metadata.shared, *_registers(binary.asm["cubin"]))


def _registers(cubin: bytes) -> tuple[int, int]:
    """Return how many registers a thread takes, and how many bytes of them are spilt."""
    import triton.backends.nvidia

    program = Path(triton.backends.nvidia.__file__).parent / "bin" / "cuobjdump"
    with NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        report = run([program, "-res-usage", file.name], capture_output=True, text=True, check=True)
    found = re.search(r"REG:(\d+) STACK:(\d+) .*LOCAL:(\d+)", report.stdout + report.stderr)
    assert found, report
    registers, *spilt = map(int, found.groups())
    return registers, sum(spilt)


@contextmanager
def kernel_process(*, interprets: bool) -> Iterator[ProcessPoolExecutor]:
    """Start a process that may import Triton, and end it with all that it has compiled.

    Args:
        interprets: Whether Triton interprets kernels there. It never does where there is a GPU.
    """
    is_interpreted = interprets and DEVICE == "cpu"
    context = get_context("spawn")
    with (
        TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, context, _prepare, (is_interpreted, folder)) as process,
    ):
        yield process


def _prepare(is_interpreted: bool, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ["TRITON_CACHE_DIR"] = folder
    if not is_interpreted:
        os.environ.pop("TRITON_INTERPRET", None)
        return
    os.environ["TRITON_INTERPRET"] = "1"
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder

    multiply = InterpreterBuilder.create_dot

    def widened(builder: Any, operand: Any) -> Any:
        is_narrow = operand.dtype.scalar == tl.bfloat16
        return builder.create_fp_ext(operand, tl.float32) if is_narrow else operand

    def multiply_widened(builder: Any, a: Any, b: Any, *others: Any) -> Any:
        """Multiply bfloat16, whose bits the interpreter would multiply as integers."""
        return multiply(builder, widened(builder, a), widened(builder, b), *others)

    InterpreterBuilder.create_dot = multiply_widened
