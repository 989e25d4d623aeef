"""Functions that are recorded and replayed; on a CPU, by running them again on fixed tensors."""

import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sam_video.model.cuda_graphs import Tensors, recordings_made
from sam_video.model.recordings import BatchFunction, Recordings
from tests.replays import CpuRecorder

SIZES = (1, 2, 4)


class Function:
    """Twice a shared tensor, and its sum with each row of another; counts its calls."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, shared: Tensor, rows: Tensor) -> Tensors:
        self.sizes.append(len(rows))
        return 2 * rows, rows + shared


def recorded(function: Callable[..., Tensors]) -> tuple[BatchFunction, CpuRecorder]:
    recorder, batched = CpuRecorder(), BatchFunction(function, num_shared=1)
    batched.record(recorder, (torch.ones(1, 3), torch.arange(12.0).view(4, 3)), SIZES)
    return batched, recorder


def rows_of(count: int, first: float = 0.5) -> Tensor:
    return torch.arange(3.0 * count).view(count, 3) + first


@pytest.mark.parametrize("count", range(1, 12))
def test_a_batch_of_any_size_gives_what_the_function_gives(count: int) -> None:
    batched, recorder = recorded(Function())
    shared, rows = torch.full((1, 3), 7.0), rows_of(count)
    twice, total = batched(shared, rows)
    assert torch.equal(twice, 2 * rows)
    assert torch.equal(total, rows + 7)
    assert recorder.num_replays == len(SIZES) + -(-count // SIZES[-1])


@pytest.mark.parametrize(("count", "padded"), [(1, [1]), (3, [4]), (4, [4]), (6, [4, 2])])
def test_a_batch_is_padded_up_to_a_recorded_size_or_divided(count: int, padded: list[int]) -> None:
    function = Function()
    batched, _ = recorded(function)
    function.sizes.clear()
    batched(torch.ones(1, 3), rows_of(count))
    assert function.sizes == padded


def test_results_stay_when_the_function_is_replayed() -> None:
    batched, _ = recorded(Function())
    shared = torch.ones(1, 3)
    results = [batched(shared, rows_of(2, first)) for first in range(5)]
    for first, (twice, total) in enumerate(results):
        assert torch.equal(twice, 2 * rows_of(2, first))
        assert torch.equal(total, rows_of(2, first) + 1)


def test_nothing_is_recorded_after_set_up() -> None:
    batched, _ = recorded(Function())
    before = recordings_made()
    for count in (1, 2, 3, 4, 5, 3, 1):
        batched(torch.ones(1, 3), rows_of(count))
    assert recordings_made() == before


@pytest.mark.parametrize(
    ("shared", "rows"),
    [
        (torch.ones(1, 3, dtype=torch.float64), torch.ones(2, 3)),
        (torch.ones(1, 1), torch.ones(2, 3)),
        (torch.ones(1, 5), torch.ones(2, 5)),
    ],
    ids=["another type", "another shape that is shared", "another shape"],
)
def test_what_was_not_recorded_is_computed_by_the_function_itself(
    shared: Tensor, rows: Tensor
) -> None:
    batched, recorder = recorded(Function())
    twice, total = batched(shared, rows)
    assert torch.equal(twice, 2 * rows)
    assert torch.equal(total, rows + shared)
    assert recorder.num_replays == len(SIZES)


def test_a_function_without_recordings_is_called() -> None:
    function = Function()
    twice, _ = BatchFunction(function, num_shared=1)(torch.ones(1, 3), rows_of(3))
    assert torch.equal(twice, 2 * rows_of(3))
    assert function.sizes == [3]


def test_a_function_whose_recordings_are_taken_is_called() -> None:
    function = Function()
    batched, recorder = recorded(function)
    assert len(batched.take_recordings()) == len(SIZES)
    function.sizes.clear()
    for _ in range(2):
        twice, _ = batched(torch.ones(1, 3), rows_of(3))
        assert torch.equal(twice, 2 * rows_of(3))
    assert function.sizes == [3, 3]
    assert recorder.num_replays == len(SIZES)
    assert batched.take_recordings() == []


class WrongRecorder(CpuRecorder):
    """Replays nothing, after it has put something else in place."""

    def __call__(self, call: Callable[[], Tensors]) -> tuple[Tensors, Tensors, Callable[[], None]]:
        known, outputs, _ = super().__call__(call)
        return known, tuple(torch.full_like(one, self.number) for one in outputs), lambda: None

    number = 0.0


@pytest.mark.parametrize("number", [0.0, torch.nan])
def test_a_replay_that_gives_something_else_fails(number: float) -> None:
    recorder, recordings = WrongRecorder(), Recordings()
    recorder.number = number
    with pytest.raises(RuntimeError, match="a replay gives something else"):
        recordings.add(2, recorder, Function(), (torch.ones(1, 3), rows_of(2)))
    assert recordings.take() == []


def test_one_thread_waits_while_another_uses_the_same_tensors() -> None:
    inside, both_began = threading.Semaphore(1), threading.Barrier(2, timeout=60)

    def alone(shared: Tensor, rows: Tensor) -> Tensors:
        assert inside.acquire(blocking=False), "two replays at once"
        result = rows + shared
        threading.Event().wait(0.01)
        inside.release()
        return (result,)

    batched, _ = recorded(alone)
    results: dict[int, list[float]] = {}

    def call(number: int) -> None:
        both_began.wait()
        for _ in range(5):
            (total,) = batched(torch.ones(1, 3), torch.full((2, 3), float(number)))
            results[number] = total.unique().tolist()

    threads = [threading.Thread(target=call, args=[number]) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {1: [2.0], 2: [3.0]}
