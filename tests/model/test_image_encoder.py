"""The image encoder on several frames at a time."""

import numpy as np
import pytest
import torch

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
