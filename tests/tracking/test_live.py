"""Objects that come and go while the tracker runs, with a model that follows colours exactly."""

from collections.abc import Sequence

import pytest

from sam_video.tracking.discovery import Segment
from sam_video.tracking.live import LivePass
from sam_video.tracking.tracker import MAX_BATCH, Tracker
from sam_video.types import (
    BoolMask,
    Box,
    Changes,
    Click,
    Frame,
    MaskFrame,
    ObjectMask,
    ObjectPrompt,
)
from sam_video.video.frame_list import FrameList
from tests.fake_model import FakeModel
from tests.tracking.test_tracker import (
    SmallModel,
    assert_follows,
    assert_same,
    click,
    clip,
    track,
    truth,
)
from tests.worker_threads import worker_threads


class ScriptedDiscovery:
    """Has objects come and go as a script says, and keeps what it was shown.

    Args:
        changes: By frame index.
        boxes: To ask the masks of, on every frame with changes.
    """

    def __init__(self, changes: dict[int, Changes], boxes: Sequence[Box] = ()) -> None:
        self._changes = changes
        self._boxes = boxes
        self.observed: list[int] = []
        self.shown: dict[int, list[str]] = {}
        """The objects with a mask on each frame with changes."""
        self.masks: list[BoolMask] = []
        """Of the boxes on the last one."""

    def observe(self, frame: Frame) -> bool:
        self.observed.append(frame.index)
        return frame.index in self._changes

    def decide(self, frame: Frame, tracked: Sequence[ObjectMask], segment: Segment) -> Changes:
        self.shown[frame.index] = [item.object_id for item in tracked]
        self.masks = segment(self._boxes)
        return self._changes[frame.index]


def births(*prompts: ObjectPrompt) -> dict[int, Changes]:
    """Return changes by which objects come, each on the frame of its prompt."""
    frames = {prompt.frame_index for prompt in prompts}
    return {i: Changes(tuple(p for p in prompts if p.frame_index == i)) for i in frames}


def live(
    changes: dict[int, Changes] | ScriptedDiscovery,
    prompts: Sequence[ObjectPrompt] = (),
    *,
    num_frames: int = 12,
    model: FakeModel | None = None,
) -> list[MaskFrame]:
    """Track through a drawn clip while objects come and go."""
    source, model = FrameList(clip(num_frames)), model or FakeModel()
    discovery = changes if isinstance(changes, ScriptedDiscovery) else ScriptedDiscovery(changes)
    with Tracker(model, source, prompts) as tracker:
        tracker.condition()
        list(tracker.backward())
        with LivePass(tracker, model, source, discovery) as live_pass:
            return list(live_pass.frames())


MODELS = {
    "one by one": {"encodes_ahead": False},
    "ahead": {},
    "several images": {"num_images": 4},
    "several threads": {"num_workers": 3},
    "more images than frames": {"num_images": 20, "num_workers": 2},
}


@pytest.mark.parametrize("name", MODELS)
def test_what_comes_is_tracked_as_if_its_prompt_had_been_known(name: str) -> None:
    prompts = [click(0, 3), click(1, 3), click(2, 7)]
    frames = live(births(*prompts), model=FakeModel(**MODELS[name]))  # type: ignore[arg-type]
    assert_same(frames, track(prompts, num_frames=12, backward=False))
    assert [len(masks.objects) for masks in frames] == [0] * 3 + [2] * 4 + [3] * 5
    for row in range(3):
        assert_follows(frames, f"square {row}", row)


def test_what_goes_has_no_mask_from_that_frame_on() -> None:
    changes = births(click(0, 2), click(1, 2)) | {6: Changes(removals=("square 0",))}
    frames = live(changes)
    assert [[o.object_id for o in masks.objects] for masks in frames[5:8]] == [
        ["square 0", "square 1"],
        ["square 1"],
        ["square 1"],
    ]
    assert_follows(frames, "square 1", 1)


