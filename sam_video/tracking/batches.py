"""Send items through the network in batches as large as the GPU's memory allows."""

import logging
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import partial
from typing import TypeVar

import torch

from sam_video.model.cuda_graphs import free_cached_memory

T = TypeVar("T")
R = TypeVar("R")
K = TypeVar("K", bound=Hashable)

logger = logging.getLogger(__name__)


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Group items by equal keys, in the order of each key's first item."""
    groups: dict[K, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups


class Batches:
    """Computes items in batches; running out of memory halves their size for good.

    Args:
        size: The most items in a batch.
        items: What they are, in the plural.
        free: Frees memory that only saves time, and tells whether there was any. It is tried before
            the size is halved.
    """

    def __init__(self, size: int, items: str, free: Callable[[], bool] = lambda: False) -> None:
        self.size = size
        self._items = items
        self._free = free

    def compute(self, items: list[T], step: Callable[[list[T]], R]) -> Iterator[tuple[list[T], R]]:
        """Yield the items batch by batch, each batch with the result of `step`.

        Args:
            items: Of one shape, so that any of them can share a call.
            step: The computation. It must change nothing, since a failed one is repeated.

        Raises:
            torch.OutOfMemoryError: The GPU's memory does not suffice for one item.
        """
        start = 0
        while start < len(items):
            batch = items[start : start + self.size]
            if results := result_where_memory_suffices(partial(step, batch)):
                yield batch, results.pop()
            elif self._free():
                logger.warning(
                    "the GPU's memory does not suffice for recorded work; it is freed, and tracking"
                    " is slower"
                )
                continue
            elif len(batch) == 1:
                yield batch, step(batch)
            else:
                self._halve(len(batch))
                continue
            start += len(batch)

    def _halve(self, size: int) -> None:
        free_cached_memory()  # of what the failed computation held
        self.size = size // 2
        logger.warning(
            "the GPU's memory does not suffice for %d %s at a time; going on with %d",
            size,
            self._items,
            self.size,
        )


def result_where_memory_suffices(call: Callable[[], R]) -> list[R]:
    """Return the result of a call alone in a list, or an empty list if the GPU's memory is full.

    The error is gone when this returns, and its traceback with all tensors of the call.
    """
    try:
        return [call()]
    except torch.OutOfMemoryError:
        return []
