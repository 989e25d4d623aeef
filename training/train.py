"""Train the pocket checkpoint: `python -m training.train --help`."""

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from sam_video.model.load import build_network
from training.batches import ClipBatch, ClipBatches, ClipShape
from training.learning import Learning
from training.mixture import Mixture
from training.photos import PhotoLibrary
from training.prompts import draw_plan
from training.ranks import agree, average_gradients, average_norms, join_ranks
from training.score import score_network
from training.stages import STAGES, Stage
from training.unroll import Unroll
from training.videos import VideoLibrary

_AVERAGE_DECAY = 0.998
_REPORT_EVERY = 20


@dataclass(slots=True)
class Clock:
    """How far a run is: by its steps, or by its minutes where these end sooner."""

    steps: int
    seconds: float
    spent_seconds: float = 0.0
    """In this run and in those that it resumes."""

    def progress(self, step: int) -> float:
        """Return 0 at the start and 1 at the end."""
        return min(1.0, max(step / self.steps, self.spent_seconds / self.seconds))


class Trainer(Learning):
    """Trains one stage.

    Args:
        network: Learns in place.
        stage: How fast and on what.
        seed: Of the prompts.
        rank: Of the process.
        halves: Whether memory attention learns in bfloat16, on a CPU.
    """

    network: SAM2Base

    def __init__(
        self,
        network: SAM2Base,
        stage: Stage,
        *,
        seed: int,
        rank: int = 0,
        halves: bool = False,
    ) -> None:
        self.stage, self.seed, self.rank = stage, seed, rank
        self._halves = halves
        network.eval()
        network.image_encoder.trunk.train(stage.adapts_norms)
        groups = _parameter_groups(network, stage.weight_decay)
        super().__init__(network, torch.optim.AdamW(groups, lr=stage.learning_rate))

    def learn(self, batch: ClipBatch, shape: ClipShape, progress: float) -> float:
        """Take one optimisation step and return its loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.stage.learning_rate * learning_rate_factor(
                progress, self.stage.warm_up
            )
        loss = self._loss(batch, shape)
        self.optimizer.zero_grad()
        loss.backward()
        average_gradients(self.network)
        norm = torch.nn.utils.clip_grad_norm_(
            self.network.parameters(), self.stage.max_gradient_norm
        )
        if norm.isfinite():
            self.optimizer.step()
        self.step += 1
        if self.stage.adapts_norms:
            average_norms(self.network)
        self.update_average(_AVERAGE_DECAY)
        return float(loss.detach())

    def _loss(self, batch: ClipBatch, shape: ClipShape) -> Tensor:
        # The plan is the same in all processes, so that their steps take equally long.
        plan = draw_plan(
            np.random.default_rng([self.seed, self.step, 1]), shape.length, shape.burn_in
        )
        rng = np.random.default_rng([self.seed, self.step, 2, self.rank])
        device = batch.images.device
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            unroll = Unroll(self.network, batch, plan, rng, halves=self._halves)
            return unroll.loss(shape.burn_in)


def learning_rate_factor(progress: float, warm_up: float) -> float:
    """Rise linearly to 1, then fall to 0 along a half cosine."""
    if progress < warm_up:
        return max(0.01, progress / warm_up)
    return 0.5 + 0.5 * math.cos(math.pi * (progress - warm_up) / (1 - warm_up))


def _parameter_groups(network: SAM2Base, weight_decay: float) -> list[dict[str, Any]]:
    """Let matrices and kernels decay, but not biases, norms and embeddings."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def save_weights(weights: dict[str, Tensor], path: Path) -> None:
    """Write weights as float16 `.safetensors`, whole or not at all."""
    halves = {name: _as_half(value) for name, value in weights.items()}
    part = path.with_suffix(".part")
    save_file(halves, part)
    part.replace(path)


def _as_half(value: Tensor) -> Tensor:
    value = value.detach().cpu().contiguous()
    return value.half() if value.is_floating_point() else value.clone()


def main(arguments: list[str] | None = None) -> None:
    """Run one stage of the training, from the command line."""
    options = _parser().parse_args(arguments)
    cv2.setNumThreads(1)
    torch.manual_seed(options.seed)
    if options.threads:
        torch.set_num_threads(options.threads)
    rank = join_ranks()
    options.out.mkdir(parents=True, exist_ok=True)
    network = build_network("pocket")
    if options.weights:
        network.load_state_dict(load_file(options.weights))
    network.image_encoder.requires_grad_(not options.keep_encoder)
    network.to(options.device, memory_format=torch.channels_last)
    stage = STAGES[options.stage].scaled(options.scale, options.learning_rate)
    trainer = Trainer(network, stage, seed=options.seed, rank=rank, halves=options.halves)
    clock = Clock(options.steps, 60 * options.minutes)
    resumed = options.out / "last.pt"
    if options.resume and resumed.exists():
        state = torch.load(resumed, map_location=options.device, weights_only=True)
        trainer.restore(state["trainer"])
        clock.spent_seconds = state["spent_seconds"]
    _run(trainer, clock, options, is_first=rank == 0)


