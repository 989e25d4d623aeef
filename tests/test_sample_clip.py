"""The drawn sample clip: what its users rely on, which is also what makes it worth tracking."""

import hashlib
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from examples.sample_clip import (
    CLICKS,
    FRAME_RATE,
    HEIGHT,
    NUM_FRAMES,
    OBJECTS,
    WIDTH,
    draw_frame,
    draw_sample,
)

ROOT = Path(__file__).parents[1]
LABELS = range(1, len(OBJECTS) + 1)
Frames = list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]]


@pytest.fixture(scope="module")
def frames() -> Frames:
    return list(draw_sample())


def areas(frames: Frames, name: str) -> npt.NDArray[np.int64]:
    """Return the visible pixels of an object on each frame."""
    label = OBJECTS.index(name) + 1
    return np.array([np.count_nonzero(labels == label) for _, labels in frames])


def test_the_clip_has_its_length_size_and_types(frames: Frames) -> None:
    assert len(frames) == NUM_FRAMES
    for image, labels in frames:
        assert image.shape == (HEIGHT, WIDTH, 3)
        assert labels.shape == (HEIGHT, WIDTH)
        assert image.dtype == labels.dtype == np.uint8


def test_drawing_twice_gives_the_same_pixels(frames: Frames) -> None:
    script = (
        "import hashlib; from examples.sample_clip import draw_frame\n"
        "print(hashlib.sha256(b''.join(part.tobytes() for part in draw_frame(30))).hexdigest())"
    )
    other = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    here = hashlib.sha256(b"".join(part.tobytes() for part in frames[30]))
    assert other.stdout.strip() == here.hexdigest()


def test_a_frame_does_not_depend_on_those_drawn_before(frames: Frames) -> None:
    image, labels = draw_frame(11)
    assert np.array_equal(image, frames[11][0])
    assert np.array_equal(labels, frames[11][1])


def test_every_object_is_on_every_frame_and_nothing_else(frames: Frames) -> None:
    for _, labels in frames:
        assert np.unique(labels).tolist() == [0, *LABELS]


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_are_large(frames: Frames, name: str) -> None:
    _, labels = frames[0]
    columns = np.flatnonzero((labels == OBJECTS.index(name) + 1).any(axis=0))
    assert np.ptp(columns) >= 0.08 * WIDTH


def test_the_tree_hides_a_part_of_the_ball_and_gives_it_back(frames: Frames) -> None:
    visible = areas(frames, "ball") / areas(frames, "ball").max()
    hidden = np.flatnonzero(visible < 0.85)
    assert len(hidden) >= 5
    assert visible.min() < 0.8
    assert visible[0] > 0.95
    assert visible[-1] > 0.95


def test_the_tree_cuts_the_ball_in_two(frames: Frames) -> None:
    middle = min(frames, key=lambda frame: np.count_nonzero(frame[1] == 1))[1]
    columns = np.flatnonzero((middle == 1).any(axis=0))
    assert np.diff(columns).max() > 5


@pytest.mark.parametrize("name", OBJECTS)
def test_motion_is_smooth(frames: Frames, name: str) -> None:
    label = OBJECTS.index(name) + 1
    centres = [np.argwhere(labels == label).mean(axis=0) for _, labels in frames]
    assert np.abs(np.diff(centres, axis=0)).max() < 16


@pytest.mark.parametrize("click", CLICKS, ids=OBJECTS)
def test_each_click_is_deep_inside_its_object(
    frames: Frames, click: tuple[str, int, int, int]
) -> None:
    name, index, x, y = click
    around = frames[index][1][y - 20 : y + 21, x - 20 : x + 21]
    assert around.shape == (41, 41)
    assert (around == OBJECTS.index(name) + 1).all()


def test_the_command_writes_a_small_video_and_its_masks(frames: Frames, tmp_path: Path) -> None:
    clip, masks = tmp_path / "new" / "clip.mp4", tmp_path / "masks"
    script = ROOT / "examples" / "sample_clip.py"
    subprocess.run([sys.executable, script, clip, "--masks", masks], check=True)
    assert clip.stat().st_size < 300_000
    with av.open(clip) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == FRAME_RATE
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(decoded) == NUM_FRAMES
    difference = np.abs(decoded[30].astype(float) - frames[30][0])
    assert difference.mean() < 4
    files = sorted(masks.iterdir())
    assert [file.name for file in files] == [f"{index:05d}.png" for index in range(NUM_FRAMES)]
    image = Image.open(files[30])
    assert image.mode == "P"
    assert np.array_equal(np.asarray(image), frames[30][1])
