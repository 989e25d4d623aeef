"""Results that come from a GPU in one copy; without a GPU, its events and memory are imitated."""

from typing import Any

import numpy as np
import pytest
import torch

from sam_video.model.interface import Results
from sam_video.model.results import CopiedResults, ResultTensors, unpack


def random_results(count: int, height: int, width: int, *, with_confidences: bool) -> ResultTensors:
    generator = torch.Generator().manual_seed(count * width)
    shape = count, height, width
    return ResultTensors(
        torch.rand(shape, generator=generator) > 0.5,
        torch.rand(count, generator=generator),
        torch.rand(count, generator=generator),
        torch.randint(256, shape, generator=generator, dtype=torch.uint8)
        if with_confidences
        else None,
    )


def assert_same(found: Results, known: Results) -> None:
    assert found.masks.dtype == bool
    assert np.array_equal(found.masks, known.masks)
    assert (found.scores, found.ious) == (known.scores, known.ious)
    assert (found.confidences is None) == (known.confidences is None)
    if found.confidences is not None:
        assert known.confidences is not None
        assert np.array_equal(found.confidences, known.confidences)


@pytest.mark.parametrize("with_confidences", [False, True])
@pytest.mark.parametrize(
    ("count", "height", "width"), [(1, 1, 1), (2, 3, 8), (5, 7, 33), (3, 2, 4)]
)
def test_results_pass_one_buffer_to_the_bit(
    count: int, height: int, width: int, *, with_confidences: bool
) -> None:
    tensors = random_results(count, height, width, with_confidences=with_confidences)
    packed = tensors.pack()
    row_bytes = 8 + height * -(-width // 8) + with_confidences * height * width
    assert (packed.dtype, packed.shape) == (torch.uint8, (count, row_bytes))
    assert_same(unpack(packed.numpy(), (height, width)), tensors.result())


class FakeEvent:
    """An event of a GPU that tells what happened to it."""

    def __init__(self, steps: list[str], *, blocking: bool) -> None:
        assert blocking, "a thread that waits leaves its core to others"
        self._steps = steps

    def record(self) -> None:
        self._steps.append("the copy began")

    def synchronize(self) -> None:
        self._steps.append("awaited")


def test_results_are_awaited_when_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    empty = torch.empty

    def pinned(*shape: Any, pin_memory: bool, **options: Any) -> torch.Tensor:
        assert pin_memory
        return empty(*shape, **options)

    monkeypatch.setattr(torch.cuda, "Event", lambda **how: FakeEvent(steps, **how))
    monkeypatch.setattr(torch, "empty", pinned)
    tensors = random_results(3, 5, 9, with_confidences=True)
    pending = CopiedResults(tensors)
    assert steps == ["the copy began"]
    assert_same(pending.result(), tensors.result())
    assert steps == ["the copy began", "awaited"]
