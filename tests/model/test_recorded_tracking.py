"""Whole clips with recorded work; on a CPU, a recording is what is computed anew in place."""

import gc
import logging
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sam_video.model import cuda_graphs, sam2
from sam_video.model.batch_attention import BatchAttention
from sam_video.model.cuda_graphs import Tensors, recordings_made
from sam_video.model.interface import ImageFeatures, MemoryBatch, Model, Prediction
from sam_video.model.load import build_network, load_weights
from sam_video.model.pixels import pack_masks
from sam_video.model.recordings import size_for
from sam_video.model.results import ResultTensors
from sam_video.model.sam2 import SegmentationModel
from sam_video.model.tracked_work import BATCH_SIZES
from sam_video.service.session import Session
from sam_video.tracking.tracker import MAX_BATCH, Tracker
from sam_video.types import Click, MaskFrame, ObjectPrompt
from sam_video.video.frame_list import FrameList
from tests.clips import draw_frame
from tests.replays import CpuRecorder

WEIGHTS = Path(__file__).parents[2] / "weights" / "pocket.safetensors"
SIZE, SIDE = 128, 8
BANK_BYTES = (7 * SIDE**2 + 16 * 2) * (2 * 128 + 64) * 4
"""Keys and values of one object of `pocket` in float32, in an image of `SIZE` pixels."""
PLACES = ((12, 19), (75, 40), (40, 50), (20, 55), (60, 10), (90, 60))
EMPTY_PROCESS = cuda_graphs._Process


@pytest.fixture(autouse=True)
def process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every test begin as a process does."""
    monkeypatch.setattr(cuda_graphs, "_process", EMPTY_PROCESS())


@pytest.fixture(scope="module", autouse=True)
def one_core() -> Iterator[None]:
    """Track all objects in one thread, as on a GPU."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small_pocket(recorder: CpuRecorder | None = None, **options: int) -> SegmentationModel:
    network = build_network("pocket", image_size=SIZE)
    load_weights(network, WEIGHTS)
    return SegmentationModel(
        network,
        device=torch.device("cpu"),
        dtype=torch.float32,
        recorder=recorder,
        **options,
    )


def recorded_pocket(most: int = MAX_BATCH, **options: int) -> SegmentationModel:
    """Return a model that is recorded for up to `most` objects."""
    return small_pocket(CpuRecorder(most * BANK_BYTES), **options)


def eager_pocket() -> SegmentationModel:
    """Return a model that records nothing.

    Its mask decoder computes batches of the recorded sizes too. Sums over few tokens are rounded
    otherwise in a batch of another size, with recordings or without; nothing else is.
    """
    model = small_pocket()
    decode = model._work.decode._function

    def decode_padded(stride4: Tensor, stride8: Tensor, informed: Tensor) -> Tensors:
        count = len(informed)
        padding = informed[:1].expand(size_for(count, BATCH_SIZES) - count, -1, -1, -1)
        results = decode(stride4, stride8, torch.cat([informed, padding]))
        return tuple(result[:count] for result in results)

    model._work.decode._function = decode_padded
    return model


def tracked(
    model: SegmentationModel, prompts: Sequence[ObjectPrompt], num_frames: int
) -> list[MaskFrame]:
    frames = FrameList([draw_frame(index)[0] for index in range(num_frames)])
    with Tracker(model, frames, prompts, with_confidences=True) as tracker:
        tracker.condition()
        list(tracker.backward())
        return list(tracker.forward())


def assert_equal(frames: list[MaskFrame], expected: list[MaskFrame]) -> None:
    """Compare masks, scores and confidences to the bit."""
    for found, known in zip(frames, expected, strict=True):
        for one, other in zip(found.objects, known.objects, strict=True):
            assert one.object_id == other.object_id
            assert (one.object_score, one.predicted_iou) == (
                other.object_score,
                other.predicted_iou,
            )
            assert np.array_equal(one.mask, other.mask)
            assert one.confidence is not None
            assert other.confidence is not None
            assert np.array_equal(one.confidence, other.confidence)


def click(number: int, frame_index: int = 0) -> ObjectPrompt:
    x, y = PLACES[number % len(PLACES)]
    return ObjectPrompt(f"object {number}", frame_index, (Click(x, y),))


