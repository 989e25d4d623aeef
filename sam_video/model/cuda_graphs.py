"""Record the GPU work of a function once, then replay it without running its Python code.

Starting the kernels of a network one by one takes longer than many of them run. A CUDA graph starts
all of them at once; see "Accelerating PyTorch with CUDA Graphs" (pytorch.org, 2021).
"""

import logging
import os
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

Tensors = tuple[Tensor, ...]
Recorder = Callable[[Callable[[], Tensors]], tuple[Tensors, Callable[[], None]]]
"""Captures a call; returns its static outputs and a function that replays it into them."""

RECORD_AFTER = 3
"""Calls with one shape of arguments before it is recorded: a filling memory bank changes the shape
every frame, and recording takes longer than a call."""
MAX_RECORDINGS = 4
"""Of one function; each holds its own memory on the GPU."""
TOLERANCE = 0.01
"""Largest difference of a replayed result from the function's, as a share of its largest number."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded call and the places of its arguments and results."""

    inputs: Tensors
    outputs: Tensors
    replay: Callable[[], None]

    def __call__(self, inputs: Tensors) -> Tensors:
        """Replay with other arguments of the same shapes; the results are the caller's own."""
        for place, value in zip(self.inputs, inputs, strict=True):
            place.copy_(value)
        self.replay()
        return tuple(output.clone() for output in self.outputs)


class GraphCached:
    """A function of tensors; for every frequent shape it is recorded once and replayed afterwards.

    Any number of threads may call it; while one is replaying, the others call the function itself.
    Recording ends for good once it fails, or once a replay gives other results than the function.

    Args:
        function: Returns a tuple of tensors. It must run the same kernels for all arguments of one
            shape, and must not wait for the GPU.
        record: None calls the function without recording.
    """

    def __init__(self, function: Callable[..., Tensors], record: Recorder | None) -> None:
        self._function = function
        self._record = record
        self._calls: Counter[object] = Counter()
        self._recordings: OrderedDict[object, Recording] = OrderedDict()
        self._lock = Lock()

    def __call__(self, *inputs: Tensor) -> Tensors:
        """Return the results of the function."""
        # A lock that a cancelled prediction has left held costs time only.
        if self._record is None or not self._lock.acquire(blocking=False):
            return self._function(*inputs)
        try:
            return self._run(self._record, inputs)
        finally:
            self._lock.release()

    def _run(self, record: Recorder, inputs: Tensors) -> Tensors:
        shape = tuple((value.shape, value.dtype) for value in inputs)
        if recording := self._recordings.get(shape):
            self._recordings.move_to_end(shape)
            return recording(inputs)
        outputs = self._function(*inputs)
        self._calls[shape] += 1
        if self._calls[shape] >= RECORD_AFTER:
            self._remember(record, shape, inputs, outputs)
        return outputs

    def _remember(self, record: Recorder, shape: object, inputs: Tensors, known: Tensors) -> None:
        """Record the call whose results are known, in the place of the least used recording."""
        if len(self._recordings) >= MAX_RECORDINGS:
            self._recordings.popitem(last=False)
        places = tuple(value.clone() for value in inputs)
        try:
            outputs, replay = record(lambda: self._function(*places))
            recording = Recording(places, outputs, replay)
            is_right = all(map(is_close, recording(inputs), known))
        except RuntimeError as error:
            logger.warning("work on the GPU cannot be recorded (%s); tracking is slower", error)
            self._record = None
            return
        if is_right:
            self._recordings[shape] = recording
        else:
            logger.warning("work on the GPU, replayed, gives something else; tracking is slower")
            self._record = None


def recorder_for(device: torch.device) -> Recorder | None:
    """Return the recorder for a device; None if recording would not save time.

    `SAM_VIDEO_CUDA_GRAPHS=0` switches it off.
    """
    is_off = os.environ.get("SAM_VIDEO_CUDA_GRAPHS") == "0"
    return None if device.type != "cuda" or is_off else record_cuda_graph


def record_cuda_graph(call: Callable[[], Tensors]) -> tuple[Tensors, Callable[[], None]]:
    """Record a call as a CUDA graph; other threads may use the GPU meanwhile."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        outputs = call()
    return outputs, graph.replay


def is_close(found: Tensor, known: Tensor, tolerance: float = TOLERANCE) -> bool:
    """Tell whether results differ by no more than a share of the largest known number."""
    limit = tolerance * known.abs().max()
    return bool(((found - known).abs() <= limit).all())
