"""Train pocket's words: `python -m training.words.train --help`."""

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

from sam_video.detection.words_network import WordsNetwork
from sam_video.model.pocket import PocketTrunk
from training.photos import PhotoLibrary
from training.train import Clock, learning_rate_factor, save_weights
from training.words.losses import Losses, losses
from training.words.targets import SceneBatch, SceneBatches

_AVERAGE_DECAY = 0.998
_TRUNK_SHARE = 0.4
"""Of the learning rate, for the trunk, which has learned already."""
_WARM_UP = 0.02
_REPORT_EVERY = 50
_TRUNK_PREFIX = "image_encoder.trunk."


class Trainer:
    """A network, its optimiser and the running average of its weights."""

    def __init__(self, network: WordsNetwork, *, learning_rate: float) -> None:
        self.network, self.learning_rate = network.eval(), learning_rate
        self.average = {name: value.clone() for name, value in network.state_dict().items()}
        trunk = [p for p in network.trunk.parameters() if p.requires_grad]
        heads = [p for name, p in network.named_parameters() if not name.startswith("trunk.")]
        self.optimizer = torch.optim.AdamW(
            [{"params": heads, "share": 1.0}, {"params": trunk, "share": _TRUNK_SHARE}],
            weight_decay=0.02,
        )
        self.step = 0

    def learn(self, batch: SceneBatch, progress: float) -> tuple[float, ...]:
        """Take one optimisation step and return its losses."""
        for group in self.optimizer.param_groups:
            group["lr"] = (
                self.learning_rate * group["share"] * learning_rate_factor(progress, _WARM_UP)
            )
        parts = losses(self.network(batch.images), batch)
        self.optimizer.zero_grad()
        parts.total().backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), 2.0)
        if norm.isfinite():
            self.optimizer.step()
        self.step += 1
        self._update_average()
        return tuple(float(part.detach()) for part in parts)

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(_AVERAGE_DECAY, (1 + self.step) / (10 + self.step))
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)

    def state(self) -> dict[str, Any]:
        """Return all that `restore` needs to go on exactly from here."""
        return {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a saved `state`."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name, value in state["average"].items():
            self.average[name].copy_(value)
        self.step = state["step"]


def build(weights: Path) -> WordsNetwork:
    """Build the network to train from the weights of words, or of the pocket checkpoint.

    The trunk's normalisations are in its weights, and its first layers, which know edges already,
    do not learn.
    """
    network = WordsNetwork()
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


def main(arguments: list[str] | None = None) -> None:
    """Run the training, from the command line."""
    options = _parser().parse_args(arguments)
    cv2.setNumThreads(1)
    torch.manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(build(options.weights), learning_rate=options.learning_rate)
    clock = Clock(options.steps, 60 * options.minutes)
    resumed = options.out / "last.pt"
    if options.resume and resumed.exists():
        state = torch.load(resumed, weights_only=True)
        trainer.restore(state["trainer"])
        clock.spent_seconds = state["spent_seconds"]
    _run(trainer, clock, options)


def _run(trainer: Trainer, clock: Clock, options: argparse.Namespace) -> None:
    """Learn until the clock ends; report and save now and then."""
    history: list[tuple[float, ...]] = []
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
            _save(trainer, clock, options.out)
    _save(trainer, clock, options.out)


def _loader(step: int, steps: int, options: argparse.Namespace) -> DataLoader[SceneBatch]:
    photos = PhotoLibrary(*options.photos) if options.photos else None
    batches = SceneBatches(photos, scenes=options.scenes, seed=options.seed, steps=steps)
    return DataLoader(
        Subset(batches, range(step, steps)),
        batch_size=None,
        num_workers=options.workers,
        prefetch_factor=8 if options.workers else None,
    )


def _report(trainer: Trainer, clock: Clock, history: list[tuple[float, ...]]) -> None:
    means = zip(Losses._fields, np.mean(history, axis=0), strict=True)
    losses_text = ", ".join(f"{name} {mean:.3f}" for name, mean in means)
    minutes = clock.spent_seconds / 60
    print(f"step {trainer.step}, {minutes:.1f} min: {losses_text}", flush=True)


def _save(trainer: Trainer, clock: Clock, folder: Path) -> None:
    """Write the state to resume from and the averaged weights."""
    part = folder / "last.part"
    torch.save({"trainer": trainer.state(), "spent_seconds": clock.spent_seconds}, part)
    part.replace(folder / "last.pt")
    save_weights(trainer.average, folder / "pocket_words.safetensors")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.words.train",
        description="Train pocket's own words on drawn scenes, on a CPU. The averaged weights go "
        "to OUT/pocket_words.safetensors.",
    )
    add = parser.add_argument
    add("--weights", type=Path, required=True, help="of words, or of pocket (.safetensors)")
    add("--photos", type=Path, nargs="+", help="folders of SET/images; some are backgrounds")
    add("--out", type=Path, required=True, help="folder for checkpoints")
    add("--resume", action="store_true", help="go on from OUT/last.pt if it is there")
    add("--steps", type=int, default=1_000_000, help="length of the run in steps")
    add("--minutes", type=float, default=math.inf, help="length of the run in time, if shorter")
    add("--scenes", type=int, default=4, help="in each batch")
    add("--learning-rate", type=float, default=2e-3, help="of the heads, at its highest")
    add("--seed", type=int, default=0, help="same seed and steps, same weights")
    add("--workers", type=int, default=0, help="processes that draw scenes ahead")
    add("--save-minutes", type=float, default=4, help="between checkpoints")
    return parser


if __name__ == "__main__":
    main()