def test_objects_may_come_and_go_on_one_frame() -> None:
    changes = births(click(0, 2)) | {5: Changes((click(1, 5),), ("square 0",))}
    frames = live(changes)
    assert [[o.object_id for o in masks.objects] for masks in frames[4:6]] == [
        ["square 0"],
        ["square 1"],
    ]


def test_objects_of_prompts_are_tracked_too_and_come_first() -> None:
    prompts = [click(2, 4), ObjectPrompt("square 2", 8, (Click(20, 20, 0),))]
    frames = live(births(click(0, 2)), prompts)
    expected = track([*prompts, click(0, 2)], num_frames=12)
    for masks, other in zip(frames[2:], expected[2:], strict=True):
        assert [o.object_id for o in masks.objects] == ["square 2", "square 0"]
        for one, two in zip(masks.objects, other.objects, strict=True):
            assert (one.mask == two.mask).all()


def test_all_masks_of_a_frame_are_shown_also_those_of_the_backward_pass() -> None:
    discovery = ScriptedDiscovery({0: Changes(), 6: Changes((click(0, 6),)), 7: Changes()})
    live(discovery, [click(1, 0), click(2, 9)])
    assert discovery.shown == {
        0: ["square 1", "square 2"],
        6: ["square 1", "square 2"],
        7: ["square 1", "square 2", "square 0"],
    }
    assert discovery.observed == list(range(12))


def test_an_index_is_never_used_again() -> None:
    changes = births(click(0, 1), click(2, 7)) | {4: Changes(removals=("square 0",))}
    frames = live(changes)
    assert [[o.object_index for o in masks.objects] for masks in (frames[3], frames[9])] == [
        [0],
        [1],
    ]


@pytest.mark.parametrize("is_tracking", [False, True], ids=["nothing tracked", "tracking"])
def test_boxes_become_masks_without_another_run_of_the_encoder(is_tracking: bool) -> None:
    model = FakeModel()
    boxes = [Box(6, 8 * (n % 3) + 1, 10, 8 * (n % 3) + 6) for n in range(MAX_BATCH + 3)]
    born = ObjectPrompt("square 1", 6, box=boxes[1])
    discovery = ScriptedDiscovery({6: Changes((born,))}, boxes)
    before = [ObjectPrompt("square 0", 0, mask=truth(0, 0))] if is_tracking else []
    frames = live(discovery, before, model=model)
    assert model.decoded == [MAX_BATCH, 3, 1]
    for number, mask in enumerate(discovery.masks):
        assert (mask == truth(6, number % 3)).all()
    assert_follows(frames, "square 1", 1)
    assert sum(model.encoded) == (12 if is_tracking else 6)


def test_frames_before_the_first_object_cost_nothing() -> None:
    model = FakeModel()
    live(births(click(0, 8)), model=model)
    assert sum(model.encoded) == 4


def test_each_object_stays_with_its_thread_and_they_have_as_many_each() -> None:
    model = FakeModel(num_workers=2)
    names = [click(row % 3, 1 + row // 2, f"object {row}") for row in range(6)]
    frames = live(births(*names), num_frames=20, model=model)
    for row in range(6):
        assert_follows(frames, f"object {row}", row % 3)
    num_tracked = sum(count for count, _, _ in model.batches)
    assert num_tracked == sum(20 - 1 - (1 + row // 2) for row in range(6))


@pytest.mark.parametrize("verb", ["decode", "with_memory", "encode_memory"])
def test_masks_are_the_same_where_memory_suffices_for_few_objects_only(verb: str) -> None:
    prompts = [click(n % 3, 2 + n % 2, f"object {n}") for n in range(7)]
    frames = live(births(*prompts), model=SmallModel(verb, 2))
    assert_same(frames, live(births(*prompts)))


def test_a_pass_that_is_left_early_leaves_no_threads() -> None:
    source, model = FrameList(clip(12)), FakeModel(num_workers=2)
    with Tracker(model, source, [click(0, 0)]) as tracker:
        tracker.condition()
        with LivePass(tracker, model, source, ScriptedDiscovery({})) as live_pass:
            frames = live_pass.frames()
            assert next(frames).frame.index == 0
    assert worker_threads() == []
