"""Work beside the current stream of a GPU, whose streams and events are imitated."""

from typing import Any

import pytest
import torch

from sam_video.model.cuda_graphs import Tensors
from sam_video.model.side_stream import SideStream


class FakeStream:
    """A stream that writes down what is done with it."""

    def __init__(self, steps: list[str], name: str) -> None:
        self.name, self._steps = name, steps

    def wait_event(self, event: "FakeEvent") -> None:
        self._steps.append(f"{self.name} waits for {event.recorded_on}")


class FakeEvent:
    """An event that knows its stream."""

    recorded_on = "nothing"

    def record(self, stream: FakeStream) -> None:
        self.recorded_on = stream.name


class FakeTensor:
    """A tensor that knows the streams that use it."""

    def __init__(self) -> None:
        self.used_by: list[str] = []

    def record_stream(self, stream: FakeStream) -> None:
        self.used_by.append(stream.name)


class FakeGpu:
    """The streams of a GPU."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[str] = []
        self.current = FakeStream(self.steps, "the tracker")
        monkeypatch.setattr(torch.cuda, "Stream", lambda _: FakeStream(self.steps, "the encoder"))
        monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: self.current)
        monkeypatch.setattr(torch.cuda, "set_stream", self._set_stream)

    def _set_stream(self, stream: FakeStream) -> None:
        self.current = stream


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    return FakeGpu(monkeypatch)


def test_work_runs_on_the_side_stream_and_its_results_are_waited_for(gpu: FakeGpu) -> None:
    tensors = FakeTensor(), FakeTensor()

    def work() -> Any:
        gpu.steps.append(f"work on the stream of {gpu.current.name}")
        return tensors

    results, ready = SideStream(torch.device("cpu")).run(work)
    assert gpu.current.name == "the tracker"
    ready.wait(results)
    assert gpu.steps == ["work on the stream of the encoder", "the tracker waits for the encoder"]
    assert [tensor.used_by for tensor in tensors] == [["the tracker"]] * 2, "or it were used again"


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory."), KeyboardInterrupt()]
)
def test_an_error_or_a_cancellation_leaves_the_side_stream(
    gpu: FakeGpu, error: BaseException
) -> None:
    def work() -> Tensors:
        raise error

    with pytest.raises(type(error)):
        SideStream(torch.device("cpu")).run(work)
    assert gpu.current.name == "the tracker"
