"""The inputs of one prediction; all ways to run it share their names and defaults."""

import math
import os
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sam_video.errors import RequestError, one_line
from sam_video.export_formats import parse_export_formats

MASK_TYPES = ("binary", "highlighted", "greenscreen", "alpha")
ANNOTATION_TYPES = ("mask", "box", "both")
IMAGE_FORMATS = ("webp", "jpg", "png")
RLE_FORMATS = ("coco", "youtube_vis", "start_length")
MODEL_NAMES = ("large", "base_plus", "small", "tiny", "pocket")
TEXT_MODELS = ("auto", "owlv2_large", "owlv2_base", "llmdet", "sam3", "pocket")

_CHOICES: dict[str, tuple[str, ...]] = {
    "mask_type": MASK_TYPES,
    "annotation_type": ANNOTATION_TYPES,
    "output_format": IMAGE_FORMATS,
    "model": MODEL_NAMES,
    "rle_format": RLE_FORMATS,
    "text_model": TEXT_MODELS,
}
_RANGES: dict[str, tuple[int, int | None]] = {
    "video_fps": (0, 240),
    "output_quality": (0, 100),
    "output_frame_interval": (1, None),
    "start_frame": (-1, None),
    "end_frame": (-1, None),
    "frame_interval": (1, None),
    "text_threshold": (0, 1),
    "text_interval": (0, None),
    "max_objects": (0, None),
}

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/|data:|www[.]", re.IGNORECASE)
"""The start of a URL or address, which people may pass in place of a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The inputs of one prediction, checked against their types, choices and ranges.

    Raises:
        RequestError: An input has a value outside its choices or its range.
    """

    input_video: Path
    """A video in any container and codec that FFmpeg reads, or a still image."""
    click_coordinates: str = ""
    """`'[x,y],[x,y],…'` in pixels."""
    click_labels: str = "1"
    """1 foreground, 0 background, per click."""
    click_frames: str = "0"
    """0-based frame index per click."""
    click_object_ids: str = ""
    """Object name per click."""
    mask_type: str = "binary"
    """The style in which masks are drawn."""
    annotation_type: str = "mask"
    """Marks that `highlighted` draws."""
    output_video: bool = False
    """One video file instead of one image per frame."""
    video_fps: int = 0
    """Frame rate of a video output; 0 keeps the time of the source."""
    output_format: str = "webp"
    """Format of the images, without `output_video`."""
    output_quality: int = 80
    """Quality of jpg and webp."""
    output_frame_interval: int = 1
    """Draw every Nth frame; all frames are tracked, and listed in data files."""
    box_coordinates: str = ""
    """`'[x0,y0,x1,y1],…'` in pixels."""
    box_frames: str = "0"
    """0-based frame index per box."""
    box_object_ids: str = ""
    """Object name per box; shared with clicks."""
    mask_prompts: Path | None = None
    """A zip of `{frame_index}_{object_id}.png` or `.npy`."""
    prompts: str = ""
    """More clicks and boxes, as a JSON list."""
    model: str = "large"
    """SAM 2.1 checkpoint."""
    start_frame: int = -1
    """First frame to process; -1 is the start."""
    end_frame: int = -1
    """Last frame to process, inclusive; -1 is the end."""
    frame_interval: int = 1
    """Process only every Nth frame and the prompted frames."""
    track_backward: bool = True
    """Also track from an object's first prompt back to the start."""
    output_rle: bool = False
    """Also write `rle.json`."""
    rle_format: str = "coco"
    """Form of `rle.json`."""
    output_boxes: bool = False
    """Also write `boxes.json`."""
    output_masks: bool = False
    """Also write `masks.zip`."""
    output_confidences: bool = False
    """Also write `confidences.zip`."""
    output_overlay: bool = False
    """Also write `overlay.mp4`."""
    preview: bool = False
    """Segment only the prompted frames, and draw them with their prompts."""
    multimask_output: bool = False
    """Also write the three candidate masks of a still image."""
    text_prompt: str = ""
    """Words, separated by commas: every instance of each is found and tracked."""
    negative_prompt: str = ""
    """Words for what must not be found, separated by commas."""
    text_model: str = "auto"
    """The detector that finds what the words name."""
    text_threshold: float = 0.0
    """The least score of a detection, 0 to 1; 0 is the detector's own threshold."""
    text_interval: int = 10
    """Look for new instances every N frames; 0 looks at the first frame only."""
    max_objects: int = 0
    """The most instances that words find, the surest first; 0 is no limit."""
    enhance_prompt: bool = True
    """Reduce a sentence to the concepts in it."""
    export_formats: str = ""
    """Further data files, separated by commas, as `parse_export_formats` reads them."""
    mask_cleaning: str = ""
    """What is cleaned in masks before they are written, as `MaskCleaning.from_text` reads it."""

    def __post_init__(self) -> None:
        _check_input_video(self.input_video)
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise RequestError(f"{name} is {value!r}; expected one of {', '.join(choices)}")
        for name, (low, high) in _RANGES.items():
            _check_range(name, getattr(self, name), low, math.inf if high is None else high)
        if self.mask_type == "alpha" and self.output_format == "jpg" and not self.output_video:
            raise RequestError(
                "output_format is 'jpg', which has no transparency;"
                " expected webp or png with mask_type alpha"
            )
        if self.multimask_output and self.rle_format != "coco":
            raise RequestError(
                f"rle_format is {self.rle_format!r}; expected coco with multimask_output,"
                " as no other form holds candidates"
            )
        parse_export_formats(self.export_formats)
        if self.mask_cleaning:
            from sam_video.cleaning import MaskCleaning  # noqa: PLC0415 (imports OpenCV)

            MaskCleaning.from_text(self.mask_cleaning)
        if 0 <= self.end_frame < self.start_frame:
            raise RequestError(
                f"end_frame is {self.end_frame}; expected start_frame, {self.start_frame}, or later"
            )

    @classmethod
    def from_text(cls, values: dict[str, str], **defaults: Any) -> "Request":
        """Build a request from texts, such as those of a command line.

        Args:
            values: Maps input names to texts, such as `{"output_video": "true"}`.
            defaults: Values for inputs that `values` does not name.

        Raises:
            RequestError: An input is unknown or missing, or a text is not of its input's type.
        """
        types: dict[str, Any] = {field.name: field.type for field in fields(cls)}
        for name in values:
            if name not in types:
                shown = one_line(name[:80])
                raise RequestError(f"{shown} is not an input; expected one of {', '.join(types)}")
        if "input_video" not in values:
            raise RequestError("input_video is missing; expected a video or image file")
        typed = {name: _convert(name, text, types[name]) for name, text in values.items()}
        return cls(**{**defaults, **typed})


