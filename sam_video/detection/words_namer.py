"""The network that names what lies in a box, a noun or nothing and a colour, and mends the box."""

from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from sam_video.detection.vocabulary import COLOURS, NOUNS
from sam_video.types import RGBImage

CROP_SIZE = 48
"""Side of the crops that it sees, in pixels."""
NO_NOUN = len(NOUNS)
"""Its index of nothing that it knows."""

_MARGIN = 0.25
"""Of a box's sides, that a crop shows around it."""
_WIDTHS = ((3, 24, 2), (24, 48, 2), (48, 96, 1), (96, 128, 2), (128, 192, 1))
"""Channels in and out, and stride, of each convolution."""


class Names(NamedTuple):
    """What the namer says of `N` crops, as logits."""

    nouns: Tensor
    """`(N, len(NOUNS) + 1)`, the last of them `NO_NOUN`."""
    colours: Tensor
    """`(N, len(COLOURS))`."""
    shifts: Tensor
    """`(N, 4)`: how far the edges of the thing are from those of the box, in its sides."""


class Namer(nn.Module):
    """Five convolutions, what they see all over the crop and where, and three heads."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(source, width, 3, stride=stride, padding=1, bias=False)
            for source, width, stride in _WIDTHS
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _, width, _ in _WIDTHS)
        self.hidden = nn.Linear(2 * _WIDTHS[-1][1], 192)
        self.noun_head = nn.Linear(192, len(NOUNS) + 1)
        self.colour_head = nn.Linear(192, len(COLOURS))
        self.places = nn.Conv2d(_WIDTHS[-1][1], 32, 1)
        self.place_hidden = nn.Linear(32 * (CROP_SIZE // 8) ** 2, 128)
        self.shift_head = nn.Linear(128, 4)

    def forward(self, crops: Tensor) -> Names:
        """Look at `(N, CROP_SIZE, CROP_SIZE, 3)` uint8 RGB crops."""
        features = crops.permute(0, 3, 1, 2).float() / 64 - 2
        for conv, norm in zip(self.convs, self.norms, strict=True):
            features = relu(norm(conv(features)))
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], dim=1)
        hidden = relu(self.hidden(pooled))
        places = relu(self.place_hidden(relu(self.places(features)).flatten(1)))
        return Names(self.noun_head(hidden), self.colour_head(hidden), self.shift_head(places))


def mended(boxes: Tensor, shifts: Tensor) -> Tensor:
    """Move the edges of `(N, 4)` boxes to where the namer sees them."""
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    moved: Tensor = (boxes + shifts * sides).clamp(0, 1)
    return moved


def crop(image: RGBImage, box: tuple[float, ...]) -> RGBImage:
    """Cut out a box, given in shares of the image, with a little around it.

    Returns:
        `(CROP_SIZE, CROP_SIZE, 3)`.
    """
    left, top, right, bottom = box
    margin = _MARGIN * np.array([right - left, bottom - top])
    height, width = image.shape[:2]
    start = np.floor((np.array([left, top]) - margin) * (width, height))
    end = np.ceil((np.array([right, bottom]) + margin) * (width, height))
    x0, y0 = np.clip(start, 0, (width - 1, height - 1)).astype(int)
    x1, y1 = np.clip(end, (x0 + 1, y0 + 1), (width, height)).astype(int)
    method = cv2.INTER_AREA if min(x1 - x0, y1 - y0) > CROP_SIZE else cv2.INTER_LINEAR
    resized = cv2.resize(image[y0:y1, x0:x1], (CROP_SIZE, CROP_SIZE), interpolation=method)
    return np.asarray(resized, dtype=np.uint8)
