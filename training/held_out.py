"""Score a checkpoint on real sequences and composed clips that training never sees.

Checkpoints and settings are chosen by this score. It tracks as users do, and also counts how often
it is right that an object is visible or not. Run `python -m training.held_out --help`.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from benchmarks.davis import jaccard
from sam_video import Box, Click, ObjectPrompt, load_model, segment_video
from sam_video.model.sam2 import SegmentationModel
from sam_video.types import BoolMask, RGBImage
from sam_video.video.frame_list import FrameList
from training.compose import Clip, compose_clip
from training.photos import IGNORE, LabelMap, PhotoLibrary
from training.scenes import compose_scene
from training.videos import HELD_OUT, Video, VideoLibrary

KINDS = ("click", "box", "mask")
_SEED = 20_261_126
_LENGTH = 32
_SIDE = 384
_MIN_SHARE = 0.0025
"""Of the first frame, that an object must cover to be scored."""
_MAX_OBJECTS = 4


@dataclass(slots=True)
class Tally:
    """What was measured of some objects on the frames after the first."""

    ious: list[float] = field(default_factory=list)
    """Where the object can be seen."""
    absent: list[bool] = field(default_factory=list)
    """Where the object is hidden or gone: whether no mask was given."""
    present: list[bool] = field(default_factory=list)
    """Where the object can be seen: whether a mask was given."""
    confidences: list[tuple[float, float]] = field(default_factory=list)
    """Predicted and true IoU of the masks that were given."""

    def add(self, other: "Tally") -> None:
        """Take in what another tally counted."""
        self.ious += other.ious
        self.absent += other.absent
        self.present += other.present
        self.confidences += other.confidences

    def __str__(self) -> str:
        predicted, true = np.array(self.confidences or [(np.nan, np.nan)]).T
        return (
            f"J {_mean(self.ious):.3f}  hidden right {_mean(self.absent):.3f} of "
            f"{len(self.absent)}  visible right {_mean(self.present):.3f}  predicted IoU "
            f"{predicted.mean():.3f} (off by {np.abs(predicted - true).mean():.3f})"
        )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def score_clip(
    images: Sequence[RGBImage],
    labels: Sequence[LabelMap],
    targets: Sequence[int],
    kind: str,
    model: SegmentationModel,
) -> Tally:
    """Track labelled objects from a prompt on the first frame and compare all later frames."""
    prompts = [make_prompt(str(label), labels[0] == label, kind) for label in targets]
    tally = Tally()
    for tracked in segment_video(FrameList(images), prompts, model=model):
        truth = labels[tracked.frame.index]
        if tracked.frame.index == 0:
            continue
        known = truth != IGNORE
        for found in tracked.objects:
            mask, expected = found.mask & known, truth == int(found.object_id)
            if not expected.any():
                tally.absent.append(not found.mask.any())
                continue
            iou = jaccard(mask, expected)
            tally.ious.append(iou)
            tally.present.append(bool(found.mask.any()))
            if found.mask.any():
                tally.confidences.append((found.predicted_iou, iou))
    return tally


def make_prompt(name: str, mask: BoolMask, kind: str) -> ObjectPrompt:
    """Return a click at the deepest point of a mask, its box, or the mask, on the first frame."""
    if kind == "click":
        depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
        row, column = divmod(int(depth.argmax()), depth.shape[1])
        return ObjectPrompt(name, 0, clicks=(Click(column, row),))
    if kind == "box":
        x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
        return ObjectPrompt(name, 0, box=Box(x, y, x + width, y + height))
    return ObjectPrompt(name, 0, mask=mask)


def read_sequence(video: Video) -> tuple[list[RGBImage], list[LabelMap], list[int]]:
    """Read a sequence from its first labelled frame, and its largest objects there."""
    images, labels = zip(*(video.read(i) for i in range(len(video.images))), strict=True)
    first = next(i for i, frame in enumerate(labels) if ((frame > 0) & (frame != IGNORE)).any())
    counts = np.bincount(labels[first].ravel(), minlength=256)[1:IGNORE]
    order = 1 + np.argsort(-counts, kind="stable")[:_MAX_OBJECTS]
    least = _MIN_SHARE * labels[first].size
    targets = [int(label) for label in order if counts[label - 1] >= least]
    return list(images[first:]), list(labels[first:]), targets


def composed_clips(photos: PhotoLibrary | None, count: int) -> Iterator[Clip]:
    """Compose always the same clips, by turns of photos and drawn."""
    for number in range(count):
        compose = compose_scene if number % 2 else compose_clip
        rng = np.random.default_rng([_SEED, number])
        yield compose(rng, photos, length=_LENGTH, size=_SIDE, max_targets=_MAX_OBJECTS)


def main(arguments: list[str] | None = None) -> None:
    """Score a checkpoint on what training never sees, and print a table."""
    options = _parser().parse_args(arguments)
    model = load_model("pocket", checkpoint=options.checkpoint)
    for kind in options.prompts:
        total = Tally()
        for video in VideoLibrary(options.videos, is_held_out=True).videos:
            if options.sequences and video.name not in options.sequences:
                continue
            tally = score_clip(*read_sequence(video), kind, model)
            print(f"{video.name:24} {kind:6} {tally}", flush=True)
            total.add(tally)
        print(f"{'all sequences':24} {kind:6} {total}", flush=True)
        photos = PhotoLibrary(*options.photos, is_held_out=True) if options.photos else None
        total = Tally()
        for clip in composed_clips(photos, options.clips):
            total.add(score_clip(list(clip.images), list(clip.labels), clip.targets, kind, model))
        print(f"{'composed clips':24} {kind:6} {total}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.held_out", description=main.__doc__)
    parser.add_argument("--videos", type=Path, required=True, help="as of training.train")
    parser.add_argument("--photos", type=Path, nargs="+", help="as of training.train")
    parser.add_argument("--checkpoint", type=Path, help="in place of the published file")
    parser.add_argument("--sequences", nargs="+", choices=HELD_OUT, help="names; by default all")
    parser.add_argument("--prompts", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--clips", type=int, default=24, help="composed clips to score")
    return parser


if __name__ == "__main__":
    main()
