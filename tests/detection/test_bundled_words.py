"""What the bundled weights of pocket's own words find, in held-out drawings and the sample clip.

The sample clip is drawn by other code than the scenes of training, and was never trained on.
"""

from functools import cache

import numpy as np
import pytest
import torch

from examples.sample_clip import NUM_FRAMES, draw_frame
from sam_video.checkpoints.catalogue import resolve_checkpoint
from sam_video.detection.interface import Detection
from sam_video.detection.pocket_words import WEIGHTS, PocketWords
from sam_video.detection.vocabulary import NOUNS
from sam_video.types import Box, RGBImage
from training.words.score import held_out_scenes, read_network, score_network


@cache
def detector() -> PocketWords:
    return PocketWords(resolve_checkpoint(WEIGHTS), torch.device("cpu"))


def test_held_out_drawings_are_found_and_absent_nouns_are_not() -> None:
    network = read_network(resolve_checkpoint(WEIGHTS))
    scores = score_network(network, held_out_scenes(60))
    threshold = detector().threshold
    assert scores.mean_average_precision() > 0.7
    assert scores.absent_share(threshold) <= 0.03
    assert scores.colour_share(threshold) > 0.85


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(np.zeros((1, 1, 3), np.uint8), id="one pixel"),
        pytest.param(np.full((300, 400, 3), 255, np.uint8), id="white"),
        pytest.param(
            np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8), id="noise"
        ),
    ],
)
def test_nothing_is_found_in_an_image_of_nothing(image: RGBImage) -> None:
    assert detector().detect(image, NOUNS, detector().threshold) == []


# The sample clip


@cache
def sample(index: int) -> tuple[RGBImage, dict[str, Box]]:
    """Return a frame and the boxes of what is seen of ball and balloon."""
    image, labels = draw_frame(index)
    boxes = {}
    for label, name in enumerate(("ball", "balloon"), start=1):
        rows, columns = np.nonzero(labels == label)
        edges = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        boxes[name] = Box(*map(float, edges))
    return image, boxes


def overlap(box: Box, other: Box) -> float:
    """Return the IoU of two boxes."""
    width = min(box.x1, other.x1) - max(box.x0, other.x0)
    height = min(box.y1, other.y1) - max(box.y0, other.y0)
    inside = max(0.0, width) * max(0.0, height)
    areas = sum((b.x1 - b.x0) * (b.y1 - b.y0) for b in (box, other))
    return inside / (areas - inside)


def detect(index: int, *concepts: str) -> list[Detection]:
    return detector().detect(sample(index)[0], concepts, detector().threshold)


FRAMES = range(0, NUM_FRAMES, 6)


@pytest.mark.parametrize("index", FRAMES)
def test_surest_balloon_of_the_sample_clip_is_its_balloon(index: int) -> None:
    assert overlap(detect(index, "balloon")[0].box, sample(index)[1]["balloon"]) > 0.8


@pytest.mark.parametrize("index", [index for index in FRAMES if index != 30])  # behind the tree
def test_surest_ball_of_the_sample_clip_is_its_ball(index: int) -> None:
    assert overlap(detect(index, "ball")[0].box, sample(index)[1]["ball"]) > 0.75


def test_ball_and_balloon_of_the_first_frame_are_found_once_each() -> None:
    found = {d.concept: d for d in detect(0, "red ball", "balloon")}
    assert len(detect(0, "red ball", "balloon")) == 2
    assert overlap(found["red ball"].box, sample(0)[1]["ball"]) > 0.75
    assert overlap(found["balloon"].box, sample(0)[1]["balloon"]) > 0.75


@pytest.mark.parametrize("index", FRAMES)
def test_ball_of_the_sample_clip_is_not_blue(index: int) -> None:
    assert detect(index, "blue ball") == []


@pytest.mark.parametrize("index", FRAMES)
def test_what_the_sample_clip_does_not_show_is_not_found(index: int) -> None:
    shown = {"ball", "balloon", "tree"}
    assert detect(index, *(noun for noun in NOUNS if noun not in shown)) == []
