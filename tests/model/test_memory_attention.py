"""The memory attention beside the official module."""

import pytest
import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor

from benchmarks.official import seeded_network
from sam_video.model.interface import MemoryBatch
from sam_video.model.memory_attention import MemoryAttention

SIDE = 16
SLOTS = (0, 0, 1, 3, 6)


@pytest.fixture(scope="module")
def network() -> SAM2Base:
    return seeded_network("pocket")


def official(network: SAM2Base, features: Tensor, maps: Tensor, pointers: Tensor) -> Tensor:
    """Ask the official predictor's own method, with one object's memories."""
    positions = network.memory_encoder.position_encoding(maps)
    outputs = [
        {"maskmem_features": one, "maskmem_pos_enc": [position], "obj_ptr": pointer}
        for one, position, pointer in zip(
            maps.split(1), positions.split(1), pointers.split(1), strict=True
        )
    ]
    conditioning = dict(zip((0, 4), outputs[:2], strict=True))
    tracked = dict(zip((5, 7, 10), outputs[2:], strict=True))
    image_positions = network.image_encoder.neck.position_encoding(features)
    informed: Tensor = network._prepare_memory_conditioned_features(
        frame_idx=11,
        is_init_cond_frame=False,
        current_vision_feats=[features.flatten(2).permute(2, 0, 1)],
        current_vision_pos_embeds=[image_positions.flatten(2).permute(2, 0, 1)],
        feat_sizes=[(SIDE, SIDE)],
        output_dict={"cond_frame_outputs": conditioning, "non_cond_frame_outputs": tracked},
        num_frames=100,
    )
    return informed


@pytest.mark.parametrize("kept_of", [(), (0, 1, 2), (0, 2)], ids=["computed again", "kept", "both"])
@torch.inference_mode()
def test_objects_attend_together_as_each_does_alone(
    network: SAM2Base, kept_of: tuple[int, ...]
) -> None:
    generator = torch.Generator().manual_seed(5)
    features = torch.randn(1, 128, SIDE, SIDE, generator=generator)
    maps = torch.randn(3, len(SLOTS), 64, SIDE, SIDE, generator=generator).bfloat16().float()
    pointers = torch.randn(3, len(SLOTS), 128, generator=generator)
    key_bytes = 1 << 30 if kept_of else 0
    ours = MemoryAttention(network, side=SIDE, dtype=torch.float32, key_bytes=key_bytes)
    remembered = [
        ours.remember(one.permute(0, 2, 3, 1), with_keys=row in kept_of)
        for row, one in enumerate(maps)
    ]
    distances = torch.tensor([11.0, 7, 6, 4, 1]).expand(3, -1)
    # The official method takes the pointers of tracked frames from the newest to the oldest.
    order = [0, 1, 4, 3, 2]
    batch = MemoryBatch(
        tuple(tuple(one) for one in remembered),
        (SLOTS,) * 3,
        pointers[:, order],
        distances[:, order],
    )
    informed = ours(features, batch, 16)
    for row in range(3):
        expected = official(network, features, maps[row], pointers[row])
        assert (informed[row] - expected[0]).abs().max() < 2e-5