CLIPS: dict[str, tuple[list[ObjectPrompt], int]] = {
    "one object": ([click(0)], 20),
    "objects that enter on frames 0, 30 and 60": ([click(0), click(1, 30), click(2, 60)], 62),
    "objects with one to six prompted frames": (
        [click(number, 2 * time) for number in range(6) for time in range(number + 1)],
        16,
    ),
    "more prompted frames than a recording has room for": (
        [click(0, time) for time in range(36)],
        38,
    ),
    "ten objects": ([click(number) for number in range(10)], 4),
    "more objects than a batch": ([click(number) for number in range(19)], 3),
    "a correction": (
        [click(0), click(1), ObjectPrompt("object 1", 3, (Click(20, 20, 0),))],
        6,
    ),
}


@pytest.fixture(scope="module")
def model() -> SegmentationModel:
    return recorded_pocket()


@pytest.fixture(scope="module")
def eager_model() -> SegmentationModel:
    return eager_pocket()


@pytest.mark.parametrize(("prompts", "num_frames"), CLIPS.values(), ids=CLIPS.keys())
def test_masks_are_the_same_to_the_bit_and_nothing_is_recorded_while_tracking(
    model: SegmentationModel,
    eager_model: SegmentationModel,
    prompts: list[ObjectPrompt],
    num_frames: int,
) -> None:
    before = recordings_made()
    found = tracked(model, prompts, num_frames)
    assert recordings_made() == before
    assert_equal(found, tracked(eager_model, prompts, num_frames))


@pytest.mark.parametrize("most", [0, 1, 3])
def test_masks_are_the_same_where_memory_suffices_for_few_recordings(
    eager_model: SegmentationModel, most: int
) -> None:
    prompts = [click(number) for number in range(5)]
    for key_bytes in (0, 1 << 30):
        model = recorded_pocket(most, key_bytes=key_bytes)
        assert_close(tracked(model, prompts, 4), tracked(eager_model, prompts, 4))


def assert_close(frames: list[MaskFrame], expected: list[MaskFrame]) -> None:
    """Compare masks up to rounding."""
    for found, known in zip(frames, expected, strict=True):
        for one, other in zip(found.objects, known.objects, strict=True):
            assert (one.mask != other.mask).mean() < 0.001
            assert abs(one.object_score - other.object_score) < 1e-4


def test_a_tracked_frame_of_one_object_is_four_replays() -> None:
    recorder = CpuRecorder(MAX_BATCH * BANK_BYTES)
    model = small_pocket(recorder)
    before, prompt = recorder.num_replays, click(0)
    tracked(model, [prompt], 1)
    conditioned = recorder.num_replays
    tracked(model, [prompt], 6)
    assert recorder.num_replays - conditioned == conditioned - before + 5 * 4


def test_freed_recordings_make_no_difference(
    eager_model: SegmentationModel, caplog: pytest.LogCaptureFixture
) -> None:
    model, prompts = recorded_pocket(), [click(number) for number in range(3)]
    assert model.free_recordings()
    assert not model.free_recordings()
    before = recordings_made()
    assert_close(tracked(model, prompts, 6), tracked(eager_model, prompts, 6))
    assert recordings_made() == before
    assert caplog.messages == []


class FullMemory:
    """A verb that runs out of memory as long as recordings take some of it."""

    def __init__(self, model: SegmentationModel, verb: str) -> None:
        self.num_refused = 0
        self._whole = getattr(model, verb)
        self._model = model

    def __call__(self, *arguments: object, **options: object) -> object:
        if self._model._work.attend._recordings._by_shape:
            self.num_refused += 1
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return self._whole(*arguments, **options)


