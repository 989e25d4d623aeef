"""Clips and prompts for measurements."""

from collections.abc import Sequence
from contextlib import closing
from itertools import cycle, islice
from pathlib import Path

from examples.sample_clip import draw_sample
from sam_video.types import Click, ObjectPrompt, RGBImage


def read_images(path: Path | None, count: int | None) -> list[RGBImage]:
    """Return the first images of a video, or of the project's drawn sample clip.

    Args:
        path: The video; None is the sample clip, which begins again when it ends.
        count: How many; None is all that there are.
    """
    if path is None:
        drawn = [image for image, _ in islice(draw_sample(), count)]
        return list(islice(cycle(drawn), count or len(drawn)))
    from sam_video.video.source import open_video  # noqa: PLC0415 (PyAV, which drawing needs not)

    with closing(open_video(path).frames()) as frames:
        return [frame.image for frame in islice(frames, count)]


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
