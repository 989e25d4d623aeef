"""Promptable video segmentation with SAM 2.1, for videos of any length."""

from typing import TYPE_CHECKING, Any

from sam_video.errors import (
    CheckpointError,
    DeviceError,
    PromptError,
    RequestError,
    SamVideoError,
    VideoError,
)
from sam_video.frames import FrameList
from sam_video.request import Request
from sam_video.types import (
    Box,
    Click,
    Frame,
    FrameSource,
    MaskFrame,
    ObjectMask,
    ObjectPrompt,
    VideoInfo,
)

if TYPE_CHECKING:
    from sam_video.pipeline import Session, load_model, segment_video

__all__ = [
    "Box",
    "CheckpointError",
    "Click",
    "DeviceError",
    "Frame",
    "FrameList",
    "FrameSource",
    "MaskFrame",
    "ObjectMask",
    "ObjectPrompt",
    "PromptError",
    "Request",
    "RequestError",
    "SamVideoError",
    "Session",
    "VideoError",
    "VideoInfo",
    "load_model",
    "segment_video",
]


def __getattr__(name: str) -> Any:
    """Import what needs PyTorch, which takes seconds, only when it is asked for."""
    if name not in ("Session", "load_model", "segment_video"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sam_video import pipeline  # noqa: PLC0415

    return getattr(pipeline, name)
