"""The detectors by name: which there are, which one `auto` is, and how each is loaded."""

from pathlib import Path

import torch

from sam_video.detection.interface import Detector
from sam_video.errors import RequestError

ENGINES = ("owlv2_large", "owlv2_base", "llmdet", "sam3", "pocket")
"""What `text_model` may name, besides `auto`."""


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
        folder: A folder of the caller's own in place of the one in `weights/`.

    Raises:
        RequestError: The name is unknown, or a package that the engine needs is missing or too old.
        CheckpointError: Its weights are missing, not complete, or do not fit; the message says how
            to get them, and under which licence.
        DeviceError: The GPU cannot be used, or its memory does not suffice.
    """
    raise RequestError(f"text_model is {name!r}; expected one of {', '.join(ENGINES)}")
