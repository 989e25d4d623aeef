"""What words find in whole videos: a scripted detector, and a model that follows colours."""

import logging
import tracemalloc
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sam_video.detection.interface import Detection
from sam_video.detection.query import TextQuery
from sam_video.errors import PromptError
from sam_video.model.interface import ImageFeatures, Prediction
from sam_video.service.pipeline import mask_frames, segment_video
from sam_video.types import (
    BoolMask,
    Box,
    Click,
    Frame,
    MaskFrame,
    ObjectPrompt,
    RGBImage,
    VideoInfo,
)
from sam_video.video.frame_list import FrameList
from sam_video.video.selection import select_frames
from tests.detection.scripted import ScriptedDetector
from tests.fake_model import FakeModel
from tests.service.test_interruption import Tracer, held_things
from tests.worker_threads import (
    Cancelled,
    cancelled_when,
    take_too_long,
    wait_until,
    worker_threads,
)

H, W = 48, 64
RED, GREEN, BLUE, WHITE = (200, 0, 0), (0, 200, 0), (0, 0, 200), (255, 255, 255)
WORDS = {RED: "ball", GREEN: "ball", BLUE: "ball", WHITE: "hat"}


@dataclass(frozen=True, slots=True)
class Thing:
    """A square of 10 pixels that moves over the frames on which it is seen."""

    colour: tuple[int, int, int]
    left: int
    top: int
    step: int = 0
    """Pixels to the right in a frame."""
    seen: tuple[range, ...] = (range(10**6),)

    def mask(self, index: int) -> BoolMask:
        mask = np.zeros((H, W), dtype=bool)
        if any(index in frames for frames in self.seen):
            left = self.left + self.step * index
            mask[self.top : self.top + 10, max(0, left) : max(0, left + 10)] = True
        return mask


def draw(things: Sequence[Thing], index: int, background: int = 90) -> RGBImage:
    """Draw a frame; later things cover earlier ones."""
    image = np.full((H, W, 3), background, dtype=np.uint8)
    for thing in things:
        image[thing.mask(index)] = thing.colour
    return image


def clip(things: Sequence[Thing], num_frames: int) -> FrameList:
    return FrameList([draw(things, index) for index in range(num_frames)])


def see(image: RGBImage) -> list[Detection]:
    """Find what is drawn, red surest."""
    found = []
    for number, (colour, word) in enumerate(WORDS.items()):
        if (box := box_of((image == colour).all(axis=2))) is not None:
            found.append(Detection(word, 0.95 - 0.05 * number, box))
    return found


def box_of(mask: BoolMask) -> Box | None:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def query(script: Callable[[RGBImage], Sequence[Detection]] = see, **fields: Any) -> TextQuery:
    return TextQuery(ScriptedDetector(script), **({"concepts": ("ball",)} | fields))


def segment(
    things: Sequence[Thing],
    prompts: Sequence[ObjectPrompt] = (),
    *,
    num_frames: int = 30,
    text: TextQuery | None = None,
    model: FakeModel | None = None,
    **options: Any,
) -> list[MaskFrame]:
    """Find balls in a drawn clip."""
    video, text = clip(things, num_frames), text or query()
    return list(segment_video(video, prompts, model=model or FakeModel(), text=text, **options))


def names(frames: Sequence[MaskFrame]) -> list[str]:
    """Return all objects, in the order of their indices."""
    indices = {item.object_id: item.object_index for masks in frames for item in masks.objects}
    assert len(set(indices.values())) == len(indices)
    return sorted(indices, key=indices.__getitem__)


def assert_follows(frames: Sequence[MaskFrame], name: str, thing: Thing) -> None:
    """Check that an object has a thing's mask on every frame, and what it is said to be."""
    for masks in frames:
        (item,) = [item for item in masks.objects if item.object_id == name]
        assert (item.mask == thing.mask(masks.frame.index)).all(), masks.frame.index


def click(thing: Thing, frame_index: int, name: str, label: int = 1) -> ObjectPrompt:
    x = thing.left + thing.step * frame_index + 5
    return ObjectPrompt(name, frame_index, (Click(x, thing.top + 5, label),))


TOP = Thing(RED, 40, 2, step=-1)
MIDDLE = Thing(GREEN, 2, 18, step=1)
BOTTOM = Thing(BLUE, 20, 34)
INTERVALS = pytest.mark.parametrize("interval", [0, 5, 10, 1000])


