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

from benchmarks.clips import clicked_objects, read_images
from benchmarks.official import add, official_predictor, start
from sam_video.checkpoints import find_checkpoint
from sam_video.frames import FrameList
from sam_video.model import SegmentationModel
from sam_video.network import build_network, default_device, default_dtype, load_weights
from sam_video.request import MODEL_NAMES
from sam_video.tracker import Tracker
from sam_video.types import ObjectPrompt, RGBImage

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def main() -> None:
    """Measure and print a table."""
    options = parse_options()
    device = torch.device(options.device or default_device())
    dtype = DTYPES[options.dtype] if options.dtype else default_dtype(device)
    images = read_images(options.video, options.frames)
    network = load_network(options.model)
    height, width = images[0].shape[:2]
    print(
        f"{options.model}, {device}, {dtype}, {torch.get_num_threads()} threads, torch "
        f"{torch.__version__}; {len(images)} frames of {width}x{height} "
    )
    print(f"{'objects':>8} {'official fps':>13} {'sam_video fps':>14} {'ratio':>6}")
    for count in options.objects:
        prompts = clicked_objects(width, height, count)
        official, ours = measure(network, options.model, images, prompts, device, dtype)
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
    network: SAM2Base,
    name: str,
    images: Sequence[RGBImage],
    prompts: Sequence[ObjectPrompt],
    device: torch.device,
    dtype: torch.dtype,
    rounds: int = 2,
) -> tuple[float, float]:
    """Return frames per second of the official predictor and ours: the best of alternating rounds."""
    predictor = official_predictor(name, network).to(device)
    model = SegmentationModel(network, device=device, dtype=dtype)
    official, ours = [], []
    for _ in range(rounds):
        with torch.autocast(device.type, torch.bfloat16, enabled=dtype is torch.bfloat16):
            state = start(predictor, images)
            started = time.perf_counter()
            for prompt in prompts:
                add(predictor, state, prompt)
            for _, _, logits in predictor.propagate_in_video(state):
                (logits > 0).cpu()
            official.append(len(images) / (time.perf_counter() - started))
        started = time.perf_counter()
        with Tracker(model, FrameList(images), prompts) as tracker:
            tracker.condition()
            for _ in tracker.forward():
                pass
        ours.append(len(images) / (time.perf_counter() - started))
    return max(official), max(ours)


if __name__ == "__main__":
    main()