@pytest.mark.parametrize("num_objects", [1, 4])
@pytest.mark.parametrize("verb", ["with_memory", "encode_memory", "results_of"])
def test_recordings_are_freed_before_batches_are_made_smaller(
    verb: str, num_objects: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = recorded_pocket(4)
    full = FullMemory(model, verb)
    monkeypatch.setattr(model, verb, full)
    frames = FrameList([draw_frame(index)[0] for index in range(3)])
    with Tracker(model, frames, [click(number) for number in range(num_objects)]) as tracker:
        tracker.condition()
        assert len(list(tracker.forward())) == 3
        assert tracker._batches.size == MAX_BATCH
    assert full.num_refused == 1
    assert caplog.messages == [
        "the GPU's memory does not suffice for recorded work; it is freed, and tracking is slower"
    ]


class FailingRecorder(CpuRecorder):
    """Fails after some calls."""

    def __init__(self, num_calls: int, error: Exception) -> None:
        super().__init__(MAX_BATCH * BANK_BYTES)
        self._num_calls, self._error = num_calls, error

    def __call__(self, call: Callable[[], Tensors]) -> tuple[Tensors, Tensors, Callable[[], None]]:
        self._num_calls -= 1
        if self._num_calls < 0:
            raise self._error
        return super().__call__(call)


@pytest.mark.parametrize("num_calls", [0, 1, 27])
def test_a_recording_that_fails_frees_all_and_changes_no_mask(
    eager_model: SegmentationModel, num_calls: int, caplog: pytest.LogCaptureFixture
) -> None:
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\na lot")
    with caplog.at_level(logging.WARNING):
        model = small_pocket(FailingRecorder(num_calls, error))
        other = recorded_pocket()
    assert not model.free_recordings(), "all are freed already"
    assert not other.free_recordings(), "this process records no more"
    assert caplog.messages == [
        "work on the GPU cannot be recorded (CUDA out of memory. Tried to allocate); tracking is"
        " slower"
    ]
    prompts = [click(number) for number in range(3)]
    assert_close(tracked(model, prompts, 4), tracked(eager_model, prompts, 4))


def test_rows_that_pad_a_batch_change_no_result_of_the_decoder_to_the_bit(
    model: SegmentationModel,
) -> None:
    (image,) = model.encode_images([draw_frame(0)[0]])
    generator = torch.Generator().manual_seed(2)
    rows = torch.randn(4, *image.features.shape[1:], generator=generator)
    known = model.track(image, rows)
    for fourth in (torch.zeros_like(rows[:1]), rows[:1], 1e3 * rows[1:2]):
        model.track(image, torch.cat([rows[:3], fourth]))
        found = model.track(image, rows[:3])  # the fourth row is still in place
        for name in Prediction.__slots__:
            assert torch.equal(getattr(found, name), getattr(known, name)[:3])


@pytest.mark.parametrize("stale", [0.0, 1e30, torch.nan, torch.inf])
@torch.inference_mode()
def test_keys_that_do_not_count_change_no_result_to_the_bit(
    model: SegmentationModel, stale: float
) -> None:
    attention: BatchAttention = model._work.attend
    (image,) = model.encode_images([draw_frame(0)[0]])
    generator = torch.Generator().manual_seed(3)
    num_keys = 3 * SIDE**2 + 6
    keys = torch.randn(2, 3, num_keys, 128, generator=generator)
    values = torch.randn(3, num_keys, 64, generator=generator)

    def write(rows: slice, own_keys: Tensor, own_values: Tensor) -> None:
        own_keys[:, :, :num_keys] = keys[:, rows]
        own_values[:, :num_keys] = values[rows]

    (known,) = attention._inform(image.features, keys, values, None)
    for recording in attention._recordings._by_shape.values():
        for place in recording.inputs[1:3]:
            place.fill_(stale)
    assert torch.equal(attention(image.features, 3, num_keys, write), known)
    for recording in attention._recordings._by_shape.values():
        for place in recording.inputs[1:3]:
            place.zero_()


class FakeReady:
    """Counts who waits for features."""

    def __init__(self) -> None:
        self.num_waits = 0

    def wait(self, results: Sequence[Tensor]) -> None:
        assert len(results) == 3
        self.num_waits += 1


def verbs(model: SegmentationModel) -> dict[str, Callable[[ImageFeatures], object]]:
    """Return a call of every verb that reads features, by its name."""
    prompts, mask = [click(0)], np.ones((64, 96), bool)
    logits = torch.zeros(1, 1, SIZE // 4, SIZE // 4)
    prediction = Prediction(logits, torch.zeros(1, 128), torch.ones(1, 1), torch.ones(1))
    memory = MemoryBatch(
        ((torch.zeros(SIDE**2 * 64),),), ((0,),), torch.zeros(1, 1, 128), torch.ones(1, 1)
    )
    informed = torch.zeros(1, 128, SIDE, SIDE)
    return {
        "without_memory": model.without_memory,
        "with_memory": lambda image: model.with_memory(image, memory, 16),
        "track": lambda image: model.track(image, informed),
        "decode": lambda image: model.decode(image, informed, prompts, (64, 96)),
        "adopt_masks": lambda image: model.adopt_masks(image, informed, [mask]),
        "encode_memory": lambda image: model.encode_memory(image, prediction, is_prompted=False),
        "candidates": lambda image: model.candidates(image, informed, prompts, (64, 96)),
    }


def test_every_verb_waits_for_features_that_another_stream_computes(
    model: SegmentationModel,
) -> None:
    reading = {
        name
        for name, verb in vars(Model).items()
        if "image" in getattr(verb, "__annotations__", {})
    }
    calls = verbs(model)
    assert set(calls) == reading
    (image,) = model.encode_images([draw_frame(0)[0]])
    for name, call in calls.items():
        ready = FakeReady()
        call(ImageFeatures(image.features, image.high_res, ready))
        assert ready.num_waits == 1, name


def test_a_recorded_model_is_freed_at_once() -> None:
    gc.collect()
    gc.disable()
    try:
        model = recorded_pocket(4)
        tracked(model, [click(0), click(1)], 3)
        recordings = model._work.attend._recordings._by_shape.values()
        parts: list[weakref.ref[object]] = [weakref.ref(model)]
        parts += [weakref.ref(one.inputs[1]) for one in recordings]
        assert len(parts) > 4
        del model, recordings
        assert [part() for part in parts if part() is not None] == []
    finally:
        gc.enable()


@pytest.mark.parametrize("num_calls", [100, 20], ids=["recorded", "a recording fails"])
def test_a_gpu_records_its_encoder_and_its_tracking_for_two_streams(
    num_calls: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recorders: dict[object, FailingRecorder] = {}

    def recorder_on(stream: object) -> FailingRecorder:
        recorders[stream] = FailingRecorder(num_calls, RuntimeError("CUDA error: no"))
        return recorders[stream]

    model = small_pocket()
    beside: Any = SimpleNamespace(stream="the encoder's")
    monkeypatch.setattr(model, "_beside", beside)
    monkeypatch.setattr(sam2, "CudaRecorder", recorder_on)
    monkeypatch.setattr(torch.cuda, "Stream", lambda _, priority: f"of priority {priority}")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    with caplog.at_level(logging.INFO):
        model._record(None)
    assert list(recorders) == ["the encoder's", "of priority -1"]
    assert "recording the work of a tracked frame took" in caplog.text
    is_recorded = num_calls == 100
    assert (model._beside is beside) is is_recorded
    assert model.free_recordings() is is_recorded
    if is_recorded:
        encoder, tracking = recorders.values()
        assert (encoder.num_replays, tracking.num_replays) == (2, 28)


class DeviceWatch(TorchDispatchMode):
    """Notes what a GPU would have to wait for: tensors of the CPU, and numbers read from it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[str] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [one for one in tree_leaves((args, kwargs, result)) if isinstance(one, Tensor)]
        if any(one.device.type != "meta" for one in tensors) or "_local_scalar" in str(func):
            self.found.append(str(func))
        return result


@torch.inference_mode()
def test_recorded_work_reads_nothing_from_the_cpu_and_gives_it_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    network = build_network("pocket", image_size=SIZE).to("meta")
    model = SegmentationModel(
        network, device=torch.device("meta"), dtype=torch.float32, key_bytes=1 << 30
    )
    work = model._work
    pixels = torch.empty(2, SIZE, SIZE, 3, dtype=torch.uint8, device="meta")
    keys = torch.empty(2, 3, 100, 128, device="meta")
    pack_masks(torch.empty(1, 8, dtype=torch.bool, device="meta"))  # makes a constant, once
    monkeypatch.setattr(torch, "tensor", lambda *_, **__: pytest.fail("numbers from the CPU"))
    with DeviceWatch() as watch:
        features, stride4, stride8 = (one[:1] for one in work.encode(pixels))
        values = keys.new_empty(3, 100, 64)
        (informed,) = work.attend._inform(features, keys, values, None)
        logits, _, scores, _ = work.decode(stride4, stride8, informed)
        work.encode_memories(features, logits, scores)
        prediction = Prediction(logits, informed, scores, scores[:, 0])
        pending = model.results_of(prediction, (64, 96), with_confidences=True)
        assert isinstance(pending, ResultTensors)
        assert pending.pack().shape == (3, 8 + 64 * 12 + 64 * 96)
    assert watch.found == []


def test_a_health_check_records_nothing(model: SegmentationModel) -> None:
    session = Session()
    session._model = model
    before = recordings_made()
    session.check()
    assert recordings_made() == before
