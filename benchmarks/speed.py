"""Speed beside the official `SAM2VideoPredictor`, in one run.

Both get the same frames, prompts, weights and number type, and take turns. Two things are measured:
tracking alone, for which the official predictor gets its frames decoded and resized, as it cannot
do otherwise, while ours resizes as it tracks; and file to file, from a video to a video of the
masks. Run `python -m benchmarks.speed --help`.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from sam2.modeling.sam2_base import SAM2Base

from benchmarks.breakdown import print_breakdown
from benchmarks.clips import clicked_objects, read_images
from benchmarks.official import official_predictor
from benchmarks.runs import files_by_turns, write_clip
from benchmarks.tracking import Timing, by_turns
from sam_video.checkpoints.catalogue import find_checkpoint
from sam_video.model.device import default_device, default_dtype
from sam_video.model.load import build_network, load_weights
from sam_video.model.sam2 import SegmentationModel
from sam_video.request import MODEL_NAMES

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
HEADER = (
    f"{'':16} {'objects':>7} {'frames':>6} {'official':>9} {'ours':>9} {'ratio':>6}"
    f" {'CPU time':>8} {'first mask, s':>15} {'peak memory, MB':>16}"
)


def main() -> None:
    """Measure, print a table, and write it as JSON where asked."""
    options = parse_options()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device(options.device or default_device())
    network = load_network(options.model)
    dtype = DTYPES[options.dtype] if options.dtype else default_dtype(device)
    machine = {
        "model": options.model,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "dtype": str(dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    if not options.profile:
        print(f"frames per second, and their ratio; ratio of the CPU time\n{HEADER}")
    rows = []
    for row in measurements(
        options, network, SegmentationModel(network, device=device, dtype=dtype)
    ):
        rows.append(row)
        if options.json:  # after each row, since a run may take hours
            options.json.write_text(json.dumps({**machine, "rows": rows}, indent=1))


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=MODEL_NAMES, default="pocket")
    parser.add_argument("--video", type=Path, help="by default the project's drawn sample clip")
    parser.add_argument("--frames", type=int, nargs="+", default=[30], help="lengths to measure")
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 5, 10])
    parser.add_argument("--rounds", type=int, default=2, help="of which the fastest counts")
    parser.add_argument("--device", help="by default the GPU where there is one")
    parser.add_argument("--dtype", choices=DTYPES, help="by default what the device is best at")
    parser.add_argument("--threads", type=int, help="by default as many as there are cores")
    parser.add_argument("--no-files", action="store_true", help="measure tracking alone")
    parser.add_argument("--compiled", action="store_true", help="against `vos_optimized`, on CUDA")
    parser.add_argument("--profile", action="store_true", help="only tell where our time goes")
    parser.add_argument("--json", type=Path, help="write the figures here too")
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


def measurements(
    options: argparse.Namespace, network: SAM2Base, model: SegmentationModel
) -> Iterator[dict[str, Any]]:
    """Measure and print every combination of length, number of objects and kind of run."""
    predictor = official_predictor(options.model, network, is_compiled=options.compiled)
    predictor = predictor.to(model.device)
    for count in options.frames:
        images = read_images(options.video, count)
        height, width = images[0].shape[:2]
        with tempfile.TemporaryDirectory() as folder:
            video = Path(folder) / "clip.mp4"
            write_clip(images, video)
            for num_objects in options.objects:
                prompts = clicked_objects(width, height, num_objects)
                if options.profile:
                    print_breakdown(model, video, prompts, len(images))
                    continue
                tracked = by_turns(predictor, model, images, prompts, options.rounds)
                yield reported("tracking", num_objects, len(images), *tracked)
                if not options.no_files:
                    both = files_by_turns(predictor, model, video, prompts, options.rounds)
                    yield reported("file to file", num_objects, len(images), *both)


def reported(
    kind: str, num_objects: int, num_frames: int, official: Timing, ours: Timing
) -> dict[str, Any]:
    """Print a row of the table, and return it."""
    print(
        f"{kind:16} {num_objects:7} {num_frames:6}"
        f" {num_frames / official.seconds:9.2f} {num_frames / ours.seconds:9.2f}"
        f" {official.seconds / ours.seconds:6.2f} {official.cpu_seconds / ours.cpu_seconds:8.2f}"
        f" {official.first_mask_seconds:7.2f} {ours.first_mask_seconds:7.2f}"
        f" {peak(official):8.0f} {peak(ours):7.0f}",
        flush=True,
    )
    return {
        "kind": kind,
        "objects": num_objects,
        "frames": num_frames,
        "official": official.as_dict(),
        "ours": ours.as_dict(),
    }


def peak(timing: Timing) -> float:
    """Return megabytes of the memory that matters: the GPU's where there is one."""
    return timing.peak_gpu_megabytes or timing.peak_megabytes


if __name__ == "__main__":
    main()
