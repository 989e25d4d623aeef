"""Pixels between frame and network."""

import pytest
import torch

from sam_video.model.pixels import pack_masks, unpack_masks


@pytest.mark.parametrize("width", [1, 7, 8, 9, 64, 427])
def test_packed_masks_come_back_as_they_were(width: int) -> None:
    masks = torch.rand(3, 2, 5, width, generator=torch.Generator().manual_seed(width)) > 0.5
    bits = pack_masks(masks)
    assert bits.shape == (3, 2, 5, -(-width // 8))
    assert bits.dtype is torch.uint8
    found = unpack_masks(bits.numpy(), width)
    assert found.dtype == bool
    assert (found == masks.numpy()).all()
