"""Cases for the Triton kernels, run in a process of their own.

Triton decides when it is imported whether it compiles kernels or interprets them, so the process of
the tests must not import it. A GPU, where there is one, runs the compiled kernel.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import torch
from torch import Tensor

from sam_video.model.attention_tiles import Tile

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True, slots=True)
class Case:
    """Arguments of `attend_fused`; the numbers are random."""

    tile: Tile
    num_parts: int = 3
    num_valid: tuple[int, ...] | None = None
    dtype: torch.dtype = torch.float32
    num_queries: int = 40
    num_keys: int = 333
    channels: int = 32
    width: int = 16
    count: int = 2
    scale: float = 1.0
    """Of the scores."""
    shares_queries: bool = False

    def inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Return queries, keys, values and the number of valid keys."""
        generator = torch.Generator().manual_seed(0)

        def numbers(count: int, length: int, width: int) -> Tensor:
            return torch.randn(count, length, width, generator=generator).to(self.dtype)

        count = 1 if self.shares_queries else self.count
        queries = numbers(count, self.num_queries, self.channels) * self.channels**-0.5
        keys = numbers(self.count, self.num_keys, self.channels) * self.scale
        values = numbers(self.count, self.num_keys, self.width)
        valid = None if self.num_valid is None else torch.tensor(self.num_valid, dtype=torch.int32)
        return queries.expand(self.count, -1, -1), keys, values, valid


def attend(case: Case, *inputs: Tensor | None) -> Tensor:
    """Run the kernel."""
    from sam_video.model.fused_attention import attend_fused

    queries, keys, values, valid = (None if one is None else one.to(DEVICE) for one in inputs)
    assert queries is not None and keys is not None and values is not None
    found = attend_fused(queries, keys, values, valid, tile=case.tile, num_parts=case.num_parts)
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


def largest_without_keys(case: Case) -> float:
    """Return the largest number that objects without keys get."""
    return float(attend(case, *case.inputs()).abs().max())


def compiled(tile: Tile, channels: int, capability: tuple[int, int]) -> dict[str, int]:
    """Compile the kernel for a GPU that need not be there; return what it takes, in bytes."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from sam_video.model.fused_attention import _average_part as kernel

    names = kernel.arg_names
    constants = {
        "CHANNELS": channels,
        "WIDTH": 64,
        "BLOCK_QUERIES": tile.num_queries,
        "BLOCK_KEYS": tile.num_keys,
    }
    types = dict.fromkeys(names, "i32") | dict.fromkeys(constants, "constexpr")
    types |= dict.fromkeys(("queries", "keys", "values"), "*bf16")
    types |= {"num_valid": "*i32", "averages": "*fp32", "weights": "*fp32"}
    source = ASTSource(
        fn=kernel,
        signature=types,
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={
            (names.index(name),): [["tt.divisibility", 16]]
            for name, kind in types.items()
            if kind.startswith("*")
        },
    )
    major, minor = capability
    options = {"num_warps": tile.num_warps, "num_stages": tile.num_stages}
    target = GPUTarget("cuda", 10 * major + minor, 32)
    return {"shared": triton.compile(source, target=target, options=options).metadata.shared}


@contextmanager
def kernel_process(*, interprets: bool) -> Iterator[ProcessPoolExecutor]:
    """Start a process that may import Triton, and end it.

    Args:
        interprets: Whether Triton interprets kernels there. It never does where there is a GPU.
    """
    is_interpreted = interprets and DEVICE == "cpu"
    context = get_context("spawn")
    with ProcessPoolExecutor(1, context, _prepare, (is_interpreted,)) as process:
        yield process


def _prepare(is_interpreted: bool) -> None:
    torch.set_num_threads(1)
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
