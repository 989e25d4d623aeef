"""Clips and prompts for measurements."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from examples.sample_clip import draw_sample
from sam_video.types import Click, ObjectPrompt, RGBImage
from sam_video.video import open_video


def read_images(path: Path | None, count: int) -> list[RGBImage]:
    """Return the first images of a video, or of the project's drawn sample clip."""
    if path is None:
        return [image for image, _ in islice(draw_sample(), count)]
    frames = open_video(path).frames()
    images = [frame.image for frame in islice(frames, count)]
    frames.close()
    return images


def clicked_objects(width: int, height: int, count: int) -> Sequence[ObjectPrompt]:
    """Click one object into each of `count` places, spread over the first frame."""
    columns = int(count**0.5 + 0.999)
    places = [(index % columns, index // columns) for index in range(count)]
    return [
        ObjectPrompt(
            f"object_{index + 1}",
            0,
            (Click((x + 0.5) * width / columns, (y + 0.5) * height / columns),),
        )
        for index, (x, y) in enumerate(places)
    ]
