"""Which attention is taken: a special one, as long as it is right."""

import pytest
import torch
from torch import Tensor

from sam_video.model.attention import (
    Attention,
    attend,
    checked,
    fastest_attention,
    random_trials,
)

TRIALS = list(random_trials([1, 3], (8, 4, 2), dtype=torch.float32, device=torch.device("cpu")))


def right(
    queries: Tensor, keys: Tensor, values: Tensor, num_valid: Tensor | None = None, /
) -> Tensor:
    return attend(queries, keys, values, num_valid) * 1.001


def wrong(
    queries: Tensor, keys: Tensor, values: Tensor, num_valid: Tensor | None = None, /
) -> Tensor:
    return attend(queries, keys, values, num_valid) * 1.1


def without_the_last_keys(
    queries: Tensor, keys: Tensor, values: Tensor, num_valid: Tensor | None = None, /
) -> Tensor:
    end = keys.shape[1] // 16 * 16
    return attend(queries, keys[:, :end], values[:, :end], num_valid)


def with_all_keys(
    queries: Tensor, keys: Tensor, values: Tensor, _: Tensor | None = None, /
) -> Tensor:
    return attend(queries, keys, values)


def failing(
    queries: Tensor, keys: Tensor, values: Tensor, num_valid: Tensor | None = None, /
) -> Tensor:
    raise RuntimeError("out of resource: shared memory")


@pytest.mark.parametrize(
    ("candidate", "is_taken"),
    [
        (right, True),
        (wrong, False),
        (without_the_last_keys, False),
        (with_all_keys, False),
        (failing, False),
    ],
)
def test_a_special_attention_is_taken_if_it_is_right(candidate: Attention, is_taken: bool) -> None:
    assert checked(candidate, attend, TRIALS) is (candidate if is_taken else attend)


def test_trials_are_the_same_at_each_start() -> None:
    again = random_trials([1, 3], (8, 4, 2), dtype=torch.float32, device=torch.device("cpu"))
    for one, other in zip(TRIALS, again, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one[:3], other[:3], strict=True))


def test_a_cpu_keeps_to_its_own() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        chosen = fastest_attention(16, 32, 8, dtype=dtype, device=torch.device("cpu"))
        assert chosen is attend
