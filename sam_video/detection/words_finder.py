"""The network that finds things: nouns, boxes and colours for every cell of a grid."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, interpolate, softplus

from sam_video.detection.vocabulary import COLOURS, NOUNS
from sam_video.model.pocket import WIDTHS, PocketTrunk

IMAGE_SIZE = 192
"""Side of the images that the network sees, in pixels."""
GRID = IMAGE_SIZE // 8

_WIDTH = 96
_MEAN = (123.675, 116.28, 103.53)
_DEVIATION = (58.395, 57.12, 57.375)


class CellOutputs(NamedTuple):
    """What the network says of each of `G x G` cells, as logits but for the boxes."""

    nouns: Tensor
    """`(B, len(NOUNS), G, G)`."""
    colours: Tensor
    """`(B, len(COLOURS), G, G)`."""
    boxes: Tensor
    """`(B, 4, G, G)`: left, top, right, bottom in shares of the image."""
    quality: Tensor
    """`(B, 1, G, G)`: IoU of the box with the thing's."""


class Finder(nn.Module):
    """Pocket's trunk, a feature pyramid at stride 8, and a head for each output."""

    grid: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.trunk = PocketTrunk().folded()
        self.laterals = nn.ModuleList(nn.Conv2d(width, _WIDTH, 1) for width in WIDTHS[1:])
        self.whole = nn.Linear(WIDTHS[-1], _WIDTH)
        self.blocks = nn.ModuleList(_Block(dilation) for dilation in (1, 2, 1))
        self.norm = nn.GroupNorm(8, _WIDTH)
        self.noun_head = nn.Conv2d(_WIDTH, len(NOUNS), 1)
        self.colour_head = nn.Conv2d(_WIDTH, len(COLOURS), 1)
        self.box_head = nn.Conv2d(_WIDTH, 4, 1)
        self.quality_head = nn.Conv2d(_WIDTH, 1, 1)
        centres = (torch.arange(GRID) + 0.5) / GRID
        grid = torch.stack(torch.meshgrid(centres, centres, indexing="xy"))
        self.register_buffer("grid", grid, persistent=False)

    def forward(self, images: Tensor) -> CellOutputs:
        """Look at `(B, IMAGE_SIZE, IMAGE_SIZE, 3)` uint8 RGB images."""
        features = self._pyramid(_normalised(images))
        for block in self.blocks:
            features = features + block(features)
        features = gelu(self.norm(features))
        reach = softplus(self.box_head(features)) / 4
        boxes = torch.cat([self.grid - reach[:, :2], self.grid + reach[:, 2:]], dim=1)
        return CellOutputs(
            self.noun_head(features), self.colour_head(features), boxes, self.quality_head(features)
        )

    def _pyramid(self, images: Tensor) -> Tensor:
        """Add what coarser maps and the whole image say to the map at stride 8."""
        _, fine, middle, coarse = self.trunk(images)
        features = self.laterals[1](middle) + interpolate(self.laterals[2](coarse), scale_factor=2)
        features = interpolate(features, scale_factor=2, mode="bilinear")
        whole = self.whole(coarse.mean((2, 3)))[..., None, None]
        summed: Tensor = self.laterals[0](fine) + features + whole
        return summed


class _Block(nn.Sequential):
    """Look around each cell, then mix the channels."""

    def __init__(self, dilation: int) -> None:
        super().__init__(
            nn.Conv2d(_WIDTH, _WIDTH, 5, padding=2 * dilation, dilation=dilation, groups=_WIDTH),
            nn.GroupNorm(8, _WIDTH),
            nn.Conv2d(_WIDTH, 2 * _WIDTH, 1),
            nn.GELU(),
            nn.Conv2d(2 * _WIDTH, _WIDTH, 1),
        )


def _normalised(images: Tensor) -> Tensor:
    mean, deviation = (
        torch.tensor(values, device=images.device).view(3, 1, 1) for values in (_MEAN, _DEVIATION)
    )
    normalised: Tensor = (images.permute(0, 3, 1, 2).float() - mean) / deviation
    return normalised.contiguous(memory_format=torch.channels_last)
