"""SAM 2's memory encoder on batches of objects, channels last.

The weights and results are those of `sam2.modeling.memory_encoder.MemoryEncoder`, up to the
rounding of sums in another order. The image's part is computed once for all objects.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d, gelu, layer_norm, linear

from sam_video.model.pixels import resize_masks

FEW_CHANNELS = 8
"""The most channels that are normalised as whole maps, not pixel by pixel."""


class MemoryEncoder:
    """Turns masks on an image into mask memories.

    Args:
        network: A `SAM2Base`, whose weights are read now and not followed later.
        dtype: Of the matrix products.
    """

    def __init__(self, network: Any, *, dtype: torch.dtype) -> None:
        module = network.memory_encoder
        *layers, last = module.mask_downsampler.encoder
        self._dtype = dtype
        self._downsampling = [
            Downsampling(conv, norm, dtype)
            for conv, norm in zip(layers[::3], layers[1::3], strict=True)
        ]
        self._mask_projection = last.weight.flatten(1).to(dtype), last.bias.to(dtype)
        image = module.pix_feat_proj
        self._image_projection = image.weight.flatten(1).to(dtype), image.bias.to(dtype)
        self._blocks = [FusingBlock(block, dtype) for block in module.fuser.layers]
        self._output = module.out_proj.weight.flatten(1).to(dtype), module.out_proj.bias.to(dtype)
        self._size: int = network.image_size
        self._scale: float = network.sigmoid_scale_for_mem_enc
        self._bias: float = network.sigmoid_bias_for_mem_enc
        self._absent: Tensor = network.no_obj_embed_spatial

    def __call__(self, features: Tensor, logits: Tensor, scores: Tensor) -> Tensor:
        """Encode masks as memories, as `SAM2Base._encode_new_memory` does.

        Args:
            features: Of the image, `(1, C, h, w)`.
            logits: Of the masks, `(N, 1, H, W)`.
            scores: Object score logits `(N, 1)`; an object at 0 or below is not visible.

        Returns:
            `(N, h, w, 64)`.
        """
        masks = resize_masks(logits, self._size).sigmoid().mul_(self._scale).add_(self._bias)
        is_absent = (scores <= 0).float()
        return self._encode(features, masks) + (is_absent * self._absent)[:, None, None]

    def _encode(self, features: Tensor, masks: Tensor) -> Tensor:
        """Run the layers on `(N, 1, H, W)` scaled probabilities."""
        for layer in self._downsampling:
            masks = layer(masks)
        image = linear(features.permute(0, 2, 3, 1).to(self._dtype), *self._image_projection)
        fused = linear(masks.permute(0, 2, 3, 1), *self._mask_projection) + image
        for block in self._blocks:
            fused = block(fused)
        return linear(fused.to(self._dtype), *self._output)


class Downsampling:
    """A strided convolution, a normalisation of the channels, and GELU."""

    def __init__(self, conv: Any, norm: Any, dtype: torch.dtype) -> None:
        weight, bias = conv.weight, conv.bias
        self._is_narrow = len(weight) <= FEW_CHANNELS
        if self._is_narrow:  # what leaves the convolution has a mean of zero
            weight, bias = weight - weight.mean(0), bias - bias.mean()
        layout = torch.contiguous_format if self._is_narrow else torch.channels_last
        self._weight = weight.to(dtype).contiguous(memory_format=layout)
        self._bias = bias.to(dtype)
        self._stride, self._padding = conv.stride, conv.padding
        self._norm = norm

    def __call__(self, maps: Tensor) -> Tensor:
        """Return `(N, C', h/2, w/2)` of `(N, C, h, w)`."""
        maps = maps.to(self._weight.dtype)
        maps = conv2d(maps, self._weight, self._bias, self._stride, self._padding)
        scale, shift, epsilon = self._norm.weight, self._norm.bias, self._norm.eps
        if self._is_narrow:
            variance = maps.float().square().mean(1, keepdim=True)
            normed = maps * variance.add_(epsilon).rsqrt_()
            normed = normed.mul_(scale[:, None, None]).add_(shift[:, None, None])
        else:
            pixels = maps.permute(0, 2, 3, 1).float()
            normed = layer_norm(pixels, scale.shape, scale, shift, epsilon).permute(0, 3, 1, 2)
        return gelu(normed.to(maps.dtype))


class FusingBlock:
    """A ConvNeXt block: `sam2.modeling.memory_encoder.CXBlock`."""

    def __init__(self, block: Any, dtype: torch.dtype) -> None:
        conv = block.dwconv
        self._weight = conv.weight.to(dtype).contiguous(memory_format=torch.channels_last)
        self._bias = conv.bias.to(dtype)
        self._padding, self._groups = conv.padding, conv.groups
        self._norm = block.norm
        expand, contract = block.pwconv1, block.pwconv2
        gamma = 1 if block.gamma is None else block.gamma
        self._expand = expand.weight.to(dtype), expand.bias.to(dtype)
        self._contract = (
            (contract.weight.t() * gamma).t().to(dtype),
            (contract.bias * gamma).to(dtype),
        )

    def __call__(self, pixels: Tensor) -> Tensor:
        """Refine `(N, h, w, C)`."""
        dtype, norm = self._weight.dtype, self._norm
        maps = pixels.to(dtype).permute(0, 3, 1, 2)
        maps = conv2d(maps, self._weight, self._bias, 1, self._padding, 1, self._groups)
        filtered = maps.permute(0, 2, 3, 1).float()
        normed = layer_norm(filtered, norm.weight.shape, norm.weight, norm.bias, norm.eps)
        hidden = gelu(linear(normed.to(dtype), *self._expand))
        return pixels + linear(hidden, *self._contract)


def encode_memories(
    encode: Callable[[Tensor, Tensor, Tensor], Tensor],
    lay_out: Callable[[Tensor], Tensor],
    features: Tensor,
    logits: Tensor,
    scores: Tensor,
) -> tuple[Tensor]:
    """Encode masks, and lay the memories out as `MemoryAttention.remember` does."""
    return (lay_out(encode(features, logits, scores)),)
