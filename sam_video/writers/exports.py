"""Create the writers of the data files that `export_formats` names."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sam_video.cleaning import MaskCleaning
from sam_video.errors import RequestError
from sam_video.export_formats import parse_export_formats
from sam_video.prompts.json_list import parse_words
from sam_video.request import Request
from sam_video.types import ObjectPrompt, VideoInfo
from sam_video.writers.cutouts import PngAlphaWriter, ProResWriter
from sam_video.writers.datasets.coco_tracks import CocoTracksWriter
from sam_video.writers.datasets.cvat import CvatWriter
from sam_video.writers.datasets.davis import DavisWriter
from sam_video.writers.datasets.label_studio import LabelStudioWriter
from sam_video.writers.datasets.mot import mot_writer, mots_writer
from sam_video.writers.datasets.yolo import YoloWriter
from sam_video.writers.sink import Sink

EXPORTED_FILES = {
    "davis": "davis.zip",
    "coco_tracks": "coco_tracks.json",
    "yolo": "yolo.zip",
    "mot": "mot.txt",
    "mots": "mots.txt",
    "cvat": "cvat.xml",
    "label_studio": "label_studio.json",
    "prores": "cutout*.mov",
    "png_alpha": "cutouts.zip",
}
"""Patterns for the names of the files of each format."""


def export_sinks(
    request: Request, info: VideoInfo, prompts: Sequence[ObjectPrompt], folder: Path
) -> Iterator[Sink]:
    """Create the sinks of `export_formats`; they get every processed frame.

    Raises:
        RequestError: A format cannot hold what the request asks for.
        VideoError: The frames are too large for a video, or there is no ffmpeg program.
    """
    opacity = MaskCleaning.from_text(request.mask_cleaning).alpha

    def prores(option: str) -> Sink:
        names = _prompted_names(request, prompts) if option == "objects" else ()
        return ProResWriter(folder, info, names, opacity)

    makers: dict[str, Callable[[str], Sink]] = {
        "davis": lambda _: DavisWriter(folder),
        "coco_tracks": lambda o: CocoTracksWriter(folder, info, as_polygons=o == "polygons"),
        "yolo": lambda option: YoloWriter(folder, info, splits_parts=option == "parts"),
        "mot": lambda _: mot_writer(folder),
        "mots": lambda _: mots_writer(folder),
        "cvat": lambda _: CvatWriter(folder, info),
        "label_studio": lambda _: LabelStudioWriter(folder, info, request.input_video.name),
        "prores": prores,
        "png_alpha": lambda o: PngAlphaWriter(folder, by_object=o == "objects", opacity=opacity),
    }
    for name, option in parse_export_formats(request.export_formats).items():
        yield makers[name](option)


def _prompted_names(request: Request, prompts: Sequence[ObjectPrompt]) -> list[str]:
    """Return the names of all objects, of which each gets a video of its own from the start."""
    if request.text_prompt.strip() or parse_words(request.prompts):
        raise RequestError(
            "export_formats has prores=objects with text_prompt, whose objects are known too late;"
            " expected prores or png_alpha=objects"
        )
    return list(dict.fromkeys(prompt.object_id for prompt in prompts if prompt.is_positive))
