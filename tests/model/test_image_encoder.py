"""The image encoder on several frames at a time."""

import numpy as np
import pytest
import torch

from sam_video.model.image_encoder import moved
from sam_video.model.load import build_network
from sam_video.model.sam2 import SegmentationModel


@pytest.mark.parametrize(("name", "size"), [("pocket", 128), ("tiny", 256)])
def test_frames_encoded_together_have_the_features_that_they_have_alone(
    name: str, size: int
) -> None:
    torch.manual_seed(0)
    network = build_network(name, image_size=size)
    model = SegmentationModel(network, device=torch.device("cpu"), dtype=torch.float32)
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 60, 3), dtype=np.uint8)
    together = model.encode_images(list(images))
    for image, found in zip(images, together, strict=True):
        (alone,) = model.encode_images([image])
        assert torch.allclose(found.features, alone.features, atol=1e-4)
        for maps, same in zip(found.high_res, alone.high_res, strict=True):
            assert maps.shape == same.shape
            assert torch.allclose(maps, same, atol=1e-4)


@pytest.mark.parametrize("name", ["pocket", "tiny"])
def test_a_network_moves_with_its_trunk_in_bfloat16_and_the_original_stays(name: str) -> None:
    network = build_network(name, image_size=256)
    found = moved(network, torch.device("meta"), torch.bfloat16)
    assert {one.device.type for one in found.parameters()} == {"meta"}
    weights = [one for one in found.image_encoder.trunk.parameters() if one.ndim > 1]
    in_bf16 = sum(one.numel() for one in weights if one.dtype is torch.bfloat16)
    assert in_bf16 > 0.99 * sum(one.numel() for one in weights)
    assert {(one.device.type, one.dtype) for one in network.parameters()} == {
        ("cpu", torch.float32)
    }


def test_a_network_that_moves_in_float32_leaves_the_original_in_place() -> None:
    network = build_network("tiny", image_size=256)
    found = moved(network, torch.device("meta"), torch.float32)
    assert {(one.device.type, one.dtype) for one in found.parameters()} == {("meta", torch.float32)}
    assert {one.device.type for one in network.parameters()} == {"cpu"}
