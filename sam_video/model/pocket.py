"""The convolutional image trunk of the `pocket` checkpoint, in place of SAM 2's Hiera.

Inverted-residual blocks with squeeze-and-excitation, as in MobileNetV3 (Howard et al., 2019).
Everything else of `pocket` is SAM 2's own modules with smaller sizes: `configs/pocket.yaml`.
"""

from copy import deepcopy
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu
from torch.nn.utils.fusion import fuse_conv_bn_eval

WIDTHS = (32, 64, 128, 224)
DEPTHS = (1, 2, 5, 3)
STEM_WIDTH = 24


class PocketTrunk(nn.Module):
    """Turn images into four feature maps, as `sam2.modeling.backbones.image_encoder` expects."""

    channel_list: ClassVar[list[int]] = list(reversed(WIDTHS))
    """Channels of the maps, coarsest first."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Stem(STEM_WIDTH, WIDTHS[0])
        inputs = (WIDTHS[0], *WIDTHS[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    InvertedResidual(
                        source if block == 0 else width,
                        width,
                        expansion=2 if stage == 0 else 4,
                        stride=2 if stage > 0 and block == 0 else 1,
                    )
                    for block in range(depth)
                )
            )
            for stage, (source, width, depth) in enumerate(zip(inputs, WIDTHS, DEPTHS, strict=True))
        )

    def folded(self) -> "PocketTrunk":
        """Return a copy for inference, channels last, with the normalisations in the weights."""
        copy = deepcopy(self).eval()
        for module in copy.modules():
            for name, norm in list(module.named_children()):
                if isinstance(norm, nn.BatchNorm2d):
                    conv_name = name.replace("norm", "conv")
                    folded = fuse_conv_bn_eval(getattr(module, conv_name), norm)
                    setattr(module, conv_name, folded)
                    setattr(module, name, nn.Identity())
        for parameter in copy.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.contiguous(memory_format=torch.channels_last)
        return copy

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return maps at strides 4, 8, 16 and 32 of `images`, `(N, 3, H, W)` normalised RGB."""
        maps = []
        features = self.stem(images)
        for stage in self.stages:
            features = stage(features)
            maps.append(features)
        return maps


class Stem(nn.Module):
    """Two strided convolutions from pixels to stride 4."""

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, hidden, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(hidden)
        self.conv2 = nn.Conv2d(hidden, width, 3, stride=2, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)

    def forward(self, images: Tensor) -> Tensor:
        hidden = gelu(self.norm1(self.conv1(images)))
        features: Tensor = self.norm2(self.conv2(hidden))
        return features


class InvertedResidual(nn.Module):
    """Expand, filter each channel, re-weigh the channels, project back."""

    def __init__(self, source: int, width: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = source * expansion
        squeezed = max(8, hidden // 8)
        self.expand_conv = nn.Conv2d(source, hidden, 1, bias=False)
        self.expand_norm = nn.BatchNorm2d(hidden)
        self.depthwise_conv = nn.Conv2d(
            hidden, hidden, 5, stride=stride, padding=2, groups=hidden, bias=False
        )
        self.depthwise_norm = nn.BatchNorm2d(hidden)
        self.squeeze_reduce = nn.Conv2d(hidden, squeezed, 1)
        self.squeeze_expand = nn.Conv2d(squeezed, hidden, 1)
        self.project_conv = nn.Conv2d(hidden, width, 1, bias=False)
        self.project_norm = nn.BatchNorm2d(width)
        self.is_residual = source == width and stride == 1

    def forward(self, features: Tensor) -> Tensor:
        hidden = gelu(self.expand_norm(self.expand_conv(features)))
        hidden = gelu(self.depthwise_norm(self.depthwise_conv(hidden)))
        squeezed = gelu(self.squeeze_reduce(hidden.mean((2, 3), keepdim=True)))
        hidden = hidden * self.squeeze_expand(squeezed).sigmoid()
        projected: Tensor = self.project_norm(self.project_conv(hidden))
        return features + projected if self.is_residual else projected
