"""Which attention is taken: a faster one, as long as it is right."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sam_video.model.attention import Attention, attend, faster, fastest_attention

TRIALS = [tuple(torch.randn(count, 8, 4) for _ in range(3)) for count in (1, 3)]


def right(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return attend(queries, keys, values) * 1.001


def wrong(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return attend(queries, keys, values) * 1.1


def failing(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    raise RuntimeError("out of resource: shared memory")


def timed(candidate: Attention, seconds: float) -> Callable[[Callable[[], object]], float]:
    """Say that the candidate takes `seconds`, and anything else one second."""

    def measure(call: Callable[[], object]) -> float:
        return seconds if getattr(call, "func", None) is candidate else 1.0

    return measure


@pytest.mark.parametrize(
    ("candidate", "seconds", "is_taken"),
    [
        (right, 0.5, True),
        (right, 0.95, False),
        (right, 2.0, False),
        (wrong, 0.5, False),
        (failing, 0.5, False),
    ],
)
def test_a_faster_attention_is_taken_if_it_is_right(
    candidate: Attention, seconds: float, is_taken: bool
) -> None:
    taken = faster(candidate, attend, TRIALS, timed(candidate, seconds))
    assert taken is (candidate if is_taken else attend)


def test_a_cpu_keeps_to_its_own() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        chosen = fastest_attention(16, 32, 8, dtype=dtype, device=torch.device("cpu"))
        assert chosen is attend
