"""How calls are recorded as CUDA graphs; without a GPU, PyTorch's part of it is imitated."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import pytest
import torch
from torch import Tensor

from sam_video.model import cuda_graphs
from sam_video.model.cuda_graphs import (
    CudaRecorder,
    Tensors,
    free_cached_memory,
    is_recording_off,
    record_all,
    recordings_made,
)
from sam_video.model.recordings import BatchFunction
from sam_video.workers.threads import Worker

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(autouse=True)
def process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every test begin as a process does."""
    monkeypatch.setattr(cuda_graphs, "_process", cuda_graphs._Process())


class FakeStream:
    """A stream that keeps a record of what happens to it."""

    device, device_index = torch.device("cpu"), 0

    def __init__(self, name: str) -> None:
        self.name = name
        self.waited_for: list[str] = []

    def wait_stream(self, other: "FakeStream") -> None:
        self.waited_for.append(other.name)


class FakeGraph:
    """A graph; tells whether it captures."""

    is_capturing = False

    def replay(self) -> None:
        pass


class FakeCuda:
    """PyTorch's streams and captures, with what its `torch.cuda.graph` does where a capture fails.

    It sets its stream, and where the capture ends with an error, it neither leaves that nor tells
    the allocator.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.default, self.own = FakeStream("default"), FakeStream("own")
        self.streams = threading.local()
        self.allocating: list[object] = []
        self.num_captures = 0
        self.is_broken = False
        cuda = self

        class Capture:
            def __init__(
                self, graph: FakeGraph, pool: object, stream: FakeStream, **_: str
            ) -> None:
                self.graph, self.pool, self.stream = graph, pool, stream

            def __enter__(self) -> None:
                self.before = cuda.stream()
                cuda.set_stream(self.stream)
                cuda.allocating.append(self.pool)
                self.graph.is_capturing = True
                cuda.num_captures += 1

            def __exit__(
                self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
            ) -> None:
                if cuda.is_broken:
                    raise RuntimeError("CUDA error: operation failed\ncaptures are over")
                self.graph.is_capturing = False
                cuda.allocating.remove(self.pool)
                cuda.set_stream(self.before)

        monkeypatch.setattr(torch.cuda, "current_stream", self.stream)
        monkeypatch.setattr(torch.cuda, "set_stream", self.set_stream)
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", object)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
        monkeypatch.setattr(torch.cuda, "graph", Capture)
        monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", self.end, raising=False)

    def stream(self) -> FakeStream:
        return getattr(self.streams, "current", self.default)

    def set_stream(self, stream: FakeStream) -> None:
        self.streams.current = stream

    def end(self, device: int, pool: object) -> None:
        assert device == 0
        if pool not in self.allocating:
            raise RuntimeError("endAllocatePool: not currently recording to mempool_id")
        self.allocating.remove(pool)

    def recorder(self) -> CudaRecorder:
        return CudaRecorder(self.own)  # type: ignore[arg-type]


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    return FakeCuda(monkeypatch)


def test_a_call_runs_once_and_is_captured_once_on_a_stream_of_its_own(cuda: FakeCuda) -> None:
    streams: list[str] = []

    def call() -> Tensors:
        streams.append(cuda.stream().name)
        return (torch.ones(len(streams)),)

    known, outputs, _ = cuda.recorder()(call)
    assert [len(one) for one in (*known, *outputs)] == [1, 2]
    assert streams == ["own", "own"]
    assert cuda.stream() is cuda.default
    assert cuda.own.waited_for == ["default"]
    assert cuda.default.waited_for == ["own"], "the results are there for what comes next"


def raising(error: Exception) -> Callable[[], Tensors]:
    """Return a call that works once, and raises an error while it is captured."""
    num_calls = []

    def call() -> Tensors:
        num_calls.append(1)
        if len(num_calls) > 1:
            raise error
        return (torch.ones(2),)

    return call


@pytest.mark.parametrize("is_broken", [False, True], ids=["ends well", "ends with an error"])
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("operation not permitted when stream is capturing"),
    ],
    ids=["memory", "a call that is not permitted"],
)
def test_a_capture_that_fails_leaves_its_stream_and_the_allocator_in_order(
    cuda: FakeCuda, error: Exception, *, is_broken: bool
) -> None:
    cuda.is_broken = is_broken
    with pytest.raises(RuntimeError):
        cuda.recorder()(raising(error))
    assert cuda.stream() is cuda.default
    assert cuda.allocating == []
    (graph,) = cuda_graphs._process.failed_graphs  # which the pinned memory's allocator asks
    assert isinstance(graph, FakeGraph)
    assert graph.is_capturing is is_broken


def test_a_call_that_fails_before_it_is_captured_leaves_the_stream(cuda: FakeCuda) -> None:
    def call() -> Tensors:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.OutOfMemoryError):
        cuda.recorder()(call)
    assert cuda.stream() is cuda.default
    assert cuda.num_captures == 0


def test_any_failure_ends_recording_in_this_process_and_is_said_once(
    cuda: FakeCuda, caplog: pytest.LogCaptureFixture
) -> None:
    cuda.is_broken = True
    batched = BatchFunction(lambda rows: (rows + 1,), num_shared=0)
    steps = [lambda: batched.record(cuda.recorder(), (torch.ones(2, 3),), (1, 2))]
    with caplog.at_level(logging.WARNING):
        assert not record_all(steps)
        assert not record_all(steps)
    assert is_recording_off()
    assert cuda.num_captures == 1
    assert caplog.messages == [
        "work on the GPU cannot be recorded (CUDA error: operation failed); tracking is slower"
    ]
    assert torch.equal(batched(torch.ones(2, 3))[0], torch.full((2, 3), 2.0))


def test_one_thread_records_at_a_time() -> None:
    inside = threading.Semaphore(1)

    def step() -> None:
        assert inside.acquire(blocking=False), "two at once"
        time.sleep(0.02)
        inside.release()

    threads = [threading.Thread(target=record_all, args=[[step] * 3]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not is_recording_off()


def test_a_cancellation_does_not_interrupt_a_capture() -> None:
    began, may_end = threading.Event(), threading.Event()
    steps_taken: list[str] = []

    def step() -> None:
        began.set()
        assert may_end.wait(60)
        steps_taken.append("to its end")

    def record() -> None:
        record_all([step])

    canceller = Worker(record, lambda _: None)
    canceller.start()
    assert began.wait(60)
    threading.Timer(0.3, may_end.set).start()
    canceller.stop()
    assert steps_taken == ["to its end"]


@pytest.fixture
def recorder_on_gpu() -> Iterator[CudaRecorder]:
    yield CudaRecorder(torch.cuda.Stream())


@needs_gpu
def test_a_gpu_replays_what_a_function_did(recorder_on_gpu: CudaRecorder) -> None:
    def compute(shared: Tensor, rows: Tensor) -> Tensors:
        return torch.softmax(rows @ shared[0], dim=-1), rows.relu()

    batched = BatchFunction(compute, num_shared=1)
    inputs = torch.randn(1, 32, 16, device="cuda"), torch.randn(4, 64, 32, device="cuda")
    assert record_all([lambda: batched.record(recorder_on_gpu, inputs, (1, 2, 4))])
    assert recordings_made() == 3
    for count in (1, 2, 3, 4, 7):
        one, other = torch.randn_like(inputs[0]), torch.randn(count, 64, 32, device="cuda")
        for found, known in zip(batched(one, other), compute(one, other), strict=True):
            torch.testing.assert_close(found, known)


@needs_gpu
def test_a_gpu_works_on_after_a_capture_that_failed(recorder_on_gpu: CudaRecorder) -> None:
    numbers = torch.ones(1000, device="cuda")

    def compute() -> Tensors:
        return (numbers * float(numbers.sum()),)  # a wait, which no capture permits

    before: Any = torch.cuda.current_stream()
    assert not record_all([lambda: recorder_on_gpu(compute) and None])
    assert torch.cuda.current_stream() == before
    torch.cuda.empty_cache()
    assert compute()[0].unique().tolist() == [1000.0]


def test_cached_memory_is_freed_but_not_while_a_call_is_captured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append("emptied"))
    assert record_all([free_cached_memory, lambda: calls.append("captured")])
    assert calls == ["captured"]
    free_cached_memory()
    assert calls == ["captured", "emptied"]
