"""Rotated keys of mask memories are kept only while they fit."""

import math
from pathlib import Path

import torch

from sam_video.model.batch_attention import LENGTHS, LONGER_SIZES, SIZES
from sam_video.model.interface import Prediction
from sam_video.model.load import build_network, load_weights
from sam_video.model.memory_attention import KEYS_SHARE
from sam_video.model.sam2 import SegmentationModel
from sam_video.model.tracked_work import BATCH_SIZES
from sam_video.tracking.memory import MAX_POINTERS, MAX_RECENT
from sam_video.tracking.tracker import MAX_BATCH, Tracker
from sam_video.types import Click, MaskFrame, ObjectPrompt
from sam_video.video.frame_list import FrameList
from tests.clips import draw_frame

WEIGHTS = Path(__file__).parents[2] / "weights" / "pocket.safetensors"
KEY_BYTES = 2 * 24 * 24 * 128 * 4
"""Of one mask memory of `pocket` in float32."""


def pocket(key_bytes: int) -> SegmentationModel:
    network = build_network("pocket")
    load_weights(network, WEIGHTS)
    return SegmentationModel(
        network, device=torch.device("cpu"), dtype=torch.float32, key_bytes=key_bytes
    )


def tracked(model: SegmentationModel) -> list[MaskFrame]:
    places = {"disc": (12, 19), "rectangle": (75, 40), "ground": (40, 50)}
    prompts = [ObjectPrompt(name, 0, (Click(x, y),)) for name, (x, y) in places.items()]
    frames = FrameList([draw_frame(index)[0] for index in range(10)])
    with Tracker(model, frames, prompts) as tracker:
        tracker.condition()
        return list(tracker.forward())


def test_masks_are_the_same_however_many_keys_are_kept() -> None:
    runs = [tracked(pocket(num_keys * KEY_BYTES)) for num_keys in (0, 5, 1000)]
    for frames in zip(*runs, strict=True):
        for known, *others in zip(*(frame.objects for frame in frames), strict=True):
            for other in others:
                assert (known.mask != other.mask).mean() < 0.0005
                assert math.isclose(known.object_score, other.object_score, abs_tol=1e-4)


def test_keys_are_kept_up_to_the_limit_and_again_when_memories_are_forgotten() -> None:
    model = pocket(3 * KEY_BYTES + 1)
    (image,) = model.encode_images([draw_frame(0)[0]])
    prompts = [ObjectPrompt(str(x), 0, (Click(x, 20),)) for x in (10, 50)]
    found = model.decode(image, model.without_memory(image), prompts, (64, 96))

    def lengths(count: int) -> tuple[list[torch.Tensor], list[int]]:
        rows = Prediction(
            found.mask_logits[:count],
            found.pointers[:count],
            found.object_score_logits[:count],
            found.predicted_ious[:count],
        )
        memories = list(model.encode_memory(image, rows, is_prompted=False))
        return memories, [memory.numel() for memory in memories]

    bare = 24 * 24 * 64
    full = bare + KEY_BYTES // 4
    first, sizes = lengths(2)
    assert sizes == [full, full]
    assert lengths(2)[1] == [bare, bare], "one more would fit, two do not"
    second, sizes = lengths(1)
    assert sizes == [full]
    assert lengths(1)[1] == [bare]
    del first[0]
    assert lengths(1)[1] == [full]
    del first, second
    assert lengths(2)[1] == [full, full]


def recorded_bytes(area: int, channels: int, width: int, num_layers: int) -> int:
    """Return the memory of the results of all recordings, beside what they compute in."""
    memory = area * (width + num_layers * channels) * 2
    logits = 256 * 256 * 4
    longer = [n for factor in LENGTHS[1:] for n in LONGER_SIZES if n * factor <= MAX_BATCH]
    informed = sum((*SIZES, *longer))
    return sum(BATCH_SIZES) * (memory + logits) + informed * area * channels * 4


def test_a_thousand_objects_of_large_fit_a_gpu_of_48_gigabytes() -> None:
    """Add up what they take in bfloat16, in bytes; see `KEYS_SHARE`."""
    total = 46_068 * 2**20  # of an L40S
    reserved = 0.5e9  # CUDA's own
    area, width, channels, num_layers = 64 * 64, 64, 256, 4
    num_maps = 1 + MAX_RECENT
    objects = 1000 * (
        num_maps * area * width * 2
        + MAX_POINTERS * channels * 4
        + 256 * 256 * 4  # the logits of the prompted mask
    )
    num_keys = num_maps * area + 4 * MAX_POINTERS
    call = MAX_BATCH * num_keys * (num_layers * channels + width) * 2
    computed = MAX_BATCH * 28 * 2**20
    encoder = 267 * 2**20
    weights = 225e6 * (4 + 2)
    fixed = reserved + weights + call + computed + encoder
    fixed += call + recorded_bytes(area, channels, width, num_layers) + 600e6 + encoder
    keys = KEYS_SHARE * (total - reserved - weights)
    assert objects + fixed + keys < 0.9 * total
    all_keys = 1000 * num_maps * num_layers * area * channels * 2
    assert objects + fixed + all_keys > total, "why their number is bounded"
