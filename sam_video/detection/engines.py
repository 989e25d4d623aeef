"""The detectors by name: which there are, which one `auto` is, and how each is loaded."""

import logging
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from sam_video.checkpoints.catalogue import resolve_checkpoint
from sam_video.checkpoints.detectors import lies_here, resolve_detector
from sam_video.detection.interface import Detector
from sam_video.detection.loading import check_transformers
from sam_video.errors import RequestError
from sam_video.model.device import default_device

ENGINES = ("owlv2_large", "owlv2_base", "llmdet", "sam3", "pocket")
"""What `text_model` may name, besides `auto`."""

_LLMDETS = ("llmdet_large", "llmdet_base", "llmdet_tiny")
"""The weights of `llmdet`: the largest that are there."""

logger = logging.getLogger(__name__)


def engine_for(text_model: str, *, model: str, device: torch.device) -> str:
    """Return the engine that a request means.

    Args:
        text_model: A name of `ENGINES`, or `auto`: pocket's own words with the model `pocket`, else
            `owlv2_large` on a GPU and `owlv2_base` on a CPU.
        model: The checkpoint that tracks.
        device: Where it runs.
    """
    if text_model != "auto":
        return text_model
    if model == "pocket":
        return "pocket"
    return "owlv2_base" if device.type == "cpu" else "owlv2_large"


def load_detector(
    name: str, *, device: torch.device | None = None, folder: Path | None = None
) -> Detector:
    """Load a detector by its name, from weights that are on this machine; nothing is downloaded.

    Args:
        name: One of `ENGINES`; `auto` has been resolved by `engine_for`.
        device: Where it runs; by default the GPU if there is one, else the CPU.
        folder: A folder of the caller's own in place of the one in `weights/`. `pocket` has none.

    Raises:
        RequestError: The name is unknown, or a package that the engine needs is missing or too old.
        CheckpointError: Its weights are missing, not complete, or do not fit; the message says how
            to get them, and under which licence.
        DeviceError: The GPU cannot be used, or its memory does not suffice.
    """
    if name not in ENGINES:
        raise RequestError(f"text_model is {name!r}; expected one of {', '.join(ENGINES)}")
    where = device or default_device()
    if name == "pocket":
        words: Any = import_module("sam_video.detection.pocket_words")
        pocket: Detector = words.PocketWords(resolve_checkpoint(words.WEIGHTS), where)
        return pocket
    check_transformers(name)
    return _load(name, where, _resolved(name, folder))


def _load(name: str, device: torch.device, folder: Path) -> Detector:
    """Load a detector that needs transformers; its module is imported when it is asked for."""
    if name == "sam3":
        sam3: Detector = _class("sam3", "Sam3Detector")(folder, device)
        return sam3
    kind = "grounding_dino", "GroundingDinoDetector"
    if name.startswith("owlv2"):
        kind = "owlv2", "Owlv2Detector"
    detector: Detector = _class(*kind)(folder, device, name=name)
    return detector


def _class(module: str, name: str) -> Any:
    return getattr(import_module(f"sam_video.detection.{module}"), name)


def _resolved(name: str, folder: Path | None) -> Path:
    """Return the folder of an engine's weights."""
    if name != "llmdet":
        return resolve_detector(name, explicit=folder)
    size = next((size for size in _LLMDETS if lies_here(size)), _LLMDETS[-1])
    if folder is None:
        logger.info("text_model llmdet uses the weights %s", size)
    return resolve_detector(size, explicit=folder)
