"""The tracker, with a model that follows colours exactly."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from sam_video.errors import PromptError
from sam_video.model.interface import ImageFeatures, Prediction
from sam_video.tracking.tracker import MAX_AHEAD, MAX_BATCH, Tracker
from sam_video.types import BoolMask, Click, MaskFrame, ObjectPrompt, RGBImage
from sam_video.video.frame_list import FrameList
from tests.fake_model import FakeModel
from tests.worker_threads import wait_until

SIZE = 24
COLOURS = ((200, 0, 0), (0, 200, 0), (0, 0, 200))


def truth(index: int, row: int) -> BoolMask:
    """Return where square `row` is on a frame: it moves one pixel to the right each frame."""
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    left = index % (SIZE - 4)
    mask[8 * row + 1 : 8 * row + 6, left : left + 4] = True
    return mask


def clip(num_frames: int) -> list[RGBImage]:
    """Draw three squares of different colours, one above the other."""
    images = []
    for index in range(num_frames):
        image = np.full((SIZE, SIZE, 3), 90, dtype=np.uint8)
        for row, colour in enumerate(COLOURS):
            image[truth(index, row)] = colour
        images.append(image)
    return images


def click(row: int, frame_index: int, object_id: str = "") -> ObjectPrompt:
    """Click into a square."""
    where = Click(frame_index % (SIZE - 4) + 1, 8 * row + 3)
    return ObjectPrompt(object_id or f"square {row}", frame_index, (where,))


def track(
    prompts: list[ObjectPrompt],
    *,
    num_frames: int = 10,
    backward: bool = True,
    model: FakeModel | None = None,
    with_confidences: bool = False,
) -> list[MaskFrame]:
    """Track through a drawn clip."""
    source = FrameList(clip(num_frames))
    with Tracker(
        model or FakeModel(), source, prompts, with_confidences=with_confidences
    ) as tracker:
        tracker.condition()
        if backward:
            list(tracker.backward())
        return list(tracker.forward())


class SmallModel(FakeModel):
    """One whose memory suffices for a few objects, or images, only.

    Args:
        verb: The method that runs out of memory.
        most: How many objects or images it has memory for.
        num_images: That it is given at a time.
    """

    def __init__(self, verb: str, most: int, num_images: int = 1) -> None:
        super().__init__(num_images=num_images)
        self.num_refused = 0
        """How often memory did not suffice."""
        whole = getattr(self, verb)

        def bounded(*arguments: Any, **options: Any) -> Any:
            result = whole(*arguments, **options)
            if len(result.pointers if isinstance(result, Prediction) else result) > most:
                self.num_refused += 1
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return result

        setattr(self, verb, bounded)


def assert_follows(frames: list[MaskFrame], object_id: str, row: int) -> None:
    """Check an object's mask on every frame on which it is tracked."""
    for masks in frames:
        for found in masks.objects:
            if found.object_id == object_id:
                assert (found.mask == truth(masks.frame.index, row)).all()


def assert_same(frames: list[MaskFrame], expected: list[MaskFrame]) -> None:
    """Check that every frame has the same objects with the same masks."""
    for masks, others in zip(frames, expected, strict=True):
        for one, other in zip(masks.objects, others.objects, strict=True):
            assert one.object_id == other.object_id
            assert (one.mask == other.mask).all()


def test_an_object_is_followed_from_one_click() -> None:
    frames = track([click(0, 0)])
    assert [masks.frame.index for masks in frames] == list(range(10))
    assert all(len(masks.objects) == 1 for masks in frames)
    assert_follows(frames, "square 0", 0)


def test_a_late_object_is_tracked_backward_and_comes_out_in_order() -> None:
    frames = track([click(0, 0), click(2, 7)])
    assert [masks.frame.index for masks in frames] == list(range(10))
    assert all([o.object_index for o in masks.objects] == [0, 1] for masks in frames)
    assert_follows(frames, "square 2", 2)


def test_without_backward_tracking_a_late_object_has_no_mask_before_its_prompt() -> None:
    frames = track([click(0, 3), click(2, 7)], backward=False)
    assert [len(masks.objects) for masks in frames] == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2]


def test_masks_do_not_depend_on_the_other_objects() -> None:
    alone = track([click(1, 4)])
    together = track([click(0, 0), click(1, 4), click(2, 2)])
    for one, many in zip(alone, together, strict=True):
        same = next(o for o in many.objects if o.object_id == "square 1")
        assert (one.objects[0].mask == same.mask).all()


def test_objects_with_equal_memories_share_a_call() -> None:
    model = FakeModel()
    track([click(row, 0) for row in range(3)], num_frames=5, model=model)
    assert model.batches == [(3, 1, 1), (3, 2, 2), (3, 3, 3), (3, 4, 4)]


