"""What all parts of the benchmark share: the device, the networks, the clip and the clock."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor

from benchmarks.clips import read_images
from benchmarks.gpu.report import Report
from benchmarks.official import seeded_network
from sam_video.checkpoints.catalogue import find_checkpoint
from sam_video.model.load import build_network, load_weights
from sam_video.model.sam2 import SegmentationModel
from sam_video.types import RGBImage

T = TypeVar("T")

SMALL_SIZE = 128
"""Pixels along a side of the network's input in a rehearsal."""


@dataclass(frozen=True, slots=True)
class Milliseconds:
    """How long a call takes."""

    device: float
    """Until its work is done."""
    thread: float
    """Until it returns."""


class Bench:
    """Where to measure, and with what.

    Args:
        report: Takes what is found.
        model_name: The network whose speed matters.
        is_rehearsal: Run everything that a CPU can, as small as possible.
    """

    def __init__(self, report: Report, model_name: str, *, is_rehearsal: bool) -> None:
        self.report = report
        self.model_name = model_name
        self.is_rehearsal = is_rehearsal
        self.device = torch.device("cpu" if is_rehearsal else "cuda")
        if is_rehearsal:  # small operations are slower in several threads
            torch.set_num_threads(1)

    def pick(self, on_gpu: T, in_rehearsal: T) -> T:
        """Return the first value on a GPU, the second in a rehearsal."""
        return in_rehearsal if self.is_rehearsal else on_gpu

    def images(self, count: int) -> list[RGBImage]:
        """Return the first frames of the drawn sample clip."""
        return read_images(None, count)

    def load_network(self, name: str) -> SAM2Base:
        """Build a network with its published weights if they are at hand, else seeded ones."""
        options = {"image_size": SMALL_SIZE} if self.is_rehearsal else {}
        path = find_checkpoint(name)
        if path is None:
            self.report.info(f"{name} is not on this machine: random weights, which take as long")
            return seeded_network(name, **options)
        network = build_network(name, **options)
        load_weights(network, path)
        return network

    @cached_property
    def network(self) -> SAM2Base:
        """The network whose speed matters, on the CPU."""
        return self.load_network(self.model_name)

    @cached_property
    def model(self) -> SegmentationModel:
        """The model whose speed matters."""
        started = time.perf_counter()
        model = self.build(self.network, torch.bfloat16)
        self.synchronize()
        self.report.info(f"{self.model_name} ready in {time.perf_counter() - started:.1f} s")
        return model

    def build(self, network: SAM2Base, dtype: torch.dtype) -> SegmentationModel:
        """Prepare a network as the package does; a rehearsal records its work too."""
        recorder = ComputedAgain() if self.is_rehearsal else None
        return SegmentationModel(network, device=self.device, dtype=dtype, recorder=recorder)

    def synchronize(self) -> None:
        """Wait until the device has done everything."""
        if not self.is_rehearsal:
            torch.cuda.synchronize()

    def milliseconds(
        self, call: Callable[[], object], times: int = 10, warm: int = 3
    ) -> Milliseconds:
        """Return the medians of several calls, after some that do not count."""
        times, warm = self.pick((times, warm), (1, 0))
        for _ in range(warm):
            call()
        self.synchronize()
        taken = [self._timed(call) for _ in range(times)]
        return Milliseconds(*map(statistics.median, zip(*taken, strict=True)))

    def _timed(self, call: Callable[[], object]) -> tuple[float, float]:
        started = time.perf_counter()
        if self.is_rehearsal:
            call()
            return (milliseconds := (time.perf_counter() - started) * 1e3), milliseconds
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        in_thread = (time.perf_counter() - started) * 1e3
        end.synchronize()
        return float(start.elapsed_time(end)), in_thread


class ComputedAgain:
    """A `Recorder` for a rehearsal: what it records is computed anew, on the same tensors."""

    num_bytes = 2**20
    """Room for the keys of three objects of the smallest network."""

    def __call__(
        self, call: Callable[[], tuple[Tensor, ...]]
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], Callable[[], None]]:
        """Run a call, and return what repeats it."""
        known, outputs = call(), call()

        def replay() -> None:
            for place, value in zip(outputs, call(), strict=True):
                place.copy_(value)

        return known, outputs, replay
