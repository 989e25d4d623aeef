"""Import PyTorch and load a model, once a request is known to be right."""

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sam_video.progress import timed_step

if TYPE_CHECKING:
    from sam_video.model.sam2 import SegmentationModel


def load_model(name: str, *, checkpoint: Path) -> "SegmentationModel":
    """Load a checkpoint as `sam_video.model.load.load_model` does."""
    _read_ahead(checkpoint)
    with timed_step("importing PyTorch"):
        from sam_video.model import load  # noqa: PLC0415

    return load.load_model(name, checkpoint=checkpoint)


def _read_ahead(path: Path) -> None:
    """Ask the system to read a file into its cache while PyTorch is imported.

    Pages that are read from a disk when their weights are first used take twice the time, or more.
    """
    if hasattr(os, "posix_fadvise"):  # not on macOS
        with suppress(OSError), path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)
