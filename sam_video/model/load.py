"""From a checkpoint's name to a model: build SAM 2's network, map its weights, prepare it.

The networks are those of the `sam2` package, with the options that its `build_sam2_video_predictor`
sets for video. `pocket` is of the same classes but for its image trunk.
"""

import logging
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import sam2
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from safetensors.torch import load_file
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sam_video.checkpoints.catalogue import CHECKPOINTS, resolve_checkpoint
from sam_video.errors import CheckpointError
from sam_video.limits import checked_input_size
from sam_video.model.cuda_graphs import free_cached_memory
from sam_video.model.device import device_errors
from sam_video.model.sam2 import SegmentationModel
from sam_video.progress import timed_step

logger = logging.getLogger(__name__)

_CONFIG_FOLDERS = (
    Path(__file__).parent / "configs",
    Path(sam2.__file__).parent / "configs" / "sam2.1",
)
_VIDEO_OPTIONS = {
    "binarize_mask_from_pts_for_mem_enc": True,
    "sam_mask_decoder_extra_args": {
        "dynamic_multimask_via_stability": True,
        "dynamic_multimask_stability_delta": 0.05,
        "dynamic_multimask_stability_thresh": 0.98,
    },
}


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
        RequestError: The input size is another one, whatever the checkpoint.
        DeviceError: The GPU cannot be used, or its memory does not suffice.
    """
    size = checked_input_size(input_size)
    path = resolve_checkpoint(name, explicit=checkpoint)
    options = {} if name == "pocket" else {"image_size": size}
    with timed_step(f"building the network of {name}"), _LeftOutWeights():
        network = build_network(name, **options)
    with timed_step(f"opening {path.name}"):
        load_weights(network, path)
    with device_errors():
        free_cached_memory()  # of what another model has left
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
    paths = (folder / CHECKPOINTS[name].config for folder in _CONFIG_FOLDERS)
    config = OmegaConf.load(next(path for path in paths if path.is_file())).model
    config = OmegaConf.merge(config, _VIDEO_OPTIONS, options)
    return cast(SAM2Base, instantiate(config, _recursive_=True)).eval()


class _LeftOutWeights(TorchFunctionMode):
    """Lets PyTorch's layers be built without memory for their weights, and without random ones.

    They make their weights by `torch.empty`, which gives tensors on the `meta` device meanwhile.
    What sam2 computes, such as rotary tables, and its few weights of other origin are made as ever.
    """

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        options = kwargs or {}
        name = getattr(function, "__name__", "")
        if name.endswith("_") and not name.endswith("__"):
            changed = args[0] if args else options.get("tensor")
            if isinstance(changed, Tensor) and changed.is_meta:
                return changed  # nothing to fill; PyTorch's first attempt would keep our frames
        if function is torch.empty:
            options = {**options, "device": "meta"}
        return function(*args, **options)


def load_weights(network: nn.Module, path: Path) -> None:
    """Put the weights of a published `.pt` file or of a `.safetensors` file into `network`.

    They stay in the file, which is mapped into memory: it must not be changed in place meanwhile,
    only replaced. Those of another number type are converted, which copies them.

    Raises:
        CheckpointError: The file is not a checkpoint, or is one of another architecture.
    """
    try:
        expected = network.state_dict()
        weights = {
            name: tensor.to(expected[name].dtype) if name in expected else tensor
            for name, tensor in _mapped_weights(path).items()
        }
        network.load_state_dict(weights, assign=True)
    except Exception as error:  # torch, pickle and safetensors raise a dozen kinds here
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path.name} does not fit this model: {reason}") from error


def _mapped_weights(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_file(path)
    # Files of PyTorch before 1.6 are no zips, and cannot be mapped.
    is_mapped = zipfile.is_zipfile(path)
    content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_mapped)
    return cast(dict[str, Tensor], content["model"])