@INTERVALS
def test_every_instance_is_found_named_from_left_to_right_and_tracked(interval: int) -> None:
    frames = segment([TOP, MIDDLE, BOTTOM], text=query(interval=interval))
    assert [masks.frame.index for masks in frames] == list(range(30))
    assert names(frames) == ["ball_1", "ball_2", "ball_3"]
    for name, thing in (("ball_1", MIDDLE), ("ball_2", BOTTOM), ("ball_3", TOP)):
        assert_follows(frames, name, thing)
    assert {item.concept for masks in frames for item in masks.objects} == {"ball"}
    scores = {item.object_id: item.detection_score for item in frames[-1].objects}
    assert scores == pytest.approx({"ball_1": 0.9, "ball_2": 0.85, "ball_3": 0.95})


def test_a_search_takes_as_many_runs_of_the_network_as_tracking_does() -> None:
    found, clicked = FakeModel(), FakeModel()
    segment([TOP, MIDDLE], model=found)
    prompts = [click(TOP, 0, "one"), click(MIDDLE, 0, "two")]
    list(segment_video(clip([TOP, MIDDLE], 30), prompts, model=clicked))
    assert found.encoded == clicked.encoded
    assert found.batches == clicked.batches


@pytest.mark.parametrize("track_backward", [True, False])
def test_what_enters_late_is_found_and_tracked_both_ways(track_backward: bool) -> None:
    late = replace(MIDDLE, seen=(range(13, 1000),))
    frames = segment([TOP, late], track_backward=track_backward)
    assert names(frames) == ["ball_1", "ball_2"]
    assert_follows(frames, "ball_1", TOP)
    assert_follows(frames[20:], "ball_2", late)
    if track_backward:
        assert_follows(frames, "ball_2", late)
    else:
        assert [len(masks.objects) for masks in frames] == [1] * 20 + [2] * 10


def test_what_leaves_and_returns_keeps_its_name() -> None:
    returning = replace(TOP, seen=(range(8), range(21, 45)))
    frames = segment([returning, BOTTOM], num_frames=45)
    assert names(frames) == ["ball_1", "ball_2"]
    assert_follows(frames, "ball_2", returning)
    assert_follows(frames, "ball_1", BOTTOM)


def test_things_that_cross_keep_their_names() -> None:
    crossing = Thing(GREEN, 2, 2, step=1), Thing(RED, 50, 2, step=-1)
    frames = segment(crossing, num_frames=45, text=query(interval=2))
    assert names(frames) == ["ball_1", "ball_2"]
    assert_follows(frames, "ball_2", crossing[1])  # the red one is in front
    last = frames[-1].frame.index
    masks = {item.object_id: item.mask for item in frames[-1].objects}
    assert (masks["ball_1"] == crossing[0].mask(last)).all()


def test_detections_of_one_thing_make_one_object() -> None:
    def twice(image: RGBImage) -> list[Detection]:
        found = see(image)
        wider = [replace(d, box=Box(d.box.x0 - 2, d.box.y0, d.box.x1 + 2, d.box.y1)) for d in found]
        return [*found, *wider, *(replace(d, concept="toy", score=0.6) for d in found)]

    text = query(twice, concepts=("ball", "toy"))
    assert names(segment([TOP, MIDDLE], text=text)) == ["ball_1", "ball_2"]


def test_a_false_alarm_is_never_yielded_and_leaves_no_gap_in_the_names() -> None:
    def see_ghosts(image: RGBImage) -> list[Detection]:
        ghost = np.zeros((H, W), dtype=bool)
        ghost[:6, :6] = True
        is_early = (image == RED).all(axis=2)[:, 30:].any()  # until the red one has moved away
        return see(image) + [Detection("ball", 0.8, Box(0, 0, 6, 6), ghost)] * bool(is_early)

    fast = Thing(RED, 29, 20, step=-4)
    frames = segment([fast, BOTTOM], text=query(see_ghosts))
    assert names(frames) == ["ball_1", "ball_2"]
    assert_follows(frames, "ball_1", BOTTOM)
    assert_follows(frames, "ball_2", fast)


def test_instances_of_a_new_shot_are_found_there() -> None:
    first = Thing(RED, 20, 5, seen=(range(14),)), Thing(WHITE, 0, 38, seen=(range(14),))
    second = (
        Thing(GREEN, 40, 30, seen=(range(14, 100),)),
        Thing(WHITE, 3, 3, seen=(range(14, 100),)),
    )
    images = [draw([*first, *second], index, 30 if index < 14 else 160) for index in range(26)]
    text = query(interval=25)
    frames = list(segment_video(FrameList(images), model=FakeModel(), prompts=[], text=text))
    assert names(frames) == ["ball_1", "ball_2"]
    assert_follows(frames, "ball_1", first[0])
    assert_follows(frames, "ball_2", second[0])


