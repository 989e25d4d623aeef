"""The work of a function on a GPU, recorded once and then replayed without Python in between.

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
"""Runs a call whose arguments stay in place; returns what it gave, and what to call to have the
same tensors computed anew."""

RECORD_AFTER = 3
"""Calls with arguments of one shape before they are recorded: a bank that fills changes its shape
every frame, and recording costs more than a call."""
MAX_RECORDINGS = 4
"""Of one function; each holds its own memory on the GPU."""
TOLERANCE = 0.01
"""How much, of its largest number, a replayed result may differ from that of the function."""


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
    """A function of tensors that is recorded for every shape that comes often, and replayed.

    Any number of threads may call it; where one is replaying, the others call the function itself.
    Where recording fails, or does not give what the function gives, it is given up.

    Args:
        function: What it does must follow from the shapes of its arguments alone, without waiting
            for the GPU; it gives a tuple of tensors.
        record: Without it, the function is called as it is.
    """

    def __init__(self, function: Callable[..., Tensors], record: Recorder | None) -> None:
        self._function = function
        self._record = record
        self._calls: Counter[object] = Counter()
        self._recordings: OrderedDict[object, Recording] = OrderedDict()
        self._lock = Lock()

    def __call__(self, *inputs: Tensor) -> Tensors:
        """Return what the function gives."""
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
    """Return what records work on a device; None where there is nothing to gain.

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
