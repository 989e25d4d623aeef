"""Draw the sample clip: a ball bounces across a meadow, behind a tree; a balloon drifts by.

    python examples/sample_clip.py clip.mp4 --masks clip_masks

Every pixel is computed here, so that the clip and its masks are the project's own. The landscape is
a stack of layers that the camera passes at different speeds. Ball, balloon and tree are drawn
enlarged, lit as solids, reduced and pasted.
"""

import argparse
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

WIDTH, HEIGHT = 640, 360
NUM_FRAMES = 72
FRAME_RATE = 24
OBJECTS = ("ball", "balloon")
"""Names of the objects; their labels are 1 and 2, and 0 is everything else."""


class SampleClick(NamedTuple):
    """A point of an object, in pixels."""

    object_id: str
    frame_index: int
    x: int
    y: int


CLICKS = (SampleClick("ball", 0, 57, 215), SampleClick("balloon", 0, 489, 91))
"""One click for each object, enough to track it."""

PAN_PX = 1.2  # of the meadow, per frame; what is farther away passes more slowly
PANORAMA = WIDTH + 120
HORIZON = 196
GROUND = 326  # where the ball touches it
BALL_RADIUS = 46
BOUNCES = (26, 21, 18, 15, 13)  # frames from one touch of the ground to the next
ENLARGED = 4
LIGHT = np.array([-0.50, -0.62, 0.60], np.float32)  # to the sun: right, down, towards the camera
PALETTE = (0, 0, 0, 220, 40, 40, 250, 160, 40)

Pixels = npt.NDArray[np.uint8]
Array = npt.NDArray[Any]


def draw_sample() -> Iterator[tuple[Pixels, Pixels]]:
    """Yield the frames in order: `(H, W, 3)` uint8 RGB and `(H, W)` uint8 labels of the objects."""
    for index in range(NUM_FRAMES):
        yield draw_frame(index)


def draw_frame(index: int) -> tuple[Pixels, Pixels]:
    """Draw one frame and its labels, from the back to the front."""
    picture: Array = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pan = PAN_PX * index
    for backdrop, speed in ((sky(), 0.06), (far_hills(), 0.15), (woods(), 0.35), (meadow(), 1.0)):
        paste(picture, backdrop, PANORAMA / 2 - pan * speed, HEIGHT / 2)
    labels[paste(picture, balloon(), 490 - 0.5 * index, 108 - 0.2 * index) > 0.5] = 2
    x, y = ball_position(index)
    cast_shadow(picture, x, GROUND - BALL_RADIUS - y)
    labels[paste(picture, ball(0.16 * index), x, y) > 0.5] = 1
    labels[paste(picture, tree(), 335 - 1.15 * pan, HEIGHT / 2) > 0.5] = 0
    picture = cv2.GaussianBlur(picture, (0, 0), 0.6)  # as a lens would
    return (np.clip(picture, 0, 1) * 255).round().astype(np.uint8), labels


def ball_position(index: int) -> tuple[float, float]:
    """Return the ball's centre: it flies in parabolas, each shorter and lower than the last."""
    time = index + 16.0
    for duration in BOUNCES:
        if time < duration:
            break
        time -= duration
    return 58 + 7.4 * index, GROUND - BALL_RADIUS - 0.42 * time * (duration - time)


