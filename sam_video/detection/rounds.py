"""When a detector looks at a video, and what the tracker is told then."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Self

from sam_video import rle
from sam_video.detection.association import OTHER, Association, Found
from sam_video.detection.cuts import CutDetector
from sam_video.detection.interface import Detection
from sam_video.detection.query import TextQuery
from sam_video.types import BoolMask, Box, Changes, Click, Frame, ObjectMask, RGBImage
from sam_video.workers.threads import Future, OrderedThreads

LOOK_AGAIN_AFTER = 2, 5
"""Frames after a birth, so that a false one is soon found out."""
MOST_DETECTIONS = 300
"""Of one frame, the surest: each costs a run of the mask decoder."""
BOXES_AT_A_TIME = 16
"""Boxes whose masks, which are as large as the frame, are in memory together."""

Segment = Callable[[Sequence[Box]], list[BoolMask]]
"""Gives the masks `(H, W)` of boxes on the frame."""


class Rounds:
    """Looks for the instances of concepts while a tracker goes through a video.

    It is what the tracker calls a discovery. The detector looks at the first frame, every
    `query.interval` frames, after shot cuts, and soon after it has found something new. A context
    manager: leaving it ends the thread in which the detector runs beside the tracker.

    Args:
        query: What to look for.
        given: Names of the objects that prompts alone make.
        exclusions: Negative clicks on instances of concepts, by frame index.
    """

    def __init__(
        self,
        query: TextQuery,
        given: Collection[str] = (),
        exclusions: Mapping[int, Sequence[tuple[str, Click]]] | None = None,
    ) -> None:
        self.association = Association(query, given)
        """What has been found."""
        self._query = query
        self._exclusions = exclusions or {}
        self._thread = OrderedThreads(1)
        self._cuts = CutDetector()
        self._first: int | None = None
        self._decided = -1
        self._due: set[int] = set()
        self._detections: Future[list[Detection]] | None = None

    def __enter__(self) -> Self:
        self._thread.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._thread.__exit__(*exception)

    @property
    def is_over(self) -> bool:
        """Whether nothing comes or goes on any later frame."""
        last = max(self._exclusions, default=0)
        return not self._query.interval and self._decided >= max(last, self._first or 0)

    def observe(self, frame: Frame) -> bool:
        """Take the next frame, and begin to look at it where a round is due."""
        if self._is_round(frame):
            words = (*self._query.concepts, *self._query.negative_concepts)
            detect = partial(
                self._query.detector.detect, frame.image, words, self._query.keep_threshold
            )
            self._detections = self._thread.submit(0, detect)
        return self._detections is not None or frame.index in self._exclusions

    def _is_round(self, frame: Frame) -> bool:
        if self._first is None:
            self._first = frame.index
        if not self._query.interval:
            return frame.index == self._first
        is_cut = self._cuts.is_cut(frame.image)
        is_regular = (frame.index - self._first) % self._query.interval == 0
        return is_cut or is_regular or frame.index in self._due

    def decide(self, frame: Frame, tracked: Sequence[ObjectMask], segment: Segment) -> Changes:
        """Return which objects come and go on a frame."""
        masks = {item.object_id: item.mask for item in tracked}
        self._decided = frame.index
        changes = Changes()
        if self._detections is not None:
            detections, self._detections = self._detections.result(), None
            found = _distinct(_found(detections, frame.image, segment))
            visible = {name: rle.encode(mask) for name, mask in masks.items() if mask.any()}
            changes = self.association.decide(frame.index, visible, found)
        if changes.births:
            self._due |= {frame.index + later for later in LOOK_AGAIN_AFTER}
        if clicks := self._exclusions.get(frame.index):
            born = [self.association.instances[prompt.object_id] for prompt in changes.births]
            self.association.exclude(masks | {i.key: rle.decode(i.mask) for i in born}, clicks)
        return changes


def _found(detections: Sequence[Detection], image: RGBImage, segment: Segment) -> list[Found]:
    """Return the surest detections with their masks, without those that show nothing."""
    surest = sorted(detections, key=lambda detection: -detection.score)[:MOST_DETECTIONS]
    boxed = [(item, box) for item in surest if (box := _clipped(item.box, image)) is not None]
    meant = _masks_in([box for item, box in boxed if item.mask is None], segment)
    masks = [next(meant) if item.mask is None else rle.encode(item.mask) for item, _ in boxed]
    return [
        Found(item.concept, item.score, box, mask, item.mask is not None)
        for (item, box), mask in zip(boxed, masks, strict=True)
        if rle.area(mask)
    ]


def _masks_in(boxes: Sequence[Box], segment: Segment) -> Iterator[rle.CocoRle]:
    """Yield the masks of boxes; only a few of them are in memory uncompressed."""
    for start in range(0, len(boxes), BOXES_AT_A_TIME):
        yield from map(rle.encode, segment(boxes[start : start + BOXES_AT_A_TIME]))


def _clipped(box: Box, image: RGBImage) -> Box | None:
    """Return the part of a box that is inside an image; None if that is less than a pixel wide."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = max(0, box.x0), max(0, box.y0), min(box.x1, width), min(box.y1, height)
    return Box(x0, y0, x1, y1) if min(x1 - x0, y1 - y0) >= 1 else None


def _distinct(found: Sequence[Found]) -> list[Found]:
    """Return detections without those that overlap a surer one of their concept."""
    masks = [item.mask for item in found]
    ious = rle.ious(masks, masks)
    kept: list[int] = []
    for row, item in enumerate(found):
        same = [i for i in kept if found[i].concept == item.concept]
        if not (ious[row, same] >= OTHER).any():
            kept.append(row)
    return [found[row] for row in kept]
