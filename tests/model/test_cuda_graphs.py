"""Functions that are recorded and replayed; on a CPU, by running them again on fixed tensors."""

import logging
import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sam_video.model.cuda_graphs import (
    MAX_RECORDINGS,
    RECORD_AFTER,
    GraphCached,
    Tensors,
    record_cuda_graph,
)


class Function:
    """Twice and the sum of two tensors; counts its calls."""

    def __init__(self) -> None:
        self.num_calls = 0

    def __call__(self, one: Tensor, other: Tensor) -> Tensors:
        self.num_calls += 1
        return 2 * one, one + other


def record_on_cpu(call: Callable[[], Tensors]) -> tuple[Tensors, Callable[[], None]]:
    """Have the results computed anew in place, as a graph does."""
    outputs = call()

    def replay() -> None:
        for place, value in zip(outputs, call(), strict=True):
            place.copy_(value)

    return outputs, replay


def check(function: GraphCached, *shape: int, times: int = RECORD_AFTER + 3) -> list[Tensors]:
    """Call with other numbers every time, and compare; return all results, which must stay."""
    results = []
    for number in range(times):
        one, other = torch.full(shape, number + 1.0), torch.full(shape, 10.0)
        results.append(function(one, other))
    for number, (twice, total) in enumerate(results):
        assert torch.equal(twice, torch.full(shape, 2 * (number + 1.0)))
        assert torch.equal(total, torch.full(shape, number + 11.0))
    return results


def test_results_are_the_function_s_and_stay_when_it_is_replayed() -> None:
    check(GraphCached(Function(), record_on_cpu), 3, 4)


def test_every_shape_has_a_recording_of_its_own() -> None:
    replayed = GraphCached(Function(), record_on_cpu)
    for size in (2, 3, 2, 3):
        check(replayed, size, 5)
    assert len(replayed._recordings) == 2


def test_shapes_that_come_rarely_are_not_recorded() -> None:
    replayed = GraphCached(Function(), record_on_cpu)
    for size in range(1, 20):
        check(replayed, size, times=RECORD_AFTER - 1)
    assert not replayed._recordings


def test_the_least_used_recording_makes_place() -> None:
    replayed = GraphCached(Function(), record_on_cpu)
    for size in range(1, MAX_RECORDINGS + 4):
        check(replayed, size)
        check(replayed, 1, times=1)
    assert len(replayed._recordings) == MAX_RECORDINGS
    kept = [shape[0][0][0] for shape in replayed._recordings]  # type: ignore[index]
    assert 1 in kept
    assert 2 not in kept


def test_without_a_recorder_the_function_is_called() -> None:
    function = Function()
    check(GraphCached(function, None), 4, times=7)
    assert function.num_calls == 7


def test_a_recording_that_fails_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    def record(call: Callable[[], Tensors]) -> tuple[Tensors, Callable[[], None]]:
        raise RuntimeError("operation not permitted when stream is capturing")

    with caplog.at_level(logging.WARNING):
        check(GraphCached(Function(), record), 4, times=9)
    assert caplog.messages == [
        "work on the GPU cannot be recorded (operation not permitted when stream is capturing);"
        " tracking is slower"
    ]


def test_a_recording_that_gives_something_else_is_given_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def record(call: Callable[[], Tensors]) -> tuple[Tensors, Callable[[], None]]:
        return tuple(torch.zeros_like(value) for value in call()), lambda: None

    with caplog.at_level(logging.WARNING):
        check(GraphCached(Function(), record), 4, times=9)
    assert caplog.messages == [
        "work on the GPU, replayed, gives something else; tracking is slower"
    ]


def test_a_second_thread_calls_the_function_itself() -> None:
    meeting = threading.Barrier(2, timeout=60)

    def meet(value: Tensor) -> Tensors:
        meeting.wait()  # would be broken if the second call waited for the first
        return (value + 1,)

    replayed = GraphCached(meet, record_on_cpu)
    results: list[Tensors] = []
    threads = [
        threading.Thread(target=lambda: results.append(replayed(torch.zeros(2)))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.tolist() for (result,) in results] == [[1, 1]] * 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_replays_what_a_function_did() -> None:
    def compute(one: Tensor, other: Tensor) -> Tensors:
        return torch.softmax(one @ other, dim=-1), one.relu()

    replayed = GraphCached(compute, record_cuda_graph)
    for seed in range(RECORD_AFTER + 3):
        torch.manual_seed(seed)
        one, other = torch.randn(64, 32, device="cuda"), torch.randn(32, 16, device="cuda")
        expected = compute(one, other)
        for found, known in zip(replayed(one, other), expected, strict=True):
            torch.testing.assert_close(found, known)
    assert len(replayed._recordings) == 1
