"""Write the source with the objects as its alpha channel, for video editors.

`cutout.mov` is ProRes 4444, `cutouts.zip` one PNG per frame; the colours are not multiplied by
alpha. Both hold all objects together, or each apart.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from sam_video.errors import RequestError
from sam_video.types import MaskFrame, VideoInfo
from sam_video.writers.atomic_zip import AtomicZip
from sam_video.writers.filenames import FileNames
from sam_video.writers.pictures import encode_picture, mask_picture
from sam_video.writers.render import Opacity, RGBAImage, alpha
from sam_video.writers.sink import Step
from sam_video.writers.video_encoder import VideoEncoder
from sam_video.writers.video_forms import PRORES_4444

MOST_VIDEOS = 16
"""Videos that are written at the same time, each by a program of its own."""


class ProResWriter:
    """Write all frames as `cutout.mov`, or as `cutout_{object_id}.mov` for each object.

    A frame without an object is transparent there. An object's video has all frames from the start.

    Args:
        folder: An existing folder for the videos.
        info: Size, pixel aspect and frame rate of the source.
        names: The objects to write apart; none writes them together.
        opacity: As for `alpha`.

    Raises:
        RequestError: There are more objects than videos can be written at the same time.
        VideoError: The frames are too large, or there is no ffmpeg program.
    """

    def __init__(
        self,
        folder: Path,
        info: VideoInfo,
        names: Sequence[str] = (),
        opacity: Opacity = mask_picture,
    ) -> None:
        if len(names) > MOST_VIDEOS:
            raise RequestError(
                f"export_formats has prores=objects for {len(names)} objects;"
                f" expected at most {MOST_VIDEOS}, or prores"
            )
        self._opacity = opacity
        files = FileNames()
        self._paths: dict[str | None, Path] = {
            name: folder / f"cutout_{files.of(name)}.mov" for name in names
        } or {None: folder / "cutout.mov"}
        self._encoders = {
            name: VideoEncoder(
                path,
                width=info.width,
                height=info.height,
                frame_rate=info.frame_rate,
                pixel_aspect=info.pixel_aspect,
                form=PRORES_4444,
            )
            for name, path in self._paths.items()
        }

    def prepare(self, masks: MaskFrame) -> Step:
        """Draw one frame; `finish` completes the videos."""
        images = {name: alpha(_only(masks, name), self._opacity) for name in self._encoders}
        return partial(self._write, images)

    def _write(self, images: dict[str | None, RGBAImage]) -> list[Path]:
        for name, image in images.items():
            self._encoders[name].write(image)
        return []

    def finish(self) -> list[Path]:
        """Complete the videos and return their paths."""
        for encoder in self._encoders.values():
            encoder.finish()
        return list(self._paths.values())

    def close(self) -> None:
        """Remove incomplete videos."""
        for encoder in self._encoders.values():
            encoder.close()


class PngAlphaWriter:
    """Write `{frame_index:05d}.png`, or `{frame_index:05d}_{object_id}.png`, in `cutouts.zip`.

    Args:
        folder: An existing folder for `cutouts.zip`.
        by_object: Give each object that is visible on a frame an image of its own.
        opacity: As for `alpha`.
    """

    def __init__(
        self, folder: Path, *, by_object: bool = False, opacity: Opacity = mask_picture
    ) -> None:
        self._zip = AtomicZip(folder / "cutouts.zip")
        self._by_object = by_object
        self._opacity = opacity
        self._names = FileNames()

    def prepare(self, masks: MaskFrame) -> Step:
        """Draw and encode one frame; `finish` completes the zip."""
        images = {
            name: encode_picture(alpha(part, self._opacity), "png")
            for name, part in self._parts(masks)
        }
        return partial(self._write, f"{masks.frame.index:05d}", images)

    def _parts(self, masks: MaskFrame) -> Iterator[tuple[str | None, MaskFrame]]:
        if not self._by_object:
            yield None, masks
            return
        for item in masks.objects:
            if item.mask.any():
                yield item.object_id, replace(masks, objects=(item,))

    def _write(self, number: str, images: dict[str | None, bytes]) -> list[Path]:
        for name, data in images.items():
            suffix = "" if name is None else f"_{self._names.of(name)}"
            self._zip.add(f"{number}{suffix}.png", data)
        return []

    def finish(self) -> list[Path]:
        """Complete the zip and return its path."""
        return [self._zip.finish()]

    def close(self) -> None:
        """Remove an incomplete zip."""
        self._zip.close()


def _only(masks: MaskFrame, name: str | None) -> MaskFrame:
    """Return a frame with one object alone; None keeps all."""
    if name is None:
        return masks
    return replace(masks, objects=tuple(o for o in masks.objects if o.object_id == name))
