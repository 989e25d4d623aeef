"""A recorder without a GPU: what it records is computed anew, on the same tensors."""

from collections.abc import Callable

from sam_video.model.cuda_graphs import Tensors


class CpuRecorder:
    """Records calls on a CPU.

    Args:
        num_bytes: As `Recorder.num_bytes`.
    """

    def __init__(self, num_bytes: int = 0) -> None:
        self.num_bytes = num_bytes
        self.num_replays = 0

    def __call__(self, call: Callable[[], Tensors]) -> tuple[Tensors, Tensors, Callable[[], None]]:
        known, outputs = call(), call()

        def replay() -> None:
            self.num_replays += 1
            for place, value in zip(outputs, call(), strict=True):
                place.copy_(value)

        return known, outputs, replay
