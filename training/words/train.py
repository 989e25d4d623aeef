"""Train a part of pocket's words: `python -m training.words.train --help`."""

import argparse
import math
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader, Subset

from sam_video.detection.words_finder import Finder
from sam_video.detection.words_namer import Namer
from sam_video.model.pocket import PocketTrunk
from training.photos import PhotoLibrary
from training.train import Clock, save_weights
from training.words.crops import CropBatches
from training.words.losses import finder_losses, namer_losses
from training.words.targets import SceneBatches
from training.words.trainer import Trainer

_POCKET = Path("weights/pocket.safetensors")
_TRUNK_SHARE = 0.4
"""Of the learning rate, for the trunk, which has learned already."""
_REPORT_EVERY = 50
_TRUNK_PREFIX = "image_encoder.trunk."


def build_finder(weights: Path) -> Finder:
    """Build the finder to train from the weights of a finder, or of the pocket checkpoint.

    The trunk's normalisations are in its weights, and its first layers, which know edges already,
    do not learn.
    """
    network = Finder()
    assert network.noun_head.bias is not None
    nn.init.constant_(network.noun_head.bias, -4.6)  # a name is rare: one in a hundred at first
    found = load_file(weights)
    if any(name.startswith(_TRUNK_PREFIX) for name in found):
        pairs = ((name.removeprefix(_TRUNK_PREFIX), value) for name, value in found.items())
        trunk = PocketTrunk()
        names = trunk.state_dict()
        trunk.load_state_dict({name: value for name, value in pairs if name in names})
        network.trunk = trunk.folded()
    else:
        network.load_state_dict(found)
    for part in (network.trunk.stem, *network.trunk.stages[:2]):
        part.requires_grad_(False)
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.contiguous(memory_format=torch.channels_last)
    return network


def finder_trainer(options: argparse.Namespace) -> Trainer:
    """Return what trains the finder, from other weights."""
    finder = build_finder(options.weights or _POCKET)
    groups = [(finder.trunk, _TRUNK_SHARE)]
    rate = options.learning_rate
    return Trainer(finder, finder_losses, learning_rate=rate, decay=0.998, groups=groups)


def namer_trainer(options: argparse.Namespace) -> Trainer:
    """Return what trains the namer, from nothing or from other weights."""
    namer = Namer()
    if options.weights:
        namer.load_state_dict(load_file(options.weights))
    return Trainer(namer, namer_losses, learning_rate=options.learning_rate, decay=0.99)


def main(arguments: list[str] | None = None) -> None:
    """Run the training of a part, from the command line."""
    options = _parser().parse_args(arguments)
    cv2.setNumThreads(1)
    torch.manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    trainer = finder_trainer(options) if options.part == "finder" else namer_trainer(options)
    clock = Clock(options.steps, 60 * options.minutes)
    resumed = options.out / "last.pt"
    if options.resume and resumed.exists():
        state = torch.load(resumed, weights_only=True)
        trainer.restore(state["trainer"])
        clock.spent_seconds = state["spent_seconds"]
    _run(trainer, clock, options)


def _run(trainer: Trainer, clock: Clock, options: argparse.Namespace) -> None:
    """Learn until the clock ends; report and save now and then."""
    history: list[dict[str, float]] = []
    saved = time.monotonic()
    started = saved - clock.spent_seconds
    for batch in _loader(trainer.step, clock.steps, options):
        clock.spent_seconds = time.monotonic() - started
        progress = clock.progress(trainer.step)
        if progress >= 1:
            break
        history.append(trainer.learn(batch, progress))
        if trainer.step % _REPORT_EVERY == 0:
            _report(trainer, clock, history)
            history.clear()
        if time.monotonic() - saved > 60 * options.save_minutes:
            saved = time.monotonic()
            _save(trainer, clock, options)
    _save(trainer, clock, options)


def _loader(step: int, steps: int, options: argparse.Namespace) -> DataLoader[Any]:
    photos = PhotoLibrary(*options.photos) if options.photos else None
    scenes = SceneBatches(photos, scenes=options.scenes, seed=options.seed, steps=steps)
    batches = scenes if options.part == "finder" else CropBatches(scenes)
    return DataLoader(
        Subset(batches, range(step, steps)),
        batch_size=None,
        num_workers=options.workers,
        prefetch_factor=8 if options.workers else None,
    )


def _report(trainer: Trainer, clock: Clock, history: list[dict[str, float]]) -> None:
    means = {name: np.mean([losses[name] for losses in history]) for name in history[0]}
    text = ", ".join(f"{name} {mean:.3f}" for name, mean in means.items())
    print(f"step {trainer.step}, {clock.spent_seconds / 60:.1f} min: {text}", flush=True)


def _save(trainer: Trainer, clock: Clock, options: argparse.Namespace) -> None:
    """Write the state to resume from and the averaged weights."""
    part = options.out / "last.part"
    torch.save({"trainer": trainer.state(), "spent_seconds": clock.spent_seconds}, part)
    part.replace(options.out / "last.pt")
    save_weights(trainer.average, options.out / f"{options.part}.safetensors")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.words.train",
        description="Train a part of pocket's own words on drawn scenes, on a CPU. The averaged "
        "weights go to OUT/PART.safetensors.",
    )
    add = parser.add_argument
    add("--part", choices=["finder", "namer"], required=True, help="what learns")
    add("--weights", type=Path, help="to start from (.safetensors)")
    add("--photos", type=Path, nargs="+", help="folders of SET/images; some are backgrounds")
    add("--out", type=Path, required=True, help="folder for checkpoints")
    add("--resume", action="store_true", help="go on from OUT/last.pt if it is there")
    add("--steps", type=int, default=1_000_000, help="length of the run in steps")
    add("--minutes", type=float, default=math.inf, help="length of the run in time, if shorter")
    add("--scenes", type=int, default=4, help="in each batch")
    add("--learning-rate", type=float, default=2e-3, help="at its highest; the trunk's is lower")
    add("--seed", type=int, default=0, help="same seed and steps, same weights")
    add("--workers", type=int, default=0, help="processes that draw scenes ahead")
    add("--save-minutes", type=float, default=4, help="between checkpoints")
    return parser


if __name__ == "__main__":
    main()