def test_a_concept_that_is_not_there_gives_no_objects(caplog: pytest.LogCaptureFixture) -> None:
    model = FakeModel()
    with caplog.at_level(logging.INFO):
        frames = segment([TOP], text=query(concepts=("giraffe", "ball")), model=FakeModel())
        frames += segment([TOP], text=query(concepts=("giraffe",)), model=model)
    assert "found 0 giraffe, 1 ball" in caplog.text
    assert [len(masks.objects) for masks in frames] == [1] * 30 + [0] * 30
    assert model.encoded == []


@INTERVALS
def test_a_negative_concept_takes_its_pixels_and_its_instances_away(interval: int) -> None:
    ball, hat = Thing(RED, 20, 10, step=1), Thing(WHITE, 20, 6, step=1)

    def see_whole(image: RGBImage) -> list[Detection]:
        ball_too = replace(see(image)[1], concept="ball", score=0.9)
        return [*see(image), ball_too]  # the hat is called a ball, too

    text = query(see_whole, negative_concepts=("hat",), interval=interval)
    frames = segment([ball, hat], num_frames=20, text=text)
    assert names(frames) == ["ball_1"]
    for masks in frames:
        index = masks.frame.index
        assert (masks.objects[0].mask == ball.mask(index) & ~hat.mask(index)).all()


class Loose(FakeModel):
    """A model whose masks reach three pixels too far to the right."""

    def _prediction(self, image: ImageFeatures, colours: Tensor) -> Prediction:
        found = super()._prediction(image, colours)
        logits = torch.maximum(found.mask_logits, found.mask_logits.roll(3, dims=3))
        return replace(found, mask_logits=logits)


def test_pixels_that_are_taken_away_have_no_confidence() -> None:
    ball, hat = Thing(RED, 20, 10), Thing(WHITE, 30, 10)
    frames = mask_frames(
        Loose(),
        select_frames(clip([ball, hat], 12), ()),
        (),
        track_backward=True,
        with_confidences=True,
        text=query(negative_concepts=("hat",)),
    )
    for masks in frames:
        (item,) = masks.objects
        assert item.confidence is not None
        assert not item.mask[:, 30:].any()
        assert not item.confidence[:, 30:].any()
        assert item.confidence.any()


@INTERVALS
@pytest.mark.parametrize("frame_index", [0, 7])
def test_a_negative_click_named_like_a_concept_excludes_an_instance(
    interval: int, frame_index: int
) -> None:
    excluded = click(MIDDLE, frame_index, "ball", label=0)
    frames = segment([TOP, MIDDLE, BOTTOM], [excluded], text=query(interval=interval))
    assert names(frames) == ["ball_1", "ball_2"]
    assert_follows(frames, "ball_1", BOTTOM)
    assert_follows(frames, "ball_2", TOP)


@INTERVALS
def test_a_click_that_excludes_nothing_is_told(
    interval: int, caplog: pytest.LogCaptureFixture
) -> None:
    used, vain = click(TOP, 0, "ball", 0), ObjectPrompt("ball", 6, (Click(60, 45, 0),))
    segment([TOP, MIDDLE], [used], text=query(interval=interval))
    assert "ignoring" not in caplog.text
    assert names(segment([TOP], [vain], text=query(interval=interval))) == ["ball_1"]
    assert "clicks that are on no instance, 1 of them, the first named 'ball'" in caplog.text


def test_a_click_excludes_an_instance_that_is_found_later_than_there() -> None:
    def see_late(image: RGBImage) -> list[Detection]:
        is_late = (image == RED).all(axis=2)[:, :28].any()
        return [d for d in see(image) if is_late or d.score > 0.92]

    excluded = click(MIDDLE, 3, "ball", label=0)
    frames = segment([TOP, MIDDLE], [excluded], text=query(see_late))
    assert names(frames) == ["ball_1"]
    assert names(segment([TOP, MIDDLE], text=query(see_late))) == ["ball_1", "ball_2"]


@INTERVALS
def test_no_more_than_the_surest_are_kept(interval: int) -> None:
    text = query(max_objects=2, interval=interval)
    frames = segment([TOP, MIDDLE, BOTTOM], text=text)
    assert names(frames) == ["ball_1", "ball_2"]
    assert_follows(frames, "ball_1", MIDDLE)
    assert_follows(frames, "ball_2", TOP)