def _run(trainer: Trainer, clock: Clock, options: argparse.Namespace, *, is_first: bool) -> None:
    """Learn until the clock ends; the first process reports, saves and scores."""
    losses: list[float] = []
    device = torch.device(options.device)
    saved = began = time.monotonic()
    started = began - clock.spent_seconds
    for batch, shape in _loader(trainer, clock, options):
        clock.spent_seconds = agree(time.monotonic() - started)
        progress = clock.progress(trainer.step)
        if progress >= 1 or clock.spent_seconds > began - started + 60 * options.stop_after:
            break
        losses.append(trainer.learn(batch.to(device), shape, progress))
        if is_first and trainer.step % _REPORT_EVERY == 0:
            _report(trainer, clock, progress, losses)
            losses.clear()
        if is_first and time.monotonic() - saved > 60 * options.save_minutes:
            saved = time.monotonic()
            _save(trainer, clock, options)
    if is_first:
        _save(trainer, clock, options)


def _loader(
    trainer: Trainer, clock: Clock, options: argparse.Namespace
) -> DataLoader[tuple[ClipBatch, ClipShape]]:
    photos = PhotoLibrary(*options.photos) if options.photos else None
    videos = VideoLibrary(options.videos) if options.videos else None
    batches = ClipBatches(
        Mixture(photos, videos),
        trainer.stage.shapes,
        seed=options.seed,
        rank=trainer.rank,
        steps=clock.steps,
        size=trainer.network.image_size,
    )
    ahead = Subset(batches, range(trainer.step, clock.steps))
    return DataLoader(
        ahead,
        batch_size=None,
        num_workers=options.workers,
        prefetch_factor=4 if options.workers else None,
    )


def _report(trainer: Trainer, clock: Clock, progress: float, losses: list[float]) -> None:
    print(
        f"{100 * progress:3.0f}%| step {trainer.step}, {clock.spent_seconds / 60:.1f} min, "
        f"loss {np.mean(losses):.3f}, "
        f"lr {trainer.optimizer.param_groups[0]['lr']:.1e}",
        flush=True,
    )


def _save(trainer: Trainer, clock: Clock, options: argparse.Namespace) -> None:
    """Write the state to resume from and the averaged weights, and print the held-out score."""
    part = options.out / "last.part"
    torch.save({"trainer": trainer.state(), "spent_seconds": clock.spent_seconds}, part)
    part.replace(options.out / "last.pt")
    save_weights(trainer.average, options.out / "pocket.safetensors")
    if options.score_clips:
        network = build_network("pocket")
        network.load_state_dict(trainer.average)
        photos = PhotoLibrary(*options.photos, is_held_out=True) if options.photos else None
        scores = score_network(network.to(options.device), photos, clips=options.score_clips)
        print("held out: " + ", ".join(f"{k} {v:.3f}" for k, v in scores.items()), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.train",
        description="Train one stage of the pocket checkpoint. Several processes share the work "
        "under torchrun. The averaged weights go to OUT/pocket.safetensors.",
    )
    add = parser.add_argument
    add("--stage", choices=sorted(STAGES), required=True, help="stills first, then clips")
    add("--photos", type=Path, nargs="+", help="folders of SET/images, SET/masks; else shapes")
    add("--videos", type=Path, help="folder of video/NAME/images, video/NAME/masks")
    add("--out", type=Path, required=True, help="folder for checkpoints")
    add("--weights", type=Path, help="weights to start from (.safetensors)")
    add("--resume", action="store_true", help="go on from OUT/last.pt if it is there")
    add("--steps", type=int, default=1_000_000, help="length of the run in steps")
    add("--minutes", type=float, default=math.inf, help="length of the run in time, if shorter")
    add("--stop-after", type=float, default=math.inf, help="minutes; then --resume goes on")
    add("--scale", type=int, default=1, help="factor of the number of clips per batch")
    add("--learning-rate", type=float, help="at its highest; by default the stage's own")
    add("--seed", type=int, default=0, help="same seed and steps, same weights")
    add("--device", default="cpu", help="cpu or cuda")
    add("--keep-encoder", action="store_true", help="let all but the image encoder learn")
    add("--halves", action="store_true", help="memory attention in bfloat16, on a CPU")
    add("--threads", type=int, default=0, help="of this process; 0: as torch chooses")
    add("--workers", type=int, default=0, help="processes that compose clips ahead")
    add("--save-minutes", type=float, default=10, help="between checkpoints")
    add("--score-clips", type=int, default=32, help="held-out clips to score at a checkpoint")
    return parser


if __name__ == "__main__":
    main()
