"""Work on a GPU beside that of the current stream, and results that wait for it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sam_video.model.cuda_graphs import Tensors


class SideStream:
    """A stream of its own for one kind of work, which fills the gaps that other work leaves.

    Everything that the work reads must be there already, or come from the CPU.

    Args:
        device: The GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)

    def run(self, call: Callable[[], Tensors]) -> tuple[Tensors, "ReadyEvent"]:
        """Start the work of a call, and return its results, which must be waited for."""
        before = torch.cuda.current_stream()
        try:  # a cancellation may come anywhere in here
            torch.cuda.set_stream(self.stream)
            results = call()
            event = torch.cuda.Event()
            event.record(self.stream)
        finally:
            torch.cuda.set_stream(before)
        return results, ReadyEvent(event)


class ReadyEvent:
    """Tells when the results of a side stream are there."""

    def __init__(self, event: torch.cuda.Event) -> None:
        self._event = event

    def wait(self, results: Sequence[Tensor]) -> None:
        """Let later work of the current stream wait; the caller itself does not.

        Args:
            results: What that work reads. Their memory is used for something else only after it.
        """
        stream = torch.cuda.current_stream()
        stream.wait_event(self._event)
        for tensor in results:
            tensor.record_stream(stream)