def test_objects_of_different_ages_share_calls_once_their_banks_are_full() -> None:
    model = FakeModel()
    prompts = [click(0, 0), click(1, 0), click(2, 2)]
    track(prompts, num_frames=30, backward=False, model=model)
    assert model.batches[-1] == (3, 7, 16)
    assert (2, 1, 1) in model.batches


def test_a_batch_has_a_limit() -> None:
    model = FakeModel()
    prompts = [click(0, 0, f"object {n}") for n in range(MAX_BATCH + 3)]
    frames = track(prompts, num_frames=3, model=model)
    assert [count for count, _, _ in model.batches] == [MAX_BATCH, 3] * 2
    assert [o.object_index for o in frames[2].objects] == list(range(MAX_BATCH + 3))


def test_objects_are_divided_among_the_threads_that_it_is_worth_having() -> None:
    model = FakeModel(num_workers=3)
    prompts = [click(row % 3, 0, f"object {row}") for row in range(7)]
    frames = track(prompts, num_frames=4, model=model)
    assert sorted(model.batches) == sorted(
        (count, age, age) for age in (1, 2, 3) for count in (2, 2, 3)
    )
    for row in range(7):
        assert_follows(frames, f"object {row}", row % 3)


def test_the_threads_have_as_many_objects_each_whenever_these_enter() -> None:
    model = FakeModel(num_workers=2)
    prompts = [click(n % 3, 2 * (n % 2), f"object {n}") for n in range(8)]
    track(prompts, num_frames=5, backward=False, model=model)
    assert [count for count, _, _ in model.batches] == [2] * 2 * (1 + 1 + 2 + 2)


def test_objects_go_on_to_the_next_frame_while_their_masks_are_made_use_of() -> None:
    model = FakeModel()
    with Tracker(model, FrameList(clip(9)), [click(0, 0)]) as tracker:
        tracker.condition()
        frames = tracker.forward()
        next(frames)
        wait_until(lambda: len(model.batches) == MAX_AHEAD)
        assert next(frames).objects[0].mask.any()
        wait_until(lambda: len(model.batches) == MAX_AHEAD + 1)


@pytest.mark.parametrize(
    "verb", ["decode", "adopt_masks", "with_memory", "encode_memory", "results_of"]
)
@pytest.mark.parametrize("most", [1, 3, 8])
def test_masks_are_the_same_where_memory_suffices_for_few_objects_only(
    verb: str, most: int, caplog: pytest.LogCaptureFixture
) -> None:
    prompts = [click(n % 3, n % 2, f"object {n}") for n in range(MAX_BATCH + 3)]
    prompts[4] = ObjectPrompt("object 4", 0, mask=truth(0, 1))
    prompts[6] = ObjectPrompt("object 6", 0, mask=truth(0, 0))
    prompts.append(ObjectPrompt("object 1", 3, (Click(20, 20, 0),)))
    expected = track(prompts, with_confidences=True)
    model = SmallModel(verb, most)
    found = track(prompts, with_confidences=True, model=model)
    for one, other in zip(expected, found, strict=True):
        for a, b in zip(one.objects, other.objects, strict=True):
            assert (a.object_id, a.object_score) == (b.object_id, b.object_score)
            assert (a.mask == b.mask).all()
            assert a.confidence is not None
            assert (a.confidence == b.confidence).all()
    if verb not in ("adopt_masks", "results_of") or most == 1:
        assert "memory does not suffice" in caplog.text


def test_batches_stay_small_once_memory_did_not_suffice() -> None:
    model = SmallModel("with_memory", most=5)
    prompts = [click(0, 0, f"object {n}") for n in range(MAX_BATCH)]
    track(prompts, num_frames=4, model=model)
    assert model.num_refused == 2
    assert [count for count, _, _ in model.batches] == [16, 8, *[4] * 4 * 3]


def test_images_are_not_encoded_ahead_where_memory_does_not_suffice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = track([click(0, 0)])
    caller, model = threading.current_thread(), FakeModel()
    encode = model.encode_images
    refused: list[threading.Thread] = []

    def encode_again(images: Sequence[RGBImage]) -> list[ImageFeatures]:
        """Refuse the thread that is first to encode frames ahead."""
        thread = threading.current_thread()
        if thread is not caller and (not refused or thread is refused[0]):
            refused.append(thread)
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return encode(images)

    monkeypatch.setattr(model, "encode_images", encode_again)
    assert_same(track([click(0, 0)], model=model), expected)
    assert len(refused) == 9


def test_fewer_images_are_encoded_at_a_time_once_memory_did_not_suffice() -> None:
    expected = track([click(0, 0)])
    model = SmallModel("encode_images", most=2, num_images=6)
    assert_same(track([click(0, 0)], model=model), expected)
    assert model.num_refused == 1
    assert model.encoded == [1, 5, 2, 2, 1, 2, 2]


