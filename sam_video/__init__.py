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
from sam_video.video.frame_list import FrameList

if TYPE_CHECKING:
    from sam_video.cleaning import MaskCleaning
    from sam_video.detection.engines import load_detector
    from sam_video.detection.query import TextQuery
    from sam_video.model.load import load_model
    from sam_video.service.pipeline import segment_video
    from sam_video.service.session import Session

_HEAVY = {
    "MaskCleaning": "sam_video.cleaning",
    "Session": "sam_video.service.session",
    "TextQuery": "sam_video.detection.query",
    "load_detector": "sam_video.detection.engines",
    "load_model": "sam_video.model.load",
    "segment_video": "sam_video.service.pipeline",
}
"""The modules of the names that are imported late; most need PyTorch, which takes seconds."""

__all__ = [
    "Box",
    "CheckpointError",
    "Click",
    "DeviceError",
    "Frame",
    "FrameList",
    "FrameSource",
    "MaskCleaning",
    "MaskFrame",
    "ObjectMask",
    "ObjectPrompt",
    "PromptError",
    "Request",
    "RequestError",
    "SamVideoError",
    "Session",
    "TextQuery",
    "VideoError",
    "VideoInfo",
    "load_detector",
    "load_model",
    "segment_video",
]


def __getattr__(name: str) -> Any:
    """Import the names of `_HEAVY` when they are first used."""
    if name not in _HEAVY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HEAVY[name]), name)
