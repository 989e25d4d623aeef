"""A checkpoint's name becomes a model that is ready to run."""

import logging
from pathlib import Path

from sam_video.checkpoints.catalogue import resolve_checkpoint
from sam_video.model.device import device_errors
from sam_video.model.network import build_network, checked_input_size, load_weights
from sam_video.model.sam2 import SegmentationModel

logger = logging.getLogger(__name__)


def load_model(
    name: str, *, checkpoint: Path | None = None, input_size: int | None = None
) -> SegmentationModel:
    """Load a checkpoint by its name, downloading it where it is not at hand.

    Args:
        name: `large`, `base_plus`, `small`, `tiny` or `pocket`.
        checkpoint: A file of that architecture to use in place of the published one.
        input_size: 1024, or 768 or 512 pixels, which are faster and less accurate; None is what
            `SAM_VIDEO_INPUT_SIZE` says. `pocket` has its own.

    Raises:
        CheckpointError: It is missing and cannot be fetched, or is not what it should be.
        DeviceError: The GPU cannot be used, or its memory does not suffice.
    """
    path = resolve_checkpoint(name, explicit=checkpoint)
    options = {} if name == "pocket" else {"image_size": checked_input_size(input_size)}
    network = build_network(name, **options)
    load_weights(network, path)
    with device_errors():
        model = SegmentationModel(network)
    if model.device.type == "cpu" and name != "pocket":
        logger.warning(
            "%s runs on the CPU, where a frame takes seconds, with large about eight: no GPU is"
            " found (Docker needs `--gpus all`)",
            name,
        )
    return model
