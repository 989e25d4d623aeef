"""The memory bank of an object: its size is bounded, however long the video is.

SAM 2 tracks an object by attending to two kinds of memory: a feature map of a past frame with its
mask (mask memory), and one vector that sums up the object there (object pointer). It reads those of
the conditioning frames, which a prompt vouches for, and those of the frames just before the current
one; the selection here follows `SAM2Base._prepare_memory_conditioned_features`.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sam_video.model.interface import MemoryBatch

MAX_CONDITIONING = 16
"""Conditioning frames that one frame attends to: the nearest ones."""
MAX_RECENT = 6
"""Mask memories of frames before the current one: SAM 2's `num_maskmem`, less one."""
MAX_POINTERS = 16
"""SAM 2's `max_obj_ptrs_in_encoder`: pointers reach back one less than this many frames."""


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """One object on one frame, as the tracker remembers it."""

    time: int
    """Position of the frame in the order of tracking; one more than the frame before."""
    features: Tensor | None
    """Mask memory, in the layout of the model; None where only the pointer is still of use."""
    pointer: Tensor
    """Object pointer `(C,)`."""


@dataclass(frozen=True, slots=True, eq=False)
class Recollection:
    """The memories of one object that one frame attends to."""

    maps: tuple[tuple[int, Memory], ...]
    """Mask memories, each with its temporal slot: 0 conditioning, else 1 (oldest) to 6 (newest)."""
    pointers: tuple[tuple[int, Memory], ...]
    """Object pointers, each with its distance in frames from the current one."""

    @property
    def shape(self) -> tuple[int, int]:
        """Objects with equal shapes can share one call of the memory attention."""
        return len(self.maps), len(self.pointers)


class MemoryBank:
    """The memories of one object.

    It holds the conditioning frames still ahead, the `MAX_CONDITIONING` last ones behind,
    `MAX_RECENT` mask memories and `MAX_POINTERS - 1` object pointers. It drops only memories that
    no later frame can read.

    Args:
        conditioning: Memories to start with.
        is_backward: Tracking runs towards smaller times.
    """

    def __init__(self, conditioning: Iterable[Memory] = (), *, is_backward: bool = False) -> None:
        self._conditioning = {memory.time: memory for memory in conditioning}
        self._recent: deque[Memory] = deque(maxlen=MAX_POINTERS - 1)
        self._direction = -1 if is_backward else 1

    def __len__(self) -> int:
        return len(self._conditioning) + len(self._recent)

    def backward_copy(self) -> "MemoryBank":
        """Return a bank with the same conditioning frames that tracks towards smaller times."""
        return MemoryBank(self._conditioning.values(), is_backward=True)

    def add_conditioning(self, memory: Memory) -> None:
        """Remember a prompted frame."""
        self._conditioning[memory.time] = memory

    def add_recent(self, memory: Memory) -> None:
        """Remember a tracked frame, until `MAX_POINTERS - 1` further ones have come."""
        self._recent.append(memory)
        if len(self._recent) > MAX_RECENT:
            oldest = -1 - MAX_RECENT
            self._recent[oldest] = replace(self._recent[oldest], features=None)

    def recall(self, time: int) -> Recollection:
        """Select what the frame at `time` attends to; times follow the bank's direction."""
        self._forget_passed(time)
        nearest, others = self._split_conditioning(time)
        past = {m.time: m for m in (*others, *self._recent)}
        steps = {distance: past.get(time - distance * self._direction)
                 for distance in range(MAX_POINTERS - 1, 0, -1)}  # fmt: skip
        recent = tuple((d, m) for d, m in steps.items() if m is not None)
        maps = [(0, memory) for memory in nearest]
        maps += [(MAX_RECENT + 1 - d, memory) for d, memory in recent if d <= MAX_RECENT]
        signed = [((time - memory.time) * self._direction, memory) for memory in nearest]
        pointers = [(d, memory) for d, memory in signed if d >= 0]
        return Recollection(tuple(maps), (*pointers, *reversed(recent)))

    def _forget_passed(self, time: int) -> None:
        """Drop the conditioning frames behind `time` that can never be among the nearest again."""
        passed = [t for t in self._conditioning if (time - t) * self._direction > 0]
        for old in sorted(passed, key=lambda t: abs(time - t))[MAX_CONDITIONING:]:
            del self._conditioning[old]

    def _split_conditioning(self, time: int) -> tuple[list[Memory], list[Memory]]:
        """Return the conditioning frames to attend to as such, and the others.

        As `sam2.modeling.sam2_utils.select_closest_cond_frames`: the nearest before, the nearest
        after, then the nearest of the rest.
        """
        by_distance = sorted(self._conditioning.values(), key=lambda m: abs(m.time - time))
        before = next((m for m in by_distance if m.time < time), None)
        after = next((m for m in by_distance if m.time >= time), None)
        first = [memory for memory in (before, after) if memory is not None]
        ranked = first + [memory for memory in by_distance if memory not in first]
        return ranked[:MAX_CONDITIONING], ranked[MAX_CONDITIONING:]


def stack(recollections: Iterable[Recollection]) -> MemoryBatch:
    """Put recollections of one shape together; maps, which are large, are not copied."""
    items = tuple(recollections)
    maps = tuple(tuple(_map(memory) for _, memory in item.maps) for item in items)
    slots = tuple(tuple(slot for slot, _ in item.maps) for item in items)
    device = maps[0][0].device
    distances = torch.tensor(
        [[float(distance) for distance, _ in item.pointers] for item in items],
        pin_memory=device.type == "cuda",  # the copy from there waits for nothing
    )
    if not items[0].pointers:  # a frame before all of the object's conditioning frames
        pointers = torch.empty(len(items), 0, 0, device=device)
    else:
        pointers = torch.stack(
            [torch.stack([m.pointer for _, m in item.pointers]) for item in items]
        )
    return MemoryBatch(maps, slots, pointers, distances.to(device, non_blocking=True))


def _map(memory: Memory) -> Tensor:
    assert memory.features is not None, "only frames too old to be read lose their mask memory"
    return memory.features
