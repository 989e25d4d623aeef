"""From a checkpoint's name to a model: build SAM 2's network, fill it with weights, prepare it.

The networks are those of the `sam2` package, with the options that its `build_sam2_video_predictor`
sets for video. `pocket` is of the same classes but for its image trunk.
"""

import logging
import os
from pathlib import Path
from typing import Any, cast

import sam2
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from safetensors.torch import load_file
from sam2.modeling.sam2_base import SAM2Base

from sam_video.checkpoints.catalogue import resolve_checkpoint
from sam_video.errors import CheckpointError, RequestError
from sam_video.model.device import device_errors
from sam_video.model.sam2 import SegmentationModel

logger = logging.getLogger(__name__)

_SAM2_CONFIGS = Path(sam2.__file__).parent / "configs" / "sam2.1"
_CONFIGS = {
    "large": _SAM2_CONFIGS / "sam2.1_hiera_l.yaml",
    "base_plus": _SAM2_CONFIGS / "sam2.1_hiera_b+.yaml",
    "small": _SAM2_CONFIGS / "sam2.1_hiera_s.yaml",
    "tiny": _SAM2_CONFIGS / "sam2.1_hiera_t.yaml",
    "pocket": Path(__file__).parent / "configs" / "pocket.yaml",
}
_VIDEO_OPTIONS = {
    "binarize_mask_from_pts_for_mem_enc": True,
    "sam_mask_decoder_extra_args": {
        "dynamic_multimask_via_stability": True,
        "dynamic_multimask_stability_delta": 0.05,
        "dynamic_multimask_stability_thresh": 0.98,
    },
}

INPUT_SIZES = (1024, 768, 512)
"""Pixels along each side of the square that frames are resized to, for SAM 2.1's networks: the size
that they were trained on first."""


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


def build_network(name: str, **options: Any) -> SAM2Base:
    """Build the named network with random weights, in evaluation mode, on the CPU.

    Args:
        name: A checkpoint's name: `large`, `base_plus`, `small`, `tiny` or `pocket`.
        options: Arguments of `SAM2Base` that replace the configuration's.
    """
    config = OmegaConf.load(_CONFIGS[name]).model
    config = OmegaConf.merge(config, _VIDEO_OPTIONS, options)
    return cast(SAM2Base, instantiate(config, _recursive_=True)).eval()


def checked_input_size(size: int | None = None) -> int:
    """Return an input size for SAM 2.1's networks: smaller is faster and less accurate.

    Args:
        size: One of `INPUT_SIZES`; None is what `SAM_VIDEO_INPUT_SIZE` says, or else 1024.

    Raises:
        RequestError: It is another size.
    """
    field, text = "input_size", str(size)
    if size is None:
        field, text = "SAM_VIDEO_INPUT_SIZE", os.environ.get("SAM_VIDEO_INPUT_SIZE") or "1024"
    if text not in map(str, INPUT_SIZES):
        sizes = ", ".join(map(str, INPUT_SIZES))
        raise RequestError(f"{field} is {text[:100]!r}; expected one of {sizes}")
    return int(text)


def load_weights(network: SAM2Base, path: Path) -> None:
    """Fill `network` from a published `.pt` file or from a `.safetensors` file.

    Raises:
        CheckpointError: The file is not a checkpoint, or is one of another architecture.
    """
    try:
        if path.suffix == ".safetensors":
            weights = load_file(path)
        else:
            weights = torch.load(path, map_location="cpu", weights_only=True)["model"]
        network.load_state_dict(weights)
    except Exception as error:  # torch, pickle and safetensors raise a dozen kinds here
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path.name} does not fit this model: {reason}") from error
