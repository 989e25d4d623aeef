"""Clips in many containers and codecs, with key frames to seek to."""

from typing import Any

from sam_video.types import Frame

NUM_FRAMES = 60

X264_GOP = "keyint=12:min-keyint=12:scenecut=0:bframes=3"
X265_GOP = "keyint=12:min-keyint=12:scenecut=0:bframes=4:log-level=none"
CONTAINERS: dict[str, dict[str, Any]] = {
    "h264.mp4": {"options": {"x264-params": X264_GOP}},
    "h264-open-gop.mov": {"options": {"x264-params": f"{X264_GOP}:open-gop=1"}},
    "h264-open-gop.mkv": {"options": {"x264-params": f"{X264_GOP}:open-gop=1"}},
    "h264-open-gop.ts": {"codec": "libx264", "options": {"x264-params": f"{X264_GOP}:open-gop=1"}},
    "h264-refresh.ts": {"codec": "libx264", "options": {"x264-params": "intra-refresh=1"}},
    "h264-interlaced.mp4": {"options": {"x264-params": f"{X264_GOP}:interlaced=1"}},
    "h264.flv": {"codec": "libx264", "options": {"x264-params": X264_GOP}},
    "h264.avi": {"codec": "libx264", "options": {"x264-params": X264_GOP}},
    "raw.h264": {"codec": "libx264", "options": {"x264-params": X264_GOP}},
    "hevc-open-gop.mp4": {"codec": "libx265", "options": {"x265-params": f"{X265_GOP}:open-gop=1"}},
    "hevc-10-bit.mkv": {
        "codec": "libx265",
        "pix_fmt": "yuv420p10le",
        "options": {"x265-params": X265_GOP},
    },
    "vp8-hidden-frames.webm": {
        "codec": "libvpx",
        "options": {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8"},
    },
    "vp9-hidden-frames.webm": {
        "options": {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "good"}
    },
    "av1.mp4": {"codec": "libsvtav1", "options": {"g": "12", "preset": "12"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "options": {"g": "12", "bf": "2"}},
    "mpeg2.ts": {"codec": "mpeg2video", "options": {"g": "12", "bf": "2"}},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"g": "12", "bf": "2"}},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "wmv.wmv": {"codec": "wmv2", "options": {"g": "12"}},
    "ffv1.mkv": {"codec": "ffv1"},
    "prores.mov": {"codec": "prores_ks", "pix_fmt": "yuv422p10le"},
}
"""What `draw_clip` needs beside the name of a file, by that name."""


def frame_key(frame: Frame) -> tuple[int, float, bytes]:
    """Return what makes two frames the same."""
    return frame.index, frame.pts_seconds, frame.image.tobytes()
