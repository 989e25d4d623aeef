"""Limits on one request; an environment variable sets each. Exceeding one raises an error."""

import os
from dataclasses import dataclass

from sam_video.errors import RequestError


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit on the work of one request; as text it gives its value and its variable."""

    variable: str
    """Name of the environment variable; it holds a whole number from 1 to `largest`."""
    default: int
    largest: int
    """The largest accepted value; the counter's type can hold it."""
    meaning: str
    """The counted quantity, with its unit."""

    @property
    def value(self) -> int:
        """The limit in force.

        Raises:
            RequestError: The variable is not a whole number from 1 to `largest`.
        """
        text = os.environ.get(self.variable, "").strip()
        if not text:
            return self.default
        is_number = text.isascii() and text.isdigit() and len(text) <= len(str(self.largest))
        if not (is_number and 1 <= int(text) <= self.largest):
            raise RequestError(
                f"{self.variable} is {text[:100]!r}; expected a whole number from 1 to"
                f" {self.largest}"
            )
        return int(text)

    def __int__(self) -> int:
        return self.value

    def __str__(self) -> str:
        return f"{self.value} ({self.variable})"


_INT_MAX = 2**31 - 1
_MANY_BYTES = 2**50

MAX_FRAME_PIXELS = Limit(  # FFmpeg stores it as an int
    "SAM_VIDEO_MAX_FRAME_PIXELS", 52_000_000, _INT_MAX, "pixels of a frame, width times height"
)
MAX_FRAMES = Limit(
    "SAM_VIDEO_MAX_FRAMES", 100_000, _INT_MAX, "frames of a video that are processed"
)
MAX_SECONDS = Limit(
    "SAM_VIDEO_MAX_SECONDS", 24 * 3600, _INT_MAX, "seconds of a video that are processed"
)
MAX_OBJECTS = Limit("SAM_VIDEO_MAX_OBJECTS", 1_000, _INT_MAX, "objects of a request")
MAX_PROMPTS = Limit(
    "SAM_VIDEO_MAX_PROMPTS", 10_000, _INT_MAX, "clicks, boxes and masks of a request, each kind"
)
MAX_CONCEPTS = Limit(
    "SAM_VIDEO_MAX_CONCEPTS", 50, _INT_MAX, "things that a request looks for by words"
)
MAX_ZIP_MEMBERS = Limit(
    "SAM_VIDEO_MAX_ZIP_MEMBERS", 10_000, _INT_MAX, "files and folders of a zip of masks"
)
MAX_ZIP_BYTES = Limit(
    "SAM_VIDEO_MAX_ZIP_BYTES",
    512 * 2**20,
    _MANY_BYTES,
    "bytes of all masks of a zip, decompressed",
)
MAX_DECODER_BYTES = Limit(
    "SAM_VIDEO_MAX_DECODER_BYTES", 2 * 2**30, _MANY_BYTES, "bytes of memory for reading a file"
)
MAX_STALL_SECONDS = Limit(
    "SAM_VIDEO_MAX_STALL_SECONDS",
    15,
    24 * 3600,
    "seconds in which reading or writing a file gets no further",
)

LIMITS = (
    MAX_FRAME_PIXELS,
    MAX_FRAMES,
    MAX_SECONDS,
    MAX_OBJECTS,
    MAX_PROMPTS,
    MAX_CONCEPTS,
    MAX_ZIP_MEMBERS,
    MAX_ZIP_BYTES,
    MAX_DECODER_BYTES,
    MAX_STALL_SECONDS,
)

INPUT_SIZES = (1024, 768, 512)
"""Sides in pixels of the square that frames are resized to for SAM 2.1's networks: the size that
they were trained on first."""

GPU_FEATURES = ("recording", "kernel")
"""What may make a GPU faster and has not been measured on one: CUDA graphs, with the image encoder
on a stream of its own; and the attention kernel for narrow values."""


def check_limits() -> None:
    """Read every variable once, so that a wrong value fails at setup.

    Raises:
        RequestError: A variable is not a number that its limit accepts, or `SAM_VIDEO_INPUT_SIZE`
            is not one of `INPUT_SIZES`, or `SAM_VIDEO_GPU_FEATURES` names another than these.
    """
    for limit in LIMITS:
        _ = limit.value
    checked_input_size()
    gpu_features()


def gpu_features() -> frozenset[str]:
    """Return those of `GPU_FEATURES` that `SAM_VIDEO_GPU_FEATURES` names; by default none.

    Raises:
        RequestError: It names another one.
    """
    text = os.environ.get("SAM_VIDEO_GPU_FEATURES", "")
    named = frozenset(name.strip() for name in text.split(",") if name.strip())
    if not named <= set(GPU_FEATURES):
        raise RequestError(
            f"SAM_VIDEO_GPU_FEATURES is {text[:100]!r}; expected any of {', '.join(GPU_FEATURES)}"
        )
    return named


def checked_input_size(size: int | None = None) -> int:
    """Return an input size for SAM 2.1's networks: smaller is faster and less accurate.

    Args:
        size: One of `INPUT_SIZES`; None reads `SAM_VIDEO_INPUT_SIZE`, by default 1024.

    Raises:
        RequestError: The size is not one of `INPUT_SIZES`.
    """
    field, text = "input_size", str(size)
    if size is None:
        field, text = "SAM_VIDEO_INPUT_SIZE", os.environ.get("SAM_VIDEO_INPUT_SIZE") or "1024"
    if text not in map(str, INPUT_SIZES):
        sizes = ", ".join(map(str, INPUT_SIZES))
        raise RequestError(f"{field} is {text[:100]!r}; expected one of {sizes}")
    return int(text)
