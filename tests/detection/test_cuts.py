"""Shot cuts, and what is none."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import pytest

from sam_video.detection.cuts import CutDetector
from sam_video.types import RGBImage

SIZE = (192, 108)


def scene(seed: int, width: int = SIZE[0]) -> RGBImage:
    """Draw a landscape: a sky, the ground, and things of many sizes."""
    generator = np.random.default_rng(seed)
    H = SIZE[1]
    image = np.empty((H, width, 3), np.uint8)
    image[:] = generator.integers(0, 256, 3)
    image[H // 2 + int(generator.integers(-20, 20)) :] = generator.integers(0, 256, 3)
    for _ in range(width // 4):
        centre = int(generator.integers(0, width)), int(generator.integers(0, H))
        radius = int(generator.integers(4, 30))
        cv2.circle(image, centre, radius, generator.integers(0, 256, 3).tolist(), -1)
    return image


def still(seed: int, num_frames: int) -> list[RGBImage]:
    return [scene(seed)] * num_frames


def pan(pixels: int) -> list[RGBImage]:
    """Move over a wide scene, so many pixels from frame to frame."""
    wide = scene(5, width=SIZE[0] + 20 * pixels)
    return [wide[:, pixels * n : pixels * n + SIZE[0]].copy() for n in range(20)]


def zoom() -> list[RGBImage]:
    wide = scene(6)
    crops = [wide[n : SIZE[1] - n, 2 * n : SIZE[0] - 2 * n] for n in range(20)]
    return [cv2.resize(crop, SIZE).astype(np.uint8) for crop in crops]


def flash(num_frames: int, gain: float) -> list[RGBImage]:
    bright = (scene(1) * gain + 60 * (gain - 1)).clip(0, 255).astype(np.uint8)
    return [*still(1, 6), *[bright] * num_frames, *still(1, 6)]


def white_flash() -> list[RGBImage]:
    return [*still(1, 6), *[np.full_like(scene(1), 255)] * 2, *still(1, 6)]


def noise(deviation: float) -> list[RGBImage]:
    generator = np.random.default_rng(0)
    clean = scene(2).astype(float)
    noisy = [clean + generator.normal(0, deviation, clean.shape) for _ in range(12)]
    return [image.clip(0, 255).astype(np.uint8) for image in noisy]


def dark_noise() -> list[RGBImage]:
    generator = np.random.default_rng(0)
    shape = (SIZE[1], SIZE[0], 3)
    return [generator.integers(0, 12, shape).astype(np.uint8) for _ in range(12)]


def fade() -> list[RGBImage]:
    shares = np.linspace(0, 1, 25)
    mixed = [scene(1) * (1 - share) + scene(2) * share for share in shares]
    return [image.astype(np.uint8) for image in mixed]


def large_object() -> list[RGBImage]:
    """Something a third of the frame wide that crosses it quickly."""
    images = []
    for n in range(16):
        image = scene(3).copy()
        image[20:90, 15 * n : 15 * n + 60] = (250, 240, 20)
        images.append(image)
    return images


def cuts(images: Sequence[RGBImage]) -> list[int]:
    """Return the frames for which a cut is told."""
    detector = CutDetector()
    return [index for index, image in enumerate(images) if detector.is_cut(image)]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: still(1, 10),
        lambda: pan(4),
        lambda: pan(16),
        zoom,
        lambda: flash(2, 1.6),
        lambda: flash(1, 3.0),
        lambda: flash(5, 1.3),
        white_flash,
        lambda: noise(20),
        lambda: noise(60),
        dark_noise,
        fade,
        large_object,
    ],
    ids=[
        "still",
        "slow pan",
        "fast pan",
        "zoom",
        "flash",
        "flash that saturates",
        "longer flash",
        "white frames",
        "noise",
        "strong noise",
        "noise in the dark",
        "cross-fade",
        "large object",
    ],
)
def test_what_is_no_cut(draw: Callable[[], list[RGBImage]]) -> None:
    assert cuts(draw()) == []


@pytest.mark.parametrize("seed", range(2, 12))
def test_a_cut_is_told_two_frames_after_it(seed: int) -> None:
    assert cuts([*still(1, 7), *still(seed, 7)]) == [9]


def test_every_one_of_many_cuts_is_told() -> None:
    images = [image for seed in range(1, 6) for image in still(seed, 5)]
    assert cuts(images) == [7, 12, 17, 22]


def test_a_cut_to_black_and_one_from_it_are_told() -> None:
    black = [np.zeros_like(scene(1))] * 6
    assert cuts([*still(1, 6), *black, *still(2, 6)]) == [8, 14]


def test_cuts_do_not_depend_on_the_size_of_the_frames() -> None:
    images = [*still(1, 7), *still(4, 7)]
    large = [cv2.resize(image, (1280, 720)).astype(np.uint8) for image in images]
    assert cuts(large) == cuts(images)


def test_frames_of_a_few_pixels_are_taken() -> None:
    assert cuts([np.zeros((1, 2, 3), np.uint8)] * 5) == []
