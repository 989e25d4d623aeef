"""Frames per second beside the official `SAM2VideoPredictor`, in one run.

Both get the same frames, prompts, weights and number type, and take turns. Frames are decoded and
resized beforehand for the official predictor, which cannot do otherwise; ours resizes while it
tracks, and both give masks at the size of the video. Run `python -m benchmarks.speed --help`.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from sam2.modeling.sam2_base import SAM2Base
from sam2.sam2_video_predictor import SAM2VideoPredictor

from benchmarks.clips import clicked_objects, read_images
from benchmarks.official import add, official_predictor, start
from sam_video.checkpoints import find_checkpoint
from sam_video.frames import FrameList
from sam_video.model import SegmentationModel
from sam_video.network import build_network, default_device, default_dtype, load_weights
from sam_video.request import MODEL_NAMES
from sam_video.tracker import Tracker
from sam_video.types import ObjectPrompt, RGBImage

ROUNDS = 2
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def main() -> None:
    """Measure and print a table."""
    options = parse_options()
    device = torch.device(options.device or default_device())
    images = read_images(options.video, options.frames)
    network = load_network(options.model)
    dtype = DTYPES[options.dtype] if options.dtype else default_dtype(network, device)
    height, width = images[0].shape[:2]
    print(
        f"{options.model}, {device}, {dtype}, {torch.get_num_threads()} threads, torch "
        f"{torch.__version__}; {len(images)} frames of {width}x{height} "
    )
    print(f"{'objects':>8} {'official fps':>13} {'sam_video fps':>14} {'ratio':>6}")
    for count in options.objects:
        prompts = clicked_objects(width, height, count)
        predictor = official_predictor(options.model, network).to(device)
        model = SegmentationModel(network, device=device, dtype=dtype)
        official, ours = measure(predictor, model, images, prompts)
        print(f"{count:8} {official:13.2f} {ours:14.2f} {ours / official:6.2f}")


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=MODEL_NAMES, default="pocket")
    parser.add_argument("--video", type=Path, help="by default the project's drawn sample clip")
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 3, 8])
    parser.add_argument("--device", help="by default the GPU where there is one")
    parser.add_argument("--dtype", choices=DTYPES, help="by default what the device is best at")
    return parser.parse_args()


def load_network(name: str) -> SAM2Base:
    """Build a network, with its published weights where they lie on this machine, else random."""
    network = build_network(name)
    path = find_checkpoint(name)
    if path is None:
        print(f"{name} is not on this machine: random weights, which take as long")
    else:
        load_weights(network, path)
    return network


def measure(
    predictor: SAM2VideoPredictor,
    model: SegmentationModel,
    images: Sequence[RGBImage],
    prompts: Sequence[ObjectPrompt],
) -> tuple[float, float]:
    """Return frames per second of both: the best of rounds in which they take turns."""
    official, ours = [], []
    for _ in range(ROUNDS):
        official.append(len(images) / official_seconds(predictor, model.dtype, images, prompts))
        ours.append(len(images) / our_seconds(model, images, prompts))
    return max(official), max(ours)


def official_seconds(
    predictor: SAM2VideoPredictor,
    dtype: torch.dtype,
    images: Sequence[RGBImage],
    prompts: Sequence[ObjectPrompt],
) -> float:
    """Time the official predictor from the first prompt to the last mask."""
    is_bf16 = dtype is torch.bfloat16
    with torch.autocast(predictor.device.type, torch.bfloat16, enabled=is_bf16):
        state = start(predictor, images)
        started = time.perf_counter()
        for prompt in prompts:
            add(predictor, state, prompt)
        for _, _, logits in predictor.propagate_in_video(state):
            (logits > 0).cpu()
        return time.perf_counter() - started


def our_seconds(
    model: SegmentationModel, images: Sequence[RGBImage], prompts: Sequence[ObjectPrompt]
) -> float:
    """Time ours, likewise."""
    started = time.perf_counter()
    with Tracker(model, FrameList(images), prompts) as tracker:
        tracker.condition()
        for _ in tracker.forward():
            pass
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
