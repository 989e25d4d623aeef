"""The image that OWLv2 sees, made on the device.

OWLv2's processor pads an image with black to a square, blurs it with a Gaussian where it shrinks,
and takes samples by linear interpolation (`skimage.transform.resize`, over `scipy.ndimage`). All of
this is linear, and the same for rows and columns: each sample is a weighted sum of a few pixels
along each axis. So the square, which for a narrow image would be huge, is never made.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from sam_video.detection.pixels import on_device
from sam_video.types import RGBImage

_MEAN = (0.48145466, 0.4578275, 0.40821073)  # of CLIP, red, green and blue
_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
_TRUNCATE = 4.0  # the blur reaches so many standard deviations far


def to_square(image: RGBImage, size: int, device: torch.device) -> Tensor:
    """Return an image as the `(1, 3, size, size)` float32 input of OWLv2.

    The scale is that of the longer side; the rest at the right or at the bottom is black.
    """
    H, W = image.shape[:2]
    levels = on_device(image, device)
    side = max(H, W)
    rows = _sampled(levels, 0, *_taps(H, side, size, device))
    samples = _sampled(rows, 1, *_taps(W, side, size, device))
    square = pad(samples, (0, 0, 0, size - samples.shape[1], 0, size - samples.shape[0]))
    mean, deviation = (torch.tensor(values, device=device) for values in (_MEAN, _DEVIATION))
    return ((square / 255 - mean) / deviation).permute(2, 0, 1)[None]


def _sampled(values: Tensor, axis: int, index: Tensor, weight: Tensor) -> Tensor:
    """Replace an axis by samples along it.

    Args:
        values: `(A, B, 3)`.
        axis: 0 or 1.
        index: `(N, T)` int64, the T places that each sample is made of.
        weight: `(N, T)` float32, their weights.
    """
    shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
    terms = (
        values.index_select(axis, places) * factors.view(shape)
        for places, factors in zip(index.T, weight.T, strict=True)
    )
    total: Tensor = next(terms)
    for term in terms:
        total += term
    return total


def _taps(length: int, side: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return which pixels each sample along an axis is made of, and with which weights.

    The samples after the last one that sees the image are left out.

    Args:
        length: Of the image along the axis.
        side: Of the square that the image is padded to.
        size: Number of samples.
        device: Where the tables are used.
    """
    factor = side / size
    sigma = max(0.0, (factor - 1) / 2)
    radius = int(_TRUNCATE * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    blur = torch.exp(-0.5 * (offsets / sigma) ** 2) if radius else torch.ones(1).double()
    blur = pad(blur / blur.sum(), (1, 1))
    places = (torch.arange(size, dtype=torch.float64) + 0.5) * factor - 0.5
    before = places.floor()
    share = (places - before)[:, None]
    weight = (1 - share) * blur[1:] + share * blur[:-1]
    index = before.long()[:, None] + torch.arange(-radius, radius + 2)
    index = _mirrored(index, side)
    weight = weight.where(index < length, 0.0).float()
    used = int((weight > 0).any(dim=1).sum())
    return index[:used].clamp(max=length - 1).to(device), weight[:used].to(device)


def _mirrored(index: Tensor, side: int) -> Tensor:
    """Return places beyond the ends as those that a mirror on the first or last pixel shows."""
    period = max(1, 2 * (side - 1))
    folded = index.abs() % period
    return folded.minimum(period - folded) if side > 1 else torch.zeros_like(index)
