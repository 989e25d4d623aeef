"""Accuracy as DAVIS measures it: J, F and J&F of tracked masks against known ones.

J is the intersection over union of a mask, F the F-measure of its boundary, both averaged over the
frames of a sequence but its first and last (Perazzi et al., 2016; Pont-Tuset et al., 2017). Run
`python -m benchmarks.davis --help`.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from sam_video import Box, Click, ObjectPrompt, load_model, segment_video
from sam_video.model.sam2 import SegmentationModel
from sam_video.request import MODEL_NAMES
from sam_video.types import BoolMask

KINDS = ("click", "box", "mask")
_BOUNDARY_TOLERANCE = 0.008
"""Of the frame's diagonal."""

LabelMap = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Score:
    """How good the masks of a sequence are, 0 to 1."""

    j: float
    """Mean intersection over union."""
    f: float
    """Mean F-measure of boundaries."""

    @property
    def jf(self) -> float:
        """The mean of both, DAVIS's one number."""
        return (self.j + self.f) / 2


def jaccard(mask: BoolMask, truth: BoolMask) -> float:
    """Return the intersection over union of two masks; 1 where both are empty."""
    union = int((mask | truth).sum())
    return int((mask & truth).sum()) / union if union else 1.0


def boundary_f(mask: BoolMask, truth: BoolMask) -> float:
    """Return the F-measure of a mask's boundary: pixels within the tolerance count as right.

    Follows `f_measure` of DAVIS's own evaluation code; 1 where both masks are empty.
    """
    ours, theirs = boundary(mask), boundary(truth)
    if not ours.any() or not theirs.any():
        return 1.0 if ours.any() == theirs.any() else 0.0
    radius = int(np.ceil(_BOUNDARY_TOLERANCE * np.hypot(*mask.shape)))
    precision = float((ours & _grow(theirs, radius)).sum() / ours.sum())
    recall = float((theirs & _grow(ours, radius)).sum() / theirs.sum())
    total = precision + recall
    return 2 * precision * recall / total if total else 0.0


def boundary(mask: BoolMask) -> BoolMask:
    """Return the pixels that differ from their neighbour to the right, below or diagonally."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    right, below, diagonal = padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    return np.asarray((mask != right) | (mask != below) | (mask != diagonal))


def _grow(boundary_map: BoolMask, radius: int) -> BoolMask:
    """Dilate by a disk of `radius` pixels."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = (x**2 + y**2 <= radius**2).astype(np.uint8)
    return np.asarray(cv2.dilate(boundary_map.astype(np.uint8), disk) > 0)


def score_masks(masks: Sequence[BoolMask], truths: Sequence[BoolMask]) -> Score:
    """Score one object's masks over a sequence, its first and last frame left out.

    Raises:
        ValueError: The sequences are not equally long, or shorter than three frames.
    """
    if len(masks) != len(truths) or len(masks) < 3:
        raise ValueError(
            f"{len(masks)} masks for {len(truths)} frames; expected as many, and at least 3"
        )
    pairs = list(zip(masks, truths, strict=True))[1:-1]
    return Score(
        j=float(np.mean([jaccard(mask, truth) for mask, truth in pairs])),
        f=float(np.mean([boundary_f(mask, truth) for mask, truth in pairs])),
    )


def mean_score(scores: Sequence[Score]) -> Score:
    """Return the plain mean of scores."""
    return Score(float(np.mean([s.j for s in scores])), float(np.mean([s.f for s in scores])))


def score_sequence(folder: Path, kind: str, model: SegmentationModel) -> Score:
    """Track every object of a sequence from one prompt and return the mean score of the objects.

    Args:
        folder: `video.mp4`, `masks/*.png` with one label per object, and `clicks.json`.
        kind: `click`, `box` or `mask`.
        model: The checkpoint.
    """
    truths = [_read_labels(path) for path in sorted((folder / "masks").glob("*.png"))]
    entries: dict[str, Any] = json.loads((folder / "clicks.json").read_text())
    prompts = [_prompt(name, entry, kind, truths) for name, entry in entries.items()]
    tracked = _track(folder / "video.mp4", prompts, model)
    return mean_score(
        [
            score_masks(masks, [truth == int(name) for truth in truths])
            for name, masks in tracked.items()
        ]
    )


def _read_labels(path: Path) -> LabelMap:
    with Image.open(path) as image:
        return np.asarray(image, dtype=np.uint8)


def _prompt(
    name: str, entry: Mapping[str, Any], kind: str, truths: Sequence[LabelMap]
) -> ObjectPrompt:
    frame_index = entry["frame"]
    if kind == "click":
        return ObjectPrompt(name, frame_index, clicks=(Click(*entry["point"]),))
    if kind == "box":
        return ObjectPrompt(name, frame_index, box=Box(*entry["box"]))
    return ObjectPrompt(name, frame_index, mask=truths[frame_index] == int(name))


def _track(
    video: Path, prompts: Sequence[ObjectPrompt], model: SegmentationModel
) -> dict[str, list[BoolMask]]:
    """Return every object's masks, one per frame; empty ones where it is not tracked."""
    masks: dict[str, list[BoolMask]] = {prompt.object_id: [] for prompt in prompts}
    for tracked in segment_video(video, prompts, model=model):
        found = {item.object_id: item.mask for item in tracked.objects}
        nothing = np.zeros(tracked.frame.image.shape[:2], np.bool_)
        for name, kept in masks.items():
            kept.append(found.get(name, nothing))
    return masks


def score_folder(
    root: Path, kinds: Sequence[str], model: SegmentationModel, names: Sequence[str] = ()
) -> Iterator[tuple[str, str, Score]]:
    """Yield sequence, kind of prompt and score for every sequence under `root`, or for `names`."""
    for folder in sorted(path.parent for path in root.glob("*/clicks.json")):
        if names and folder.name not in names:
            continue
        for kind in kinds:
            yield folder.name, kind, score_sequence(folder, kind, model)


def main() -> None:
    """Score a checkpoint on a folder of sequences and print a table."""
    options = _parser().parse_args()
    model = load_model(options.model, checkpoint=options.checkpoint)
    scores: dict[str, list[Score]] = {kind: [] for kind in options.prompts}
    print(f"{'sequence':20} prompt      J      F    J&F")
    for name, kind, score in score_folder(options.root, options.prompts, model, options.sequences):
        scores[kind].append(score)
        _print_row(name, kind, score)
    for kind, rows in scores.items():
        if rows:
            _print_row("mean", kind, mean_score(rows))


def _print_row(name: str, kind: str, score: Score) -> None:
    print(f"{name:20} {kind:6} {score.j:6.3f} {score.f:6.3f} {score.jf:6.3f}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.davis", description=main.__doc__)
    parser.add_argument("root", type=Path, help="folder of SEQUENCE/video.mp4, masks/, clicks.json")
    parser.add_argument("--prompts", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--sequences", nargs="+", default=(), help="names; by default all")
    parser.add_argument("--model", choices=MODEL_NAMES, default="pocket")
    parser.add_argument("--checkpoint", type=Path, help="in place of the published file")
    return parser


if __name__ == "__main__":
    main()
