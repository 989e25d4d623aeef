"""Import PyTorch and load a model, once a request is known to be right."""

from pathlib import Path
from typing import TYPE_CHECKING

from sam_video.progress import timed_step

if TYPE_CHECKING:
    from sam_video.model.sam2 import SegmentationModel


def load_model(name: str, *, checkpoint: Path) -> "SegmentationModel":
    """Load a checkpoint as `sam_video.model.load.load_model` does."""
    with timed_step("importing PyTorch"):
        from sam_video.model import load  # noqa: PLC0415

    return load.load_model(name, checkpoint=checkpoint)
