"""Record the work of calls on a GPU, one call at a time in the whole process.

Starting the kernels of a network one by one takes longer than many of them run. A CUDA graph starts
all of them at once; see "Accelerating PyTorch with CUDA Graphs" (pytorch.org, 2021).
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Lock
from typing import Protocol

import torch
from torch import Tensor

from sam_video.workers.threads import Worker, wait_for

logger = logging.getLogger(__name__)

Tensors = tuple[Tensor, ...]

MEMORY_SHARE = 0.05
"""Share of a GPU's free memory that the inputs of the largest recording may take.

With `large` and 16 objects they take 1.0 GB in bfloat16; what all recordings compute in, and their
results, another 1.6 GB.
"""


class Recorder(Protocol):
    """Records calls, to be computed anew without their Python code."""

    @property
    def num_bytes(self) -> int:
        """Of memory that the inputs of a recording may take."""
        ...

    def __call__(self, call: Callable[[], Tensors]) -> tuple[Tensors, Tensors, Callable[[], None]]:
        """Run a call, and record it.

        Returns:
            What the call gave, the tensors that the recording computes, and what replays it.
        """
        ...


class CudaRecorder:
    """Records calls as CUDA graphs.

    Its graphs must not run at the same time: they share the memory that they compute in, and the
    workspace of cuBLAS, which belongs to the stream that they are captured on.

    Args:
        stream: To capture on, not the default one. Kernels keep its priority wherever they are
            replayed.
    """

    def __init__(self, stream: torch.cuda.Stream) -> None:
        self._stream = stream
        self._pool = torch.cuda.graph_pool_handle()

    @property
    def num_bytes(self) -> int:
        """Of memory that the inputs of a recording may take."""
        return int(MEMORY_SHARE * torch.cuda.mem_get_info(self._stream.device)[0])

    def __call__(self, call: Callable[[], Tensors]) -> tuple[Tensors, Tensors, Callable[[], None]]:
        """Run a call, and capture it; other threads may use the GPU meanwhile."""
        before = torch.cuda.current_stream()
        graph = torch.cuda.CUDAGraph()
        try:
            self._stream.wait_stream(before)
            torch.cuda.set_stream(self._stream)
            known = call()
            with torch.cuda.graph(
                graph,
                pool=self._pool,
                stream=self._stream,
                capture_error_mode="thread_local",
            ):
                outputs = call()
        except BaseException:
            self._clean_up_after(graph)
            raise
        finally:  # `torch.cuda.graph` stays on the stream where a capture fails
            torch.cuda.set_stream(before)
        before.wait_stream(self._stream)
        return known, outputs, graph.replay

    def _clean_up_after(self, graph: torch.cuda.CUDAGraph) -> None:
        """Tell the allocator that a failed capture is over, which PyTorch leaves out.

        It would never again free what several streams have used, nor empty its cache. The allocator
        of pinned memory goes on asking the graph whether it captures; so that must stay.
        """
        _process.failed_graphs.append(graph)
        with suppress(Exception):  # it is over where the capture had not begun, or ended properly
            torch._C._cuda_endAllocateToPool(self._stream.device_index, self._pool)


class _Process:
    """What the whole process shares: CUDA captures one call at a time."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.num_recordings = 0
        self.has_failed = False
        self.failed_graphs: list[torch.cuda.CUDAGraph] = []


_process = _Process()


def recordings_made() -> int:
    """Return the number of calls that this process has recorded."""
    return _process.num_recordings


def count_recording() -> None:
    """Count one more."""
    _process.num_recordings += 1


def free_cached_memory() -> None:
    """Return memory that PyTorch holds and nothing uses to the GPU, unless a call is captured.

    PyTorch fails to do so during a capture, in whichever thread that is.
    """
    if not _process.lock.locked():  # a cancellation could leave it held, were it taken here
        torch.cuda.empty_cache()


def is_recording_off() -> bool:
    """Tell whether this process records nothing any more, as it has failed to."""
    return _process.has_failed


def record_all(steps: Sequence[Callable[[], None]]) -> bool:
    """Take the steps that record functions; return whether all succeeded.

    They are taken in a thread that no cancellation interrupts, or it could leave a capture open.
    Once one of them fails, this process records nothing any more.
    """
    if is_recording_off():
        return False
    ended: SimpleQueue[BaseException | None] = SimpleQueue()
    worker = Worker(partial(_take, steps), ended.put, is_interruptible=False)
    try:
        worker.start()
        wait_for(ended)
    finally:
        worker.stop()
    if worker.error is None:
        return True
    _process.has_failed = True
    reason = (str(worker.error).splitlines() or [type(worker.error).__name__])[0]
    logger.error("work on the GPU cannot be recorded (%s); tracking is slower", reason)
    return False


def _take(steps: Sequence[Callable[[], None]]) -> None:
    with _process.lock, torch.inference_mode():
        for step in steps:
            step()


def is_close(found: Tensor, known: Tensor, tolerance: float) -> bool:
    """Tell whether results differ by no more than a share of the largest known number."""
    limit = tolerance * known.abs().max()
    return bool(((found - known).abs() <= limit).all())