def _check_range(name: str, value: float, low: int, high: float) -> None:
    if low <= value <= high:  # which NaN is not
        return
    noun = "a number" if name == "text_threshold" else "a whole number"
    accepted = f"at least {low}" if high == math.inf else f"{low} to {high}"
    raise RequestError(f"{name} is {value}; expected {noun}, {accepted}")


def _check_input_video(path: Path) -> None:
    if path == Path():
        raise RequestError("input_video names no file; expected a video or an image")
    text = str(path)
    if _ADDRESS.match(text) and not os.path.exists(path):  # noqa: PTH110 (it never raises)
        shown = re.sub(":/+", "://", text, count=1)[:100]  # a Path merges the two slashes
        raise RequestError(
            f"input_video is {shown!r}; expected a file, or an http(s) URL where a server"
            " downloads it"
        )


def _convert(name: str, text: str, target: Any) -> Any:
    if target is bool:
        known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if text.strip().lower() not in known:
            raise RequestError(f"{name} is {text[:80]!r}; expected true or false")
        return known[text.strip().lower()]
    if target is int:
        try:
            return int(text)
        except ValueError:
            raise RequestError(f"{name} is {text[:80]!r}; expected a whole number") from None
    if target is float:
        try:
            return float(text)
        except ValueError:
            raise RequestError(f"{name} is {text[:80]!r}; expected a number") from None
    if target is str:
        return text
    if not text.strip():
        return None if target == Path | None else Path()
    return Path(text)