@INTERVALS
def test_an_object_with_another_name_is_not_found_again(interval: int) -> None:
    prompts = [click(MIDDLE, 12, "bob")]
    frames = segment([TOP, MIDDLE], prompts, text=query(interval=interval))
    assert names(frames) == ["bob", "ball_1"]
    assert_follows(frames, "bob", MIDDLE)
    assert_follows(frames, "ball_1", TOP)
    assert [item.concept for item in frames[0].objects] == [None, "ball"]
    assert [item.detection_score for item in frames[0].objects] == [None, 0.95]


def test_without_backward_tracking_a_late_prompt_takes_over_what_was_found() -> None:
    frames = segment([TOP, MIDDLE], [click(MIDDLE, 12, "bob")], track_backward=False)
    assert names(frames) == ["bob", "ball_1"]
    assert_follows(frames, "ball_1", TOP)
    assert_follows(frames[12:], "bob", MIDDLE)


@INTERVALS
@pytest.mark.parametrize("frame_index", [0, 4, 16])
def test_a_click_with_an_instances_name_refines_it(interval: int, frame_index: int) -> None:
    """The model takes what was clicked, and not what was found, for the instance."""
    refining = [click(BOTTOM, frame_index, "ball_1"), click(BOTTOM, frame_index + 2, "ball_1", 0)]
    text = query(lambda image: see(image)[:1], interval=interval)
    frames = segment([TOP, BOTTOM], refining, text=text)
    assert names(frames) == ["ball_1"]
    before, at, corrected = frames[frame_index - 1], frames[frame_index], frames[frame_index + 2]
    assert (at.objects[0].mask == BOTTOM.mask(frame_index)).all()
    assert not corrected.objects[0].mask.any()
    if frame_index > 1:
        assert (before.objects[0].mask == TOP.mask(frame_index - 1)).all()
    assert at.objects[0].concept == "ball"
    assert at.objects[0].detection_score == 0.95


@INTERVALS
def test_a_mask_or_a_box_with_an_instances_name_replaces_what_was_found(interval: int) -> None:
    text = query(lambda image: see(image)[:1], interval=interval)
    for prompt in (
        ObjectPrompt("ball_1", 0, mask=BOTTOM.mask(0)),
        ObjectPrompt("ball_1", 0, box=Box(20, 34, 30, 44)),
    ):
        frames = segment([TOP, BOTTOM], [prompt], text=text)
        assert names(frames) == ["ball_1"]
        assert_follows(frames, "ball_1", BOTTOM)


@INTERVALS
def test_prompts_of_an_instance_that_is_not_found_make_it(
    interval: int, caplog: pytest.LogCaptureFixture
) -> None:
    prompts = [click(BOTTOM, 3, "ball_7"), click(TOP, 0, "ball_9", label=0)]
    text = query(lambda image: see(image)[:1], interval=interval)
    frames = segment([TOP, BOTTOM], prompts, text=text)
    assert names(frames) == ["ball_7", "ball_1"]
    assert_follows(frames, "ball_7", BOTTOM)
    assert [item.concept for item in frames[0].objects] == ["ball", "ball"]
    assert "ignoring negative clicks on 1 objects that were not found" in caplog.text
    assert "first named 'ball_9'" in caplog.text


def test_a_negative_click_alone_needs_words_that_find_its_object() -> None:
    with pytest.raises(PromptError, match="nothing positive for 'cup_1'"):
        segment([TOP], [click(TOP, 0, "bob"), click(TOP, 0, "cup_1", label=0)])


def test_on_the_first_frame_alone_frames_come_as_they_are_tracked() -> None:
    model = FakeModel(encodes_ahead=False)
    frames = segment_video(clip([TOP], 100), [], model=model, text=query(interval=0))
    assert len(next(frames).objects) == 1
    frames.close()
    assert sum(model.encoded) < 20
    assert worker_threads() == []


def test_a_still_image_is_looked_at_once() -> None:
    text = query()
    source = clip([TOP, BOTTOM], 1)
    source.info = replace(source.info, is_still=True)
    (masks,) = segment_video(source, [], model=FakeModel(), text=text)
    assert [item.object_id for item in masks.objects] == ["ball_1", "ball_2"]
    assert isinstance(text.detector, ScriptedDetector)
    assert len(text.detector.calls) == 1


@pytest.mark.parametrize("start_frame", [-1, 4])
@pytest.mark.parametrize("frame_interval", [1, 3])
def test_some_frames_of_a_video_may_be_selected(start_frame: int, frame_interval: int) -> None:
    late = replace(MIDDLE, seen=(range(11, 1000),))
    options: dict[str, Any] = {
        "start_frame": start_frame,
        "end_frame": 25,
        "frame_interval": frame_interval,
    }
    frames = segment([TOP, late], [click(BOTTOM, 2, "bob")], text=query(interval=4), **options)
    shown = [masks.frame.index for masks in frames]
    regular = range(max(0, start_frame), 26, frame_interval)
    assert shown == sorted({*regular} | ({2} if start_frame < 0 else set()))
    assert names(frames) == ["bob", "ball_1", "ball_2"]
    assert_follows(frames, "ball_1", TOP)
    assert_follows(frames, "ball_2", late)


