"""SAM 2's image encoder, without the outputs that tracking does not read, with layers merged.

The maps at strides 4 and 8 pass two linear layers in a row, one of the neck and one of the mask
decoder; these are one layer here. Each batch normalisation is folded into its convolution. The
official neck also computes position encodings of every map; they depend on the input size alone.
"""

from copy import deepcopy
from typing import Any, cast

import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn
from torch.nn.functional import interpolate, linear

from sam_video.model.pocket import PocketTrunk

_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)
"""Defaults of `img_mean` and `img_std` in `sam2.utils.misc.load_video_frames`."""


class ImageEncoder:
    """Turns pixels into the features that all objects share.

    Args:
        network: A `SAM2Base`, whose weights are read now and not followed later.
        dtype: Of the matrix products.
    """

    def __init__(self, network: Any, *, dtype: torch.dtype) -> None:
        encoder, decoder = network.image_encoder, network.sam_mask_decoder
        neck = encoder.neck
        assert encoder.scalp == 1
        assert neck.fuse_type == "sum"
        assert neck.fpn_top_down_levels == [2, 3]
        self._trunk = prepared_trunk(encoder.trunk, dtype)
        self._top_down = neck.fpn_interp_model
        by_level = [conv.conv for conv in reversed(neck.convs)]
        self._high_res = [
            projection(level, head, dtype)
            for level, head in zip(by_level[:2], (decoder.conv_s0, decoder.conv_s1), strict=True)
        ]
        self._low_res = [projection(level, None, dtype) for level in by_level[2:]]
        device = network.device
        deviation = torch.tensor(_DEVIATION, device=device)
        self._scale = (1 / (255 * deviation)).view(3, 1, 1)
        self._shift = (torch.tensor(_MEAN, device=device) / deviation).view(3, 1, 1)
        self._dtype = dtype

    def __call__(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode `(N, size, size, 3)` uint8 RGB.

        Returns:
            The features `(N, C, h, w)` and, of the N frames too, the two maps of
            `ImageFeatures.high_res`.
        """
        normalised = pixels.permute(0, 3, 1, 2).float().mul_(self._scale).sub_(self._shift)
        is_bf16 = self._dtype is torch.bfloat16
        device = pixels.device.type
        with torch.autocast(device, torch.bfloat16, enabled=is_bf16, cache_enabled=False):
            maps = self._trunk(normalised)
        stride4, stride8, stride16, stride32 = (
            project(one, weights)
            for one, weights in zip(maps, self._high_res + self._low_res, strict=True)
        )
        above = interpolate(stride32.float(), scale_factor=2.0, mode=self._top_down)
        return stride16 + above, stride4, stride8


def projection(
    level: nn.Conv2d, head: nn.Conv2d | None, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Return weight and bias of one `(out, in)` layer for one or two convolutions of one pixel."""
    weight, bias = level.weight.flatten(1), cast(Tensor, level.bias)
    if head is not None:
        second = head.weight.flatten(1)
        weight, bias = second @ weight, linear(bias, second, head.bias)
    return weight.to(dtype), bias.to(dtype)


def project(maps: Tensor, weights: tuple[Tensor, Tensor]) -> Tensor:
    """Apply a layer to every pixel of `(N, C, h, w)`."""
    weight, bias = weights
    return linear(maps.permute(0, 2, 3, 1).to(weight.dtype), weight, bias).permute(0, 3, 1, 2)


def prepared_trunk(trunk: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return a trunk for inference that gives the same maps, faster."""
    if isinstance(trunk, PocketTrunk):
        trunk = trunk.folded()
    if dtype is torch.bfloat16:  # once, and not for every frame
        replaced = [
            weight
            for module in trunk.modules()
            if isinstance(module, nn.Linear | nn.Conv2d)
            for weight in module.parameters()
        ]
        cast = {
            id(weight): nn.Parameter(weight.to(dtype), requires_grad=False) for weight in replaced
        }
        trunk = deepcopy(trunk, cast)
    return trunk


@torch.inference_mode(mode=False)  # where weights cannot move
@torch.no_grad()
def moved(network: SAM2Base, device: torch.device, dtype: torch.dtype) -> SAM2Base:
    """Return a copy of a network on another device, its trunk in the number type that it runs in.

    The trunk of `large` has 19 of 20 weights. They are cast before they move: half the bytes pass
    to a GPU, which never holds them in float32.
    """
    trunk = network.image_encoder.trunk
    prepared = prepared_trunk(trunk, dtype)
    taken = {} if prepared is trunk else {id(trunk): prepared}
    return deepcopy(network, taken).to(device)
