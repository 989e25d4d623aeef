"""Memory attention for several objects at a time on a GPU, with keys that are written in place.

A recording reads as many keys of each object as it has room for, of which only those count that are
written: a few lengths do for all memory banks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from sam_video.model.cuda_graphs import Recorder, Tensors
from sam_video.model.recordings import Recording, Recordings, size_for

Write = Callable[[slice, Tensor, Tensor], None]
"""Writes the keys `(L, n, K, C)` and the values `(n, K, 64)` of some objects, from the first of K
places on."""

SIZES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16)
"""Objects in a recording: a row that is padded takes a quarter of the time of an object."""
LONGER_SIZES = (1, 2, 4, 8)
"""Objects in a recording with room for more keys than a usual memory bank has."""
LENGTHS = (1, 2, 4)
"""Room for keys, in multiples of a usual memory bank."""


@dataclass(frozen=True, slots=True)
class KeyShape:
    """The sizes of keys and values, and their number type."""

    num_layers: int
    channels: int
    """Of a key."""
    width: int
    """Of a value."""
    bank: int
    """Keys of an object with a usual memory bank."""
    dtype: torch.dtype

    @property
    def bank_bytes(self) -> int:
        """Memory of the keys and values of an object with a usual memory bank."""
        return self.bank * (self.num_layers * self.channels + self.width) * self.dtype.itemsize

    def empty(self, count: int, num_keys: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return room for keys and values."""
        keys = torch.empty(
            self.num_layers, count, num_keys, self.channels, dtype=self.dtype, device=device
        )
        return keys, keys.new_empty(count, num_keys, self.width)


class BatchAttention:
    """Informs a frame's features by the keys and values of several objects.

    Args:
        inform: Takes features `(1, C, h, w)`, keys `(L, N, K, C)`, values `(N, K, 64)` and how many
            keys of each object count, `(N,)` int32, or None where all do; gives `(N, C, h, w)`.
        shape: Of the keys.
    """

    def __init__(
        self,
        inform: Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensors],
        shape: KeyShape,
    ) -> None:
        self._inform = inform
        self._shape = shape
        self._recordings = Recordings()
        self._sizes: dict[int, tuple[int, ...]] = {}
        """Ascending numbers of objects that are recorded, by their number of keys, ascending."""

    def most_objects(self, num_bytes: int) -> int:
        """Return how many objects with a usual memory bank fit in memory, up to all of `SIZES`."""
        return min(SIZES[-1], num_bytes // self._shape.bank_bytes)

    def record(self, recorder: Recorder, features: Tensor, most: int) -> None:
        """Record the attention; all recordings share the room for their keys.

        Args:
            recorder: Records calls.
            features: `(1, C, h, w)`, any numbers.
            most: `most_objects`.
        """
        shape, features = self._shape, features.clone()
        keys, values = shape.empty(most, shape.bank, features.device)
        _fill(keys)
        _fill(values)
        num_valid = torch.empty(most, dtype=torch.int32, device=features.device)
        sizes = {}
        for factor in LENGTHS:
            num_keys = factor * shape.bank
            fitting = [n for n in (SIZES if factor == 1 else LONGER_SIZES) if n * factor <= most]
            for count in reversed(fitting):
                own_keys = _room(keys, shape.num_layers, count, num_keys, shape.channels)
                own_values = _room(values, count, num_keys, shape.width)
                places = (features, own_keys, own_values, num_valid[:count])
                num_valid.fill_(num_keys - 1)
                self._recordings.add((count, num_keys), recorder, self._inform, places)
            sizes[num_keys] = tuple(fitting)
        keys.zero_()
        values.zero_()
        self._sizes = {num_keys: found for num_keys, found in sizes.items() if found}

    def take_recordings(self) -> list[Recording]:
        """Return the recordings and forget them."""
        return self._recordings.take()

    def __call__(self, features: Tensor, count: int, num_keys: int, write: Write) -> Tensor:
        """Return `(N, C, h, w)` features informed by the memories of N objects.

        Args:
            features: `(1, C, h, w)`.
            count: N.
            num_keys: That each object has.
            write: Writes them.
        """
        room = next((length for length in self._sizes if length >= num_keys), num_keys)
        largest = self._sizes.get(room, (count,))[-1]
        starts = [*range(0, count, largest), count]
        informed = [
            self._inform_some(features, slice(*ends), (num_keys, room), write)
            for ends in pairwise(starts)
        ]
        return informed[0] if len(informed) == 1 else torch.cat(informed)

    def _inform_some(
        self, features: Tensor, rows: slice, lengths: tuple[int, int], write: Write
    ) -> Tensor:
        """Inform by some of the objects, by a recording if there is one.

        Args:
            features: `(1, C, h, w)`.
            rows: Which objects.
            lengths: The number of their keys, and what a recording has room for.
            write: Writes the keys.
        """
        count, (num_keys, room) = rows.stop - rows.start, lengths

        def write_all(own: Tensor, keys: Tensor, values: Tensor, num_valid: Tensor) -> None:
            own.copy_(features)
            write(rows, keys[:, :count], values[:count])
            if num_keys < room:  # old numbers do not count, unless they are not finite
                keys[:, :count, num_keys:].zero_()
                values[:count, num_keys:].zero_()
            num_valid[:count].fill_(num_keys)
            num_valid[count:].fill_(1)  # a row that is dropped needs no more

        size = size_for(count, self._sizes.get(room, (count,)))
        if found := self._recordings.replay((size, room), write_all, count):
            return found[0]
        keys, values = self._shape.empty(count, num_keys, features.device)
        write(rows, keys, values)
        return self._inform(features, keys, values, None)[0]


def _room(memory: Tensor, *shape: int) -> Tensor:
    """Return the beginning of memory as a tensor of some shape."""
    size = torch.Size(shape)
    return memory.flatten()[: size.numel()].view(size)


def _fill(memory: Tensor) -> None:
    """Write numbers from -1 to 1, without a random generator, which a failed capture breaks."""
    pattern = torch.linspace(-40, 40, 997, device=memory.device).sin().to(memory.dtype)
    whole, rest = divmod(memory.numel(), len(pattern))
    memory.flatten()[: memory.numel() - rest].view(whole, -1).copy_(pattern.expand(whole, -1))
    memory.flatten()[memory.numel() - rest :].copy_(pattern[:rest])
