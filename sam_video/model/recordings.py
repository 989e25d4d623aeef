"""Replay the recorded work of functions without running their Python code.

A recording works on tensors that stay in place, so its shapes are fixed: a batch is padded up to a
size that is recorded. All are made at set-up, none during a prediction.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import repeat
from threading import Lock

import torch
from torch import Tensor

from sam_video.model.cuda_graphs import Recorder, Tensors, count_recording, is_close

TOLERANCE = 0.01
"""Largest difference of a replayed result from the function's, as a share of its largest number."""


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """One recorded call, with the places of its arguments and results."""

    inputs: Tensors
    outputs: Tensors
    replay: Callable[[], None]


class Recordings:
    """A function's recordings, one for each shape of its arguments.

    Any number of threads may use them; one waits while another starts a replay. All must be on one
    stream then, where a replay begins only after the results of the one before have been copied.
    """

    def __init__(self) -> None:
        self._by_shape: dict[Hashable, Recording] = {}
        self._lock = Lock()

    def add(
        self, shape: Hashable, recorder: Recorder, function: Callable[..., Tensors], inputs: Tensors
    ) -> None:
        """Record a function's call with inputs that stay in place.

        Args:
            shape: What `replay` finds the recording by.
            recorder: Records the call.
            function: It must run the same kernels for all arguments of one shape, and must not wait
                for the GPU.
            inputs: Any numbers; those of a replay are written there.

        Raises:
            RuntimeError: The call cannot be recorded, or its replay gives something else.
        """
        known, outputs, replay = recorder(lambda: function(*inputs))
        replay()
        if not all(map(is_close, outputs, known, repeat(TOLERANCE))):
            raise RuntimeError("a replay gives something else")
        self._by_shape[shape] = Recording(inputs, outputs, replay)
        count_recording()

    def replay(
        self, shape: Hashable, write: Callable[..., None], count: int
    ) -> tuple[Tensor, ...] | None:
        """Replay the recording of a shape; return None if there is none.

        Args:
            shape: As `add` was given it.
            write: Called with the inputs, to write the arguments there.
            count: How many rows of the results are wanted.

        Returns:
            The results, which are the caller's own.
        """
        with self._lock:
            recording = self._by_shape.get(shape)
            if recording is None:
                return None
            write(*recording.inputs)
            recording.replay()
            return tuple(output[:count].clone() for output in recording.outputs)

    def take(self) -> list[Recording]:
        """Return all recordings and forget them."""
        with self._lock:
            taken = list(self._by_shape.values())
            self._by_shape.clear()
        return taken


class BatchFunction:
    """A function of a batch of items, recorded for batches of some sizes.

    A batch is padded up to the next size, with rows of earlier batches, and divided if it exceeds
    the largest one. No row of the results may depend on another row.

    Args:
        function: Its first arguments are shared by all items; the others have a row for each item,
            and so have its results.
        num_shared: How many arguments are shared.
    """

    def __init__(self, function: Callable[..., Tensors], num_shared: int) -> None:
        self._function = function
        self._num_shared = num_shared
        self._recordings = Recordings()
        self._sizes: tuple[int, ...] = ()
        self._shapes: list[object] = []

    def record(self, recorder: Recorder, inputs: Tensors, sizes: Sequence[int]) -> None:
        """Record calls with the first rows of arguments that have as many as the largest size."""
        places = tuple(value.clone() for value in inputs)
        shared, rows = places[: self._num_shared], places[self._num_shared :]
        for size in sorted(sizes, reverse=True):  # later ones compute in the memory of the first
            part = (*shared, *(value[:size] for value in rows))
            self._recordings.add(size, recorder, self._function, part)
        self._shapes = self._shapes_of(places)
        self._sizes = tuple(sorted(sizes))

    def take_recordings(self) -> list[Recording]:
        """Return the recordings and forget them."""
        return self._recordings.take()

    def __call__(self, *inputs: Tensor) -> Tensors:
        """Return the results of the function, whether it is recorded for such arguments or not."""
        if not self._sizes or self._shapes_of(inputs) != self._shapes:
            return self._function(*inputs)
        shared, rows = inputs[: self._num_shared], inputs[self._num_shared :]
        batches = zip(*(value.split(self._sizes[-1]) for value in rows), strict=True)
        first, *others = [self._replayed(shared, batch) for batch in batches]
        return tuple(map(torch.cat, zip(first, *others, strict=True))) if others else first

    def _shapes_of(self, inputs: Tensors) -> list[object]:
        """Return what must be equal for a replay: the shape of an item, and the number type."""
        return [(value.shape[1:], value.dtype) for value in inputs]

    def _replayed(self, shared: Tensors, rows: Tensors) -> Tensors:
        count = len(rows[0])

        def write(*places: Tensor) -> None:
            for place, value in zip(places, (*shared, *rows), strict=True):
                place[: len(value)].copy_(value)

        results = self._recordings.replay(size_for(count, self._sizes), write, count)
        return self._function(*shared, *rows) if results is None else results


def size_for(count: int, sizes: Sequence[int]) -> int:
    """Return the smallest of ascending sizes that holds `count` items, or the largest one."""
    return next((size for size in sizes if size >= count), sizes[-1])
