"""When a detector looks at a video."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from sam_video.detection.interface import Detection
from sam_video.detection.query import TextQuery
from sam_video.detection.rounds import BOXES_AT_A_TIME, MOST_DETECTIONS, Rounds
from sam_video.types import BoolMask, Box, Changes, Click, Frame, ObjectMask, RGBImage
from tests.detection.scripted import ScriptedDetector
from tests.detection.test_cuts import scene

IMAGE = scene(1)
H, W = IMAGE.shape[:2]


def boxed(boxes: Sequence[Box]) -> list[BoolMask]:
    """Return masks that fill boxes."""
    masks = [np.zeros((H, W), dtype=bool) for _ in boxes]
    for mask, box in zip(masks, boxes, strict=True):
        mask[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)] = True
    return masks


class Video:
    """Takes frames through rounds; objects stay where they are found.

    Args:
        detections: What the detector finds on every frame, or by frame index.
        fields: Of the query.
    """

    def __init__(
        self,
        detections: Sequence[Detection] | dict[int, Sequence[Detection]] = (),
        exclusions: dict[int, list[tuple[str, Click]]] | None = None,
        **fields: Any,
    ) -> None:
        self.detector = ScriptedDetector(self._script)
        query = TextQuery(self.detector, ("ball",), **fields)
        self.rounds = Rounds(query, exclusions=exclusions)
        self.seen: list[int] = []
        """The frames that the detector has looked at."""
        self.changes: dict[int, Changes] = {}
        self.asked: list[int] = []
        """Boxes of each call for masks."""
        self._detections = detections
        self._masks: dict[str, BoolMask] = {}
        self._index = -1

    def _script(self, image: RGBImage) -> Sequence[Detection]:
        self.seen.append(self._index)
        if isinstance(self._detections, dict):
            return self._detections.get(self._index, ())
        return self._detections

    def run(self, images: Sequence[RGBImage], first: int = 0) -> "Video":
        with self.rounds as rounds:
            for self._index, image in enumerate(images, first):
                frame = Frame(self._index, 0.0, image)
                if rounds.observe(frame):
                    self._decide(frame)
                if rounds.is_over:
                    break
        return self

    def _segment(self, boxes: Sequence[Box]) -> list[BoolMask]:
        self.asked.append(len(boxes))
        return boxed(boxes)

    def _decide(self, frame: Frame) -> None:
        tracked = [ObjectMask(name, 0, mask, 1.0, 1.0) for name, mask in self._masks.items()]
        changes = self.rounds.decide(frame, tracked, self._segment)
        self.changes[frame.index] = changes
        for name in changes.removals:
            del self._masks[name]
        boxes = [self.rounds.association.instances[p.object_id].box for p in changes.births]
        names = [prompt.object_id for prompt in changes.births]
        self._masks |= zip(names, boxed(boxes), strict=True)


def ball(left: float, score: float = 0.9, mask: BoolMask | None = None) -> Detection:
    return Detection("ball", score, Box(left, 10, left + 20, 30), mask)


@pytest.mark.parametrize(
    ("interval", "seen"),
    [(10, [0, 10, 20]), (4, [0, 4, 8, 12, 16, 20, 24]), (1, list(range(25))), (0, [0])],
)
def test_the_detector_looks_at_every_nth_frame(interval: int, seen: list[int]) -> None:
    assert Video(interval=interval).run([IMAGE] * 25).seen == seen


def test_frames_count_from_the_first_one_that_comes() -> None:
    assert Video(interval=10).run([IMAGE] * 25, first=7).seen == [7, 17, 27]


def test_the_detector_looks_again_two_and_five_frames_after_a_birth() -> None:
    video = Video({13: [ball(0)], 10: (), 0: [ball(50)]}, interval=13)
    assert video.run([IMAGE] * 25).seen == [0, 2, 5, 13, 15, 18]


def test_a_false_alarm_is_gone_five_frames_later() -> None:
    video = Video({10: [ball(0)]}).run([IMAGE] * 30)
    assert [len(video.changes[n].births) for n in (0, 10, 12, 15)] == [0, 1, 0, 0]
    assert [len(video.changes[n].removals) for n in (12, 15)] == [0, 1]
    assert list(video.rounds.association.believed()) == []


def test_the_detector_looks_at_a_new_shot() -> None:
    video = Video(interval=20).run([*[scene(1)] * 7, *[scene(2)] * 7])
    assert video.seen == [0, 9]


def test_on_the_first_frame_alone_there_are_neither_cuts_nor_second_looks() -> None:
    video = Video([ball(0)], interval=0).run([*[scene(1)] * 7, *[scene(2)] * 7])
    assert video.seen == [0]
    assert [item.concept for item in video.rounds.association.believed()] == ["ball"]


def test_masks_are_kept_and_boxes_are_turned_into_masks() -> None:
    (given,) = boxed([Box(0, 10, 8, 30)])
    video = Video([ball(0, mask=given), ball(50)]).run([IMAGE])
    first, second = video.changes[0].births
    assert first.mask is not None
    assert (first.mask == given).all()
    assert second.box == Box(50, 10, 70, 30)


def test_of_detections_that_overlap_the_surest_is_kept() -> None:
    video = Video([ball(12, 0.6), ball(0, 0.9), ball(19, 0.7)]).run([IMAGE])
    assert [prompt.box for prompt in video.changes[0].births] == [
        Box(0, 10, 20, 30),
        Box(19, 10, 39, 30),
    ]


def test_boxes_are_clipped_and_those_outside_or_too_thin_are_left_out() -> None:
    odd = [
        Detection("ball", 0.9, Box(-10, -5, 20, 30)),
        Detection("ball", 0.8, Box(W + 5, 0, W + 50, 30)),
        Detection("ball", 0.7, Box(50, 10, 50.5, 30)),
        Detection("ball", 0.6, Box(60, 10, 70, 30), np.zeros((H, W), dtype=bool)),
    ]
    video = Video(odd).run([IMAGE])
    assert [prompt.box for prompt in video.changes[0].births] == [Box(0, 0, 20, 30)]


def test_the_number_of_detections_of_a_frame_has_a_limit() -> None:
    many = [Detection("ball", 0.6, Box(n, 0, n + 1, 1)) for n in range(W)]
    many += [Detection("ball", 0.7, Box(n, 4, n + 1, 5)) for n in range(W)]
    video = Video(many).run([IMAGE])
    births = video.changes[0].births
    assert len(births) == MOST_DETECTIONS
    assert max(video.asked) == BOXES_AT_A_TIME
    assert sum(prompt.box.y0 == 4 for prompt in births if prompt.box) == W


def test_clicks_exclude_instances_also_on_frames_without_a_round() -> None:
    exclusions = {3: [("ball", Click(10, 20, 0))], 0: [("ball", Click(60, 20, 0))]}
    video = Video([ball(0), ball(50), ball(100)], exclusions).run([IMAGE] * 12)
    left = [item.box.x0 for item in video.rounds.association.believed()]
    assert left == [100]
    assert 3 not in video.seen


def test_a_search_of_the_first_frame_goes_on_to_the_last_click_that_excludes() -> None:
    exclusions = {3: [("ball", Click(10, 20, 0))]}
    video = Video([ball(0), ball(50)], exclusions, interval=0).run([IMAGE] * 12)
    assert [item.box.x0 for item in video.rounds.association.believed()] == [50]
    assert (video.seen, max(video.changes)) == ([0], 3)


def test_the_error_of_a_detector_is_raised_where_its_result_is_needed() -> None:
    def fail(image: RGBImage) -> Sequence[Detection]:
        raise RuntimeError("no more")

    rounds = Rounds(TextQuery(ScriptedDetector(fail), ("ball",)))
    with rounds, pytest.raises(RuntimeError, match="no more"):
        assert rounds.observe(Frame(0, 0.0, IMAGE))
        rounds.decide(Frame(0, 0.0, IMAGE), (), boxed)


def test_all_words_are_looked_for_at_once() -> None:
    video = Video(negative_concepts=("hat",)).run([IMAGE])
    assert video.detector.calls == [("ball", "hat")]
