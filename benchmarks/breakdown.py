"""Where the time of a frame goes."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import torch

from benchmarks.runs import our_file
from sam_video.model.interface import ImageFeatures
from sam_video.model.sam2 import SegmentationModel
from sam_video.types import ObjectPrompt, RGBImage
from sam_video.writers.video_encoder import VideoEncoder

T = TypeVar("T")
PARTS = {
    "encode_images": "image encoder, resizing among it",
    "with_memory": "memory attention",
    "decode": "mask decoder",
    "encode_memory": "memory encoder",
    "results_of": "masks at the video's size, and transfer",
}
"""What each verb of the model stands for."""


class Clock:
    """Adds up the time spent in callables, by the clock.

    Of a GPU, the current stream is waited for: other threads may be recording meanwhile, and a wait
    for the whole GPU would break that.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.seconds: dict[str, float] = defaultdict(float)

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.current_stream(self._device).synchronize()
        return time.perf_counter()

    def watch(self, part: str, call: Callable[..., T]) -> Callable[..., T]:
        """Return the same callable, timed."""

        @wraps(call, updated=())
        def timed(*arguments: Any, **options: Any) -> T:
            started = self._now()
            try:
                return call(*arguments, **options)
            finally:
                self.seconds[part] += self._now() - started

        return timed


@contextmanager
def watched(clock: Clock, model: SegmentationModel) -> Iterator[None]:
    """Time the model's verbs, and the writing of videos, while the context lasts."""
    places: list[tuple[Any, str, str]] = [(model, verb, part) for verb, part in PARTS.items()]
    places.append((VideoEncoder, "write", "writing the video"))
    replaced = [(owner, name, getattr(owner, name)) for owner, name, _ in places]
    encode = model.encode_images

    def encode_and_wait(images: Sequence[RGBImage]) -> list[ImageFeatures]:
        features = encode(images)
        for image in features:  # a stream of its own computes them
            image.wait()
        return features

    calls = [encode_and_wait if call == encode else call for *_, call in replaced]
    for (owner, name, part), call in zip(places, calls, strict=True):
        setattr(owner, name, clock.watch(part, call))
    try:
        yield
    finally:
        for owner, name, call in replaced:
            setattr(owner, name, call)


def print_breakdown(
    model: SegmentationModel, video: Path, prompts: Sequence[ObjectPrompt], num_frames: int
) -> None:
    """Track a file with ours, write its masks, and print what each part took per frame."""
    clock = Clock(model.device)
    started = time.perf_counter()
    with watched(clock, model):
        for _ in our_file(model, video, prompts, video.with_name("masks.mp4")):
            pass
    total = time.perf_counter() - started
    clock.seconds["all else, decoding among it"] = total - sum(clock.seconds.values())
    print(f"{len(prompts)} objects: {total / num_frames * 1e3:.1f} ms per frame")
    for part, seconds in sorted(clock.seconds.items(), key=lambda x: -x[1]):
        print(f"  {part:42} {seconds / num_frames * 1e3:8.1f} ms {seconds / total:6.1%}")
