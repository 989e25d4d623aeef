"""Promptable video segmentation with SAM 2.1, for videos of any length."""

from importlib import import_module
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
    from sam_video.loading import load_model
    from sam_video.pipeline import segment_video
    from sam_video.session import Session

_HEAVY = {
    "Session": "sam_video.session",
    "load_model": "sam_video.loading",
    "segment_video": "sam_video.pipeline",
}
"""Where those lie that need PyTorch, which takes seconds to import."""

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
    """Import what needs PyTorch only when it is asked for."""
    if name not in _HEAVY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HEAVY[name]), name)