@pytest.mark.parametrize("interval", [0, 10])
def test_the_progress_ends_at_100_percent(interval: int, capfd: pytest.CaptureFixture[str]) -> None:
    late = replace(MIDDLE, seen=(range(13, 1000),))
    segment([TOP, late], [click(BOTTOM, 5, "bob")], text=query(interval=interval))
    percents = [
        int(line.split("%")[0]) for line in capfd.readouterr().err.split("\n") if "%" in line
    ]
    assert percents == sorted(percents)
    assert percents[-1] == 100


def test_the_same_input_gives_the_same_names_and_masks() -> None:
    things = [TOP, replace(MIDDLE, seen=(range(13, 1000),)), BOTTOM]
    models = FakeModel(), FakeModel(3), FakeModel(1, 4), FakeModel(encodes_ahead=False)
    runs = [segment(things, model=model) for model in models]
    for other in runs[1:]:
        for one, two in zip(runs[0], other, strict=True):
            assert [o.object_id for o in one.objects] == [o.object_id for o in two.objects]
            for a, b in zip(one.objects, two.objects, strict=True):
                assert (a.mask == b.mask).all()


class Long:
    """A video of many frames, the second half with one thing more; it holds none of them."""

    def __init__(self, num_frames: int) -> None:
        self.info = VideoInfo(W, H, Fraction(25), num_frames)
        still = Thing(RED, 2, 2), Thing(BLUE, 20, 34, seen=(range(1, 2),))
        self._halves = draw(still, 0), draw(still, 1)
        self._num_frames = num_frames

    def _frame(self, index: int) -> Frame:
        return Frame(index, index / 25, self._halves[2 * index >= self._num_frames].copy())

    def frames(self, start: int = 0) -> Generator[Frame, None, None]:
        yield from map(self._frame, range(start, self._num_frames))

    def frames_at(self, indices: Iterable[int]) -> Generator[Frame, None, None]:
        yield from (self._frame(index) for index in sorted(indices) if index < self._num_frames)

    def frames_backward(self, last: int, first: int = 0) -> Generator[Frame, None, None]:
        yield from map(self._frame, range(last, first - 1, -1))

    def count_frames(self, limit: int) -> int:
        return min(limit, self._num_frames)


def peak_bytes(num_frames: int) -> int:
    """Return the most memory that a search of three concepts takes."""
    text = query(concepts=("ball", "hat", "giraffe"))
    model = FakeModel(keeps_record=False)
    tracemalloc.start()
    for masks in segment_video(Long(num_frames), [], model=model, text=text):
        assert len(masks.objects) == 2
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def test_a_thousand_frames_take_the_memory_of_a_hundred() -> None:
    few, many = peak_bytes(100), peak_bytes(1000)
    assert (many - few) / 900 < 0.25 * H * W  # a mask has H * W bytes, and a frame three times that


def test_a_prediction_can_be_cancelled_while_a_detector_runs() -> None:
    running: list[bool] = []

    def look(image: RGBImage) -> list[Detection]:
        running.append(True)
        take_too_long()
        return []

    frames = segment_video(clip([TOP], 5), [], model=FakeModel(), text=query(look))
    with pytest.raises(Cancelled), cancelled_when(lambda: running):
        next(frames)
    frames.close()
    assert worker_threads() == []


def test_a_search_that_is_cancelled_at_any_line_leaves_nothing() -> None:
    late = replace(MIDDLE, seen=(range(4, 1000),))

    def search(tracer: Tracer) -> None:
        prompts = [click(BOTTOM, 3, "ball_1")]
        text = query(interval=3)
        with tracer:
            list(segment_video(clip([TOP, late], 9), prompts, model=FakeModel(), text=text))

    whole = Tracer()
    search(whole)
    before = held_things()
    for point in range(8):
        tracer = Tracer(last=1 + point * whole.num_lines // 8)
        with pytest.raises(Cancelled):
            search(tracer)
        wait_until(lambda: held_things() == before, tracer.place)


def test_the_error_of_a_detector_ends_the_prediction() -> None:
    def fail(image: RGBImage) -> list[Detection]:
        raise PromptError("text_prompt is 'x'; expected something else")

    with pytest.raises(PromptError, match="something else"):
        segment([TOP], text=query(fail))
    assert worker_threads() == []
