"""What the image encoder says of the frames of a batch, and how memory attention is computed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from training.batches import ClipBatch


@dataclass(frozen=True, slots=True, eq=False)
class FrameFeatures:
    """What the image encoder says of one frame, once per object."""

    low: Tensor
    """`(N, C, h, w)`."""
    high: tuple[Tensor, Tensor]
    """`(N, C/8, 4h, 4w)` and `(N, C/4, 2h, 2w)`."""
    positions: Tensor
    """`(h w, N, C)`."""

    @property
    def tokens(self) -> Tensor:
        """`(h w, N, C)`, the order of SAM 2's memory attention."""
        return self.low.flatten(2).permute(2, 0, 1)


def encode(
    network: SAM2Base, batch: ClipBatch, indices: range, *, halves: bool = False
) -> dict[int, FrameFeatures]:
    """Encode several frames in one pass, which takes less time than one by one.

    Args:
        network: Has the image encoder.
        batch: The clips.
        indices: The frames.
        halves: Whether an encoder that does not learn here runs in bfloat16, which takes half
            the time; with gradients it would take longer.

    Returns:
        The features of every frame, by its index.
    """
    images = torch.cat([batch.frame(index) for index in indices])
    learns = torch.is_grad_enabled() and next(network.image_encoder.parameters()).requires_grad
    with torch.autocast(images.device.type, torch.bfloat16, enabled=halves and not learns):
        maps = network.forward_image(images)
    levels = [level.to(images.dtype).chunk(len(indices)) for level in maps["backbone_fpn"]]
    positions = maps["vision_pos_enc"][-1].chunk(len(indices))
    return {
        index: _gather(*maps_of_frame, clip_index=batch.clip_index)
        for index, *maps_of_frame in zip(indices, *levels, positions, strict=True)
    }


def _gather(
    high: Tensor, middle: Tensor, low: Tensor, positions: Tensor, *, clip_index: Tensor
) -> FrameFeatures:
    """Give every object the maps of its clip."""
    high, middle, low = (level[clip_index] for level in (high, middle, low))
    places = positions[clip_index].flatten(2).permute(2, 0, 1)
    return FrameFeatures(low, (high, middle), places)


@contextmanager
def bfloat16_attention() -> Iterator[None]:
    """Multiply in bfloat16; plain products, whose gradients take half the time of fused ones."""
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)  # on the CPU, too
    with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        yield
