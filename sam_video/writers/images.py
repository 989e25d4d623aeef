"""Write masks as one image per frame."""

from functools import partial
from pathlib import Path

from sam_video.errors import RequestError
from sam_video.types import MaskFrame, VideoInfo
from sam_video.writers.pictures import encode_picture, mask_picture, write_files
from sam_video.writers.render import Opacity, render
from sam_video.writers.sink import Step

MAX_IMAGE_SIDE_PX = {"webp": 16383, "jpg": 65500}
"""Largest width or height of the format; png holds any frame."""


class ImageSequenceWriter:
    """Write every frame as `frame_{index:05d}.{webp,jpg,png}`, at the frame's exact size.

    Args:
        folder: An existing folder for the images.
        info: Info of the source.
        mask_type: As in `render`. `binary` has one channel (three equal channels in webp, which has
            no gray images); in png and webp, `binary` and `alpha` are lossless, and `alpha` keeps
            the colours of transparent pixels.
        annotation_type: As in `render`.
        image_format: `webp`, `jpg` or `png`.
        quality: 0 to 100, for jpg and lossy webp.

    Raises:
        RequestError: The frames are too large for the image format.
    """

    def __init__(
        self,
        folder: Path,
        info: VideoInfo,
        *,
        mask_type: str,
        annotation_type: str,
        image_format: str,
        quality: int,
        opacity: Opacity = mask_picture,
    ) -> None:
        limit = MAX_IMAGE_SIDE_PX.get(image_format)
        if limit is not None and max(info.width, info.height) > limit:
            raise RequestError(
                f"output_format is {image_format!r}, which holds at most {limit} pixels a side; "
                f"expected png for frames of {info.width}x{info.height}"
            )
        assert mask_type != "alpha" or image_format != "jpg"  # Request refuses these
        self._folder = folder
        self._mask_type = mask_type
        self._annotation_type = annotation_type
        self._opacity = opacity
        self._image_format = image_format
        self._quality = quality

    def prepare(self, masks: MaskFrame) -> Step:
        """Draw and encode one image."""
        image = render(masks, self._mask_type, self._annotation_type, self._opacity)
        path = self._folder / f"frame_{masks.frame.index:05d}.{self._image_format}"
        data = encode_picture(image, self._image_format, self._quality)
        return partial(write_files, {path: data})

    def finish(self) -> list[Path]:
        """Return nothing: the steps have returned every image."""
        return []

    def close(self) -> None:
        """Do nothing: every image appears complete."""
