"""The codecs and containers that videos are written in."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, eq=False)
class VideoForm:
    """A codec in its container."""

    options: dict[str, Any]
    """Output options of ffmpeg."""
    max_side_px: int
    """Largest width or height."""
    has_alpha: bool = False
    """Whether images have a fourth channel, 0 for transparent pixels."""
    needs_even_sizes: bool = True
    """Whether colours are stored for two by two pixels."""


H264 = VideoForm(
    {
        "format": "mp4",
        "vcodec": "libx264",
        "preset": "veryfast",
        "crf": 18,
        "pix_fmt": "yuv420p",
        "movflags": "+faststart",
    },
    max_side_px=16384,
)
"""MP4 that every browser plays."""

VP9_ALPHA = VideoForm(
    {
        "format": "webm",
        "vcodec": "libvpx-vp9",
        "deadline": "realtime",
        "cpu-used": 8,
        "row-mt": 1,
        "b:v": 0,
        "crf": 18,
        "pix_fmt": "yuva420p",
        # The alpha plane is a stream of its own; hidden frames would shift it against the colours.
        "auto-alt-ref": 0,
        "metadata:s:v:0": "alpha_mode=1",
        # Without this, the file gets a random number as its identifier.
        "fflags": "+bitexact",
    },
    max_side_px=16383,  # the limit of the library in Debian and browsers
    has_alpha=True,
)
"""WebM with transparency, its second stream the alpha plane."""

PRORES_4444 = VideoForm(
    {
        "format": "mov",
        "vcodec": "prores_ks",
        "profile:v": "4444",
        "pix_fmt": "yuva444p10le",
        "alpha_bits": 16,
        "vendor": "apl0",  # Apple's own, without which some editors refuse it
        "fflags": "+bitexact",
    },
    max_side_px=16384,
    has_alpha=True,
    needs_even_sizes=False,
)
"""QuickTime with transparency, for video editors."""
