"""The official `SAM2VideoPredictor`, fed with the same frames and weights, for comparison."""

from collections.abc import Sequence
from typing import Any, cast
from unittest.mock import patch

import numpy as np
import torch
from sam2.modeling.sam2_base import SAM2Base
from sam2.sam2_video_predictor import SAM2VideoPredictor

from sam_video.model.load import build_network
from sam_video.model.pixels import resize_image
from sam_video.types import ObjectPrompt, RGBImage

_MEAN = torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1)
_DEVIATION = torch.tensor((0.229, 0.224, 0.225)).view(3, 1, 1)


def seeded_network(name: str, seed: int = 0, **options: Any) -> SAM2Base:
    """Build a network whose random weights give visible objects and logits of a natural size."""
    torch.manual_seed(seed)
    network = build_network(name, **options)
    with torch.no_grad():
        decoder = network.sam_mask_decoder
        decoder.pred_obj_score_head.layers[-1].bias.fill_(1.0)
        for head in decoder.output_hypernetworks_mlps:
            head.layers[-1].weight.mul_(20.0)
            head.layers[-1].bias.mul_(20.0)
        for layer in network.memory_encoder.fuser.layers:
            layer.gamma.fill_(0.1)
    return network


def official_predictor(
    name: str, network: SAM2Base, *, is_compiled: bool = False
) -> SAM2VideoPredictor:
    """Build the official predictor with the weights of `network`, without hole filling.

    Args:
        name: The network's name.
        network: What to take the weights of.
        is_compiled: Build the variant that `vos_optimized` stands for, for CUDA.
    """
    kind = "SAM2VideoPredictorVOS" if is_compiled else "SAM2VideoPredictor"
    predictor = build_network(
        name,
        _target_=f"sam2.sam2_video_predictor.{kind}",
        compile_image_encoder=is_compiled,
        fill_hole_area=0,
        add_all_frames_to_correct_as_cond=True,
        image_size=network.image_size,
    )
    predictor.load_state_dict(network.state_dict())
    return cast(SAM2VideoPredictor, predictor)


def start(predictor: SAM2VideoPredictor, images: Sequence[RGBImage]) -> dict[str, Any]:
    """Return an inference state over these frames, resized as the package resizes them."""
    size = predictor.image_size
    resized = np.stack([resize_image(image, size) for image in images])
    pixels = torch.from_numpy(resized).permute(0, 3, 1, 2).float() / 255
    loaded = ((pixels - _MEAN) / _DEVIATION, *images[0].shape[:2])
    with patch("sam2.sam2_video_predictor.load_video_frames", return_value=loaded):
        return cast(dict[str, Any], predictor.init_state("frames"))


def add(predictor: SAM2VideoPredictor, state: dict[str, Any], prompt: ObjectPrompt) -> None:
    """Give the official predictor one prompt."""
    where = {"frame_idx": prompt.frame_index, "obj_id": prompt.object_id}
    if prompt.mask is not None:
        predictor.add_new_mask(state, mask=torch.from_numpy(prompt.mask), **where)
        return
    box, clicks = prompt.box, prompt.clicks
    predictor.add_new_points_or_box(
        state,
        points=np.array([(c.x, c.y) for c in clicks], np.float32) if clicks else None,
        labels=np.array([c.label for c in clicks], np.int32) if clicks else None,
        box=None if box is None else np.array([box.x0, box.y0, box.x1, box.y1], np.float32),
        **where,
    )