def paste(picture: Array, drawn: Array, x: float, y: float) -> Array:
    """Draw a layer with its centre at `x`, `y` and return its opacity there, `(H, W)`."""
    height, width = drawn.shape[:2]
    shift = np.array([[1, 0, x - width / 2], [0, 1, y - height / 2]], np.float32)
    moved = cv2.warpAffine(drawn, shift, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
    picture *= 1 - moved[..., 3:]
    picture += moved[..., :3]
    opacity: Array = moved[..., 3]
    return opacity


def cast_shadow(picture: Array, x: float, height: float) -> None:
    """Darken the ground below the ball; the higher it flies, the wider and fainter."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    across = (columns - x - 8 - 0.5 * height) / (36 + 0.1 * height)
    distance = np.hypot(across, (rows - GROUND - 1) / 9)
    picture *= (1 - (0.5 - height / 300) * np.exp(-(distance**3)))[..., None]


# The landscape: layers (H, PANORAMA, 4) of RGB, multiplied by the opacity, and opacity


def noise(shape: tuple[int, int], cell: tuple[float, float], seed: int, octaves: int = 4) -> Array:
    """Return fractal noise of deviation 1 whose largest features are `cell` pixels (h, w)."""
    rng = np.random.default_rng(seed)
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        size = [max(2, round(s / c * 2**octave)) + 1 for s, c in zip(shape, cell, strict=True)]
        values = rng.standard_normal(size).astype(np.float32)
        total += cv2.resize(values, shape[::-1], interpolation=cv2.INTER_CUBIC) / 2**octave
    normalised: Array = (total - total.mean()) / total.std()
    return normalised


def rgb(red: int, green: int, blue: int) -> Array:
    return np.array([red, green, blue], np.float32) / 255


def mix(a: Array, b: Array, share: Array) -> Array:
    mixed: Array = a + (b - a) * np.clip(share, 0, 1)[..., None]
    return mixed


def layer(colours: Array, opacity: Array) -> Array:
    opacity = np.clip(opacity, 0, 1)[..., None]
    return np.concatenate([colours * opacity, opacity], axis=2).astype(np.float32)


def rows() -> Array:
    """Return the number of each row, `(H, PANORAMA)`."""
    return np.repeat(np.arange(HEIGHT, dtype=np.float32)[:, None], PANORAMA, axis=1)


@cache
def sky() -> Array:
    blue = mix(rgb(70, 128, 196), rgb(206, 224, 236), (rows() / HORIZON) ** 1.3)
    clouds = noise((HEIGHT, PANORAMA), (60, 170), seed=3, octaves=6)
    white = mix(rgb(206, 214, 226), rgb(252, 250, 246), clouds * 0.4 + 0.2)
    return layer(mix(blue, white, (clouds - 0.35) * 0.8), np.ones_like(clouds))


@cache
def far_hills() -> Array:
    crest = HORIZON - 26 - 9 * noise((1, PANORAMA), (1, 230), seed=11)
    texture = noise((HEIGHT, PANORAMA), (14, 26), seed=12)
    return layer(rgb(128, 156, 182) * (1 + 0.03 * texture[..., None]), rows() - crest)


@cache
def woods() -> Array:
    crest = HORIZON - 8 - 6 * noise((1, PANORAMA), (1, 160), seed=21)
    crest = crest - 1.2 * noise((1, PANORAMA), (1, 12), seed=23)
    texture = noise((HEIGHT, PANORAMA), (14, 26), seed=22)
    return layer(rgb(74, 108, 84) * (1 + 0.19 * texture[..., None]), rows() - crest)


@cache
def meadow() -> Array:
    shape = (HEIGHT, PANORAMA)
    depth = rows() - HORIZON - 3 * noise((1, PANORAMA), (1, 200), seed=30, octaves=3)
    nearness = np.clip(depth / (HEIGHT - HORIZON), 0, 1)
    colours = mix(rgb(136, 160, 84), rgb(70, 112, 42), nearness**0.7)
    grain = 0.10 * noise(shape, (24, 120), seed=31)
    for cell, place in ((3, 0.0), (5, 0.4), (9, 0.9)):  # grass looks coarser from nearby
        blades = noise(shape, (cell, cell * 1.4), seed=32 + cell, octaves=2)
        grain += 0.09 * blades * np.exp(-(((nearness - place) / 0.28) ** 2))
    colours = colours * (1 + grain[..., None])
    flowers = noise(shape, (4, 5), seed=40, octaves=1) * (0.35 + nearness) > 3.1
    petals = cv2.GaussianBlur(flowers.astype(np.float32), (0, 0), 0.8)
    return layer(mix(colours, rgb(250, 240, 190), petals * 1.6), depth)


# Solids: drawn on an enlarged canvas, whose x and y are the clip's pixels from its centre


def canvas(width: int, height: int) -> tuple[Array, Array]:
    y, x = np.mgrid[: height * ENLARGED, : width * ENLARGED].astype(np.float32)
    return (x + 0.5) / ENLARGED - width / 2, (y + 0.5) / ENLARGED - height / 2


def bulge(half: Array | float, x: Array) -> Array:
    """Return how far a solid of revolution stands out, which is `half` wide on each side of 0."""
    depth: Array = np.sqrt(np.clip(half**2 - x**2, 0, None))
    return depth


def lit(shape: npt.NDArray[np.bool_], colours: Array, relief: Array) -> Array:
    """Light a solid by sun and sky and reduce it to its size in the clip.

    Args:
        shape: Where it is, enlarged.
        colours: RGB, enlarged.
        relief: How far the surface stands out, in the clip's pixels, enlarged.
    """
    relief = cv2.GaussianBlur(relief.astype(np.float32), (0, 0), ENLARGED) * ENLARGED
    slopes = [cv2.Sobel(relief, cv2.CV_32F, dx, 1 - dx, scale=0.125) for dx in (1, 0)]
    normals = np.stack([-slopes[0], -slopes[1], np.ones_like(relief)], axis=2)
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    from_sun = np.clip(normals @ (LIGHT / np.linalg.norm(LIGHT)), 0, 1)
    from_sky = 0.5 - 0.5 * normals[..., 1]
    light = 0.36 + 0.24 * from_sky + 0.58 * from_sun
    drawn = layer(np.clip(colours * light[..., None], 0, 1), shape)
    return cv2.resize(drawn, None, fx=1 / ENLARGED, fy=1 / ENLARGED, interpolation=cv2.INTER_AREA)


def ball(angle: float) -> Array:
    x, y = canvas(100, 100)
    u = (x * np.cos(angle) + y * np.sin(angle)) / BALL_RADIUS
    v = (y * np.cos(angle) - x * np.sin(angle)) / BALL_RADIUS
    seams = np.minimum(np.abs(v + 0.25 * (1 - u * u)), np.abs(u - 0.35 * (1 - v * v)))
    colours = mix(rgb(150, 16, 18), rgb(222, 38, 34), (seams - 0.012) / 0.03)
    gloss = np.exp(-((x + 13) ** 2 + (y + 16) ** 2) / 60)
    colours = mix(colours, rgb(255, 255, 255), 0.45 * gloss)
    radius = np.hypot(x, y)
    return lit(radius < BALL_RADIUS, colours, bulge(BALL_RADIUS, radius))


@cache
def balloon() -> Array:
    x, y = canvas(150, 184)
    along = np.clip((y + 86) / 140, 0, 1)  # 0 at the crown, 1 at the mouth
    dome = 66 * np.sqrt(np.clip(1 - (1 - along / 0.45) ** 2, 0, 1))
    taper = 66 - 50 * np.clip((along - 0.45) / 0.55, 0, 1) ** 1.8
    half = np.where(along < 0.45, dome, taper)
    envelope = (np.abs(x) < half) & (y > -86) & (y < 54)
    gores = np.arcsin(np.clip(x / np.maximum(half, 1), -1, 1)) / np.pi * 9
    colours = mix(rgb(240, 116, 20), rgb(252, 170, 40), np.cos(gores * np.pi) * 2 + 0.5)
    colours = mix(colours, rgb(200, 44, 30), np.exp(-(((along - 0.52) / 0.06) ** 4)))
    basket = (np.abs(x) < 13) & (y > 62) & (y < 80)
    ropes = (np.abs(np.abs(x) - 12) < 1.2) & (y >= 54) & (y <= 62)
    weave = 0.85 + 0.15 * np.sign(np.sin(2 * x) * np.sin(2 * y))
    colours = np.where(envelope[..., None], colours, rgb(158, 106, 60) * weave[..., None])
    folds = bulge(half, x) + 2.5 * np.abs(np.cos(gores * np.pi / 2))
    return lit(envelope | basket | ropes, colours, np.where(envelope, folds, bulge(16, x)))


@cache
def tree() -> Array:
    """Draw the foreground: a trunk, and leaves that hang into the picture."""
    x, y = canvas(400, HEIGHT)
    half = 8 + 12 * np.exp((y - 190) / 30) + 1.2 * noise((y.shape[0], 1), (260, 1), seed=51)
    bark = noise(x.shape, (260, 14), seed=52, octaves=5)
    brown = mix(rgb(74, 56, 42), rgb(134, 110, 86), bark * 0.3 + 0.5)
    across = x - 0.04 * y
    trunk = lit(np.abs(across) < half, brown, bulge(half, across) + 0.6 * bark)
    tufts = noise(x.shape, (36, 36), seed=62)
    green = mix(rgb(36, 60, 22), rgb(122, 150, 50), tufts * 0.3 + 0.45)
    edge = 30 - 0.0013 * x**2 + 9 * noise(x.shape, (70, 90), seed=61, octaves=5)
    leaves = cv2.GaussianBlur(lit(y + HEIGHT / 2 < edge, green, 3 * tufts), (0, 0), 0.8)
    return trunk * (1 - leaves[..., 3:]) + leaves


# Files


def write_video(path: Path, images: Iterable[Pixels]) -> None:
    """Encode the clip as H.264 that plays in a browser."""
    import av  # noqa: PLC0415 (drawing alone does without)

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=FRAME_RATE, options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def write_masks(folder: Path, masks: Iterable[Pixels]) -> None:
    """Write the labels as palette images `00000.png`, …"""
    folder.mkdir(parents=True, exist_ok=True)
    for index, labels in enumerate(masks):
        picture = Image.fromarray(labels).convert("P")
        picture.putpalette(PALETTE)
        picture.save(folder / f"{index:05d}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the sample clip.")
    parser.add_argument("clip", type=Path, help="mp4 file to write")
    parser.add_argument("--masks", type=Path, metavar="FOLDER", help="also write the masks here")
    arguments = parser.parse_args()
    images, masks = zip(*draw_sample(), strict=True)
    write_video(arguments.clip, images)
    if arguments.masks:
        write_masks(arguments.masks, masks)


if __name__ == "__main__":
    main()
