"""Frames are decoded while the ones before them are tracked."""

import gc
import threading
import traceback
import weakref
from collections.abc import Callable, Generator, Iterable
from functools import partial
from itertools import count
from pathlib import Path
from typing import NoReturn, TypeVar

import numpy as np
import pytest

from sam_video.errors import VideoError
from sam_video.types import Frame, FrameSource
from sam_video.video.frame_list import FrameList
from sam_video.video.read_ahead import ReadAhead
from sam_video.video.source import open_video
from sam_video.workers.ahead import ahead
from tests.clips import draw_clip
from tests.worker_threads import (
    Cancelled,
    cancelled_when,
    take_too_long,
    wait_until,
    worker_threads,
)

T = TypeVar("T")

pytestmark = pytest.mark.usefixtures("no_worker_left")


def items_of(items: Iterable[T]) -> Generator[T, None, None]:
    yield from items


class Steps:
    """A generator that notes what is done with it."""

    def __init__(self, hang_at: int | None = None) -> None:
        self.num_made = 0
        self.made_by: threading.Thread | None = None
        self.closed_by: threading.Thread | None = None
        self.hangs_at = hang_at
        self.is_hanging = False

    def run(self) -> Generator[int, None, None]:
        try:
            for number in count():
                self.made_by = threading.current_thread()
                if number == self.hangs_at:
                    self.is_hanging = True
                    take_too_long()
                self.num_made += 1
                yield number
        finally:
            self.closed_by = threading.current_thread()


@pytest.mark.parametrize("size", [1, 3, 100])
def test_everything_comes_in_order(size: int) -> None:
    assert list(ahead(items_of(range(20)), size)) == list(range(20))
    assert list(ahead(items_of([]), size)) == []


def test_false_and_none_are_items_like_others() -> None:
    items = [0, None, False, ""]
    assert list(ahead(items_of(items), 2)) == items


def test_a_generator_is_ahead_as_far_as_it_may_and_no_further() -> None:
    steps = Steps()
    items = ahead(steps.run(), 3)
    assert steps.num_made == 0
    for taken in range(1, 6):
        next(items)
        wait_until(partial(lambda number: steps.num_made == number, taken + 3))
    items.close()
    assert steps.num_made == 8


def test_what_was_handed_over_is_held_no_longer() -> None:
    class Item:
        """Something that a weak reference can watch."""

    items = ahead((Item() for _ in range(5)), 1)
    watched = weakref.ref(next(items))
    wait_until(lambda: watched() is None)
    items.close()


def test_an_error_comes_after_the_items_before_it() -> None:
    def read() -> Generator[int, None, None]:
        yield from (1, 2)
        raise VideoError("clip.mp4 changed while it was read")

    items = ahead(read(), 5)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(VideoError, match="changed while it was read") as caught:
        next(items)
    assert traceback.extract_tb(caught.tb)[-1].name == "read"
    assert list(items) == []


def test_an_error_that_is_not_reached_is_nobodys() -> None:
    def read() -> Generator[int, None, None]:
        yield 1
        raise VideoError("beyond what was asked for")

    items = ahead(read(), 5)
    assert next(items) == 1
    items.close()


@pytest.mark.parametrize(
    "reach",
    [
        pytest.param(lambda items, steps: wait_until(lambda: steps.num_made == 3), id="full"),
        pytest.param(lambda items, steps: None, id="running"),
        pytest.param(lambda items, steps: [next(items) for _ in range(9)], id="in-the-middle"),
    ],
)
def test_closing_ends_the_thread_in_which_the_generator_is_closed(
    reach: Callable[[Generator[int, None, None], Steps], None],
) -> None:
    steps = Steps()
    items = ahead(steps.run(), 2)
    next(items)
    reach(items, steps)
    items.close()
    assert worker_threads() == []
    assert steps.made_by is steps.closed_by is not threading.current_thread()


def test_closing_interrupts_an_item_that_takes_long() -> None:
    steps = Steps(hang_at=1)
    items = ahead(steps.run(), 2)
    next(items)
    wait_until(lambda: steps.is_hanging)
    items.close()
    assert worker_threads() == []
    assert steps.made_by is steps.closed_by is not None


def test_closing_what_was_never_begun_starts_no_thread() -> None:
    steps = Steps()
    ahead(steps.run(), 2).close()
    assert (steps.num_made, worker_threads()) == (0, [])


def test_a_forgotten_reader_ends_its_thread() -> None:
    steps = Steps()
    items = ahead(steps.run(), 2)
    next(items)
    del items
    gc.collect()
    assert worker_threads() == []
    assert steps.closed_by is not None


def test_waiting_for_an_item_can_be_cancelled() -> None:
    steps = Steps(hang_at=0)
    items = ahead(steps.run(), 2)
    with pytest.raises(Cancelled), cancelled_when(lambda: steps.is_hanging):
        next(items)
    assert worker_threads() == []
    assert steps.closed_by is not None


def read_all(source: FrameSource) -> list[list[tuple[int, float, bytes]]]:
    """Read a source in all ways."""
    passes = (
        source.frames(),
        source.frames(3),
        source.frames_at({9, 2, 5, 99}),
        source.frames_backward(7),
        source.frames_backward(7, 4),
    )
    return [[(f.index, f.pts_seconds, f.image.tobytes()) for f in frames] for frames in passes]


@pytest.mark.parametrize("is_damaged", [False, True], ids=["sound", "damaged"])
@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.gif"])
def test_frames_read_ahead_are_the_same(tmp_path: Path, name: str, is_damaged: bool) -> None:
    path = tmp_path / name
    draw_clip(path, num_frames=12)
    if is_damaged:
        data = bytearray(path.read_bytes())
        data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
        path.write_bytes(data)
    expected = read_all(open_video(path))
    source = open_video(path)
    with ReadAhead(source, 3) as same:
        assert (same.info, same.count_frames(5)) == (source.info, source.count_frames(5))
        assert read_all(same) == expected


def test_leaving_ends_readers_that_are_not_closed() -> None:
    source = FrameList([np.full((2, 2, 3), index, np.uint8) for index in range(9)])
    with pytest.raises(ValueError, match="while reading"), ReadAhead(source, 2) as same:
        readers = [same.frames(), same.frames_backward(8), same.frames_at(range(9))]
        assert [next(reader).index for reader in readers] == [0, 8, 0]
        assert len(worker_threads()) == 3
        raise ValueError("while reading")
    assert worker_threads() == []
    assert [list(reader) for reader in readers] == [[], [], []]


def test_a_source_that_fails_at_once_fails_in_the_reader() -> None:
    class Broken(FrameList):
        def frames(self, start: int = 0) -> Generator[Frame, None, None]:
            yield from self._fail()

        def _fail(self) -> NoReturn:
            raise VideoError("nothing decodes")

    source = Broken([np.zeros((2, 2, 3), np.uint8)])
    with ReadAhead(source, 2) as same, pytest.raises(VideoError, match="nothing decodes"):
        list(same.frames())