def test_memory_that_does_not_suffice_for_one_object_fails() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        track([click(row, 0) for row in range(3)], model=SmallModel("with_memory", most=0))


def test_a_frame_goes_through_the_image_encoder_once() -> None:
    model = FakeModel()
    track([click(row, 0) for row in range(3)], num_frames=6, model=model)
    assert sum(model.encoded) == 6


@pytest.mark.parametrize("num_images", [2, 3, 20])
def test_frames_may_be_encoded_several_at_a_time(num_images: int) -> None:
    prompts = [click(0, 1), click(1, 6)]
    expected = track(prompts, num_frames=9)
    model = FakeModel(num_images=num_images)
    assert_same(track(prompts, num_frames=9, model=model), expected)
    assert max(model.encoded) > 1
    assert max(model.encoded) <= num_images


def test_frames_may_be_encoded_one_by_one_as_they_are_tracked() -> None:
    prompts = [click(0, 1), click(1, 6)]
    expected = track(prompts, num_frames=9)
    model = FakeModel(encodes_ahead=False)
    assert_same(track(prompts, num_frames=9, model=model), expected)


def test_frames_before_the_first_prompt_cost_nothing_without_backward_tracking() -> None:
    model = FakeModel()
    track([click(0, 8)], num_frames=10, backward=False, model=model)
    assert sum(model.encoded) == 2


def test_an_object_may_be_prompted_on_several_frames() -> None:
    frames = track([click(0, 2), click(0, 6)])
    assert_follows(frames, "square 0", 0)
    assert all(len(masks.objects) == 1 for masks in frames)


def test_a_negative_click_corrects_the_tracked_mask() -> None:
    correction = ObjectPrompt("square 0", 5, (Click(20, 20, 0),))
    frames = track([click(0, 0), correction])
    assert frames[4].objects[0].mask.any()
    assert not frames[5].objects[0].mask.any()
    assert frames[5].objects[0].object_score < 0.5


def test_a_negative_click_before_the_first_prompt_corrects_the_backward_pass() -> None:
    correction = ObjectPrompt("square 0", 2, (Click(20, 20, 0),))
    frames = track([click(0, 5), correction])
    assert not frames[2].objects[0].mask.any()
    assert frames[3].objects[0].mask.any()
    assert frames[6].objects[0].mask.any()


def test_a_mask_is_a_prompt_too() -> None:
    frames = track([ObjectPrompt("square 1", 0, mask=truth(0, 1)), click(0, 0)])
    assert_follows(frames, "square 1", 1)
    assert_follows(frames, "square 0", 0)


def test_objects_are_numbered_as_first_named() -> None:
    frames = track([click(2, 6), click(0, 0)])
    assert [(o.object_id, o.object_index) for o in frames[8].objects] == [
        ("square 2", 0),
        ("square 0", 1),
    ]


def test_a_prompt_past_the_end_fails() -> None:
    with pytest.raises(PromptError, match=r"12.*0 to 9"):
        track([click(0, 0), ObjectPrompt("late", 12, (Click(1, 1),))])


def test_the_same_input_gives_the_same_masks() -> None:
    first, second = (track([click(0, 0), click(1, 3)]) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        for a, b in zip(one.objects, other.objects, strict=True):
            assert (a.mask == b.mask).all()
            assert (a.object_score, a.predicted_iou) == (b.object_score, b.predicted_iou)


def test_confidences_are_given_where_asked_for_also_of_what_is_tracked_backward() -> None:
    source = FrameList(clip(6))
    with Tracker(FakeModel(), source, [click(0, 3)], with_confidences=True) as tracker:
        tracker.condition()
        list(tracker.backward())
        for masks in tracker.forward():
            (found,) = masks.objects
            assert found.confidence is not None
            assert ((found.confidence >= 128) == found.mask).all()
    assert all(found.confidence is None for m in track([click(0, 3)]) for found in m.objects)


def test_candidates_are_those_of_the_prompts_on_a_frame() -> None:
    mask = ObjectPrompt("given", 0, mask=truth(2, 2))
    prompts = [click(0, 0), click(1, 0), mask, click(2, 1, "later")]
    with Tracker(FakeModel(), FrameList(clip(3)), prompts) as tracker:
        tracker.condition()
        first = next(tracker.forward())
        objects = {o.object_id: o for o in tracker.with_candidates(first).objects}
    assert [len(objects[name].candidates) for name in ("square 0", "square 1", "given")] == [
        3,
        3,
        0,
    ]
    for row in (0, 1):
        candidates = objects[f"square {row}"].candidates
        assert (candidates[1].mask == truth(0, row)).all()
        assert [round(c.predicted_iou, 2) for c in candidates] == [0.5, 0.9, 0.1]
