"""Items go through the network together, as many as the GPU's memory suffices for."""

import logging
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import partial
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")
K = TypeVar("K", bound=Hashable)

logger = logging.getLogger(__name__)


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Put the items with equal keys together, in the order in which the keys first come."""
    groups: dict[K, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups


class Batches:
    """Computes items in batches, which are half as large for good once memory does not suffice.

    Args:
        size: The most items in a batch.
        items: What they are, in the plural.
    """

    def __init__(self, size: int, items: str) -> None:
        self.size = size
        self._items = items

    def compute(self, items: list[T], step: Callable[[list[T]], R]) -> Iterator[tuple[list[T], R]]:
        """Yield the items batch by batch, with what `step` makes of each.

        Args:
            items: Of one shape, so that any of them can share a call.
            step: The computation. It changes nothing, as it is called again where it failed.

        Raises:
            torch.OutOfMemoryError: The GPU's memory does not suffice for one item.
        """
        start = 0
        while start < len(items):
            batch = items[start : start + self.size]
            if len(batch) == 1:
                yield batch, step(batch)
                start += 1
            elif results := result_where_memory_suffices(partial(step, batch)):
                yield batch, results.pop()
                start += len(batch)
            else:
                self._halve(len(batch))

    def _halve(self, size: int) -> None:
        torch.cuda.empty_cache()  # of what the failed computation held
        self.size = size // 2
        logger.warning(
            "the GPU's memory does not suffice for %d %s at a time; going on with %d",
            size,
            self._items,
            self.size,
        )


def result_where_memory_suffices(call: Callable[[], R]) -> list[R]:
    """Return the result of a call alone in a list, or nothing where the GPU's memory is full.

    When this returns, the error is gone, and with its traceback all that the call held.
    """
    try:
        return [call()]
    except torch.OutOfMemoryError:
        return []
