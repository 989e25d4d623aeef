"""What all sinks have in common: complete files or none, and memory that stays flat."""

import gc
import resource
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from sam_video.writers.boxes import BoxWriter
from sam_video.writers.for_request import rle_writer
from sam_video.writers.output_folder import OutputFolder
from sam_video.writers.sink import Sink
from sam_video.writers.zips import confidence_zip, mask_zip
from tests.mask_frames import INFO, disc, mask_frame, moving_discs, write_all
from tests.writers.test_images import images
from tests.writers.test_videos import video


def coco(folder: Path) -> Sink:
    return rle_writer("coco", folder, INFO)


def youtube_vis(folder: Path) -> Sink:
    return rle_writer("youtube_vis", folder, INFO)


def start_length(folder: Path) -> Sink:
    return rle_writer("start_length", folder, INFO)


EXTRA_SINKS = [coco, youtube_vis, start_length, BoxWriter, mask_zip, confidence_zip]
SINKS = pytest.mark.parametrize("make_sink", [images, video, *EXTRA_SINKS])


@SINKS
def test_leaving_without_finish_removes_what_is_not_complete(
    tmp_path: Path, make_sink: Callable[[Path], Sink]
) -> None:
    completed = []
    with closing(make_sink(tmp_path)) as sink:
        for masks in moving_discs(3):
            completed += sink.prepare(masks)()
    assert sorted(tmp_path.iterdir()) == sorted(completed)


@SINKS
def test_an_exception_in_the_middle_leaves_no_partial_file(
    tmp_path: Path, make_sink: Callable[[Path], Sink]
) -> None:
    completed = []
    with pytest.raises(KeyboardInterrupt), closing(make_sink(tmp_path)) as sink:
        for masks in moving_discs(3):
            completed += sink.prepare(masks)()
        raise KeyboardInterrupt
    assert sorted(tmp_path.iterdir()) == sorted(completed)


@SINKS
def test_a_file_of_an_earlier_run_is_replaced(
    tmp_path: Path, make_sink: Callable[[Path], Sink]
) -> None:
    first = write_all(make_sink(tmp_path), moving_discs(2))
    for path in first:
        path.write_bytes(b"stale")
    assert write_all(make_sink(tmp_path), moving_discs(2)) == first
    assert all(path.stat().st_size > len(b"stale") for path in first)


@SINKS
def test_memory_does_not_grow_with_the_number_of_frames(
    tmp_path: Path, make_sink: Callable[[Path], Sink]
) -> None:
    masks = {f"object {index}": disc(6 * index, 20) for index in range(10)}

    def write(sink: Sink, start: int, stop: int) -> int:
        """Write frames, and return how many bytes are held afterwards."""
        tracemalloc.start()
        for index in range(start, stop):
            sink.prepare(mask_frame(index, masks))()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    with closing(make_sink(tmp_path)) as sink:
        write(sink, 0, 100)
        tracemalloc.stop()
        held = write(sink, 100, 1100)
        if held >= 50_000:  # once, Python's own table of the parts of paths may have grown
            tracemalloc.stop()
            held = write(sink, 1100, 2100)
        sink.finish()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    # A thousand pictures would be 8 MB, their run lengths as JSON 1.7 MB.
    assert held < 50_000
    assert peak < 800_000


@SINKS
def test_what_was_there_before_stays_until_the_new_file_is_complete(
    tmp_path: Path, make_sink: Callable[[Path], Sink]
) -> None:
    before = {path: path.read_bytes() for path in write_all(make_sink(tmp_path), moving_discs(2))}
    with closing(make_sink(tmp_path)) as sink:
        completed = [path for masks in moving_discs(3) for path in sink.prepare(masks)()]
        unchanged = {path: path.read_bytes() for path in before if path not in completed}
    assert unchanged == {path: data for path, data in before.items() if path not in completed}
    assert all(path.exists() for path in before)


@pytest.mark.parametrize("make_sink", [images, *EXTRA_SINKS])
def test_the_same_masks_make_the_same_bytes(
    tmp_path: Path, make_sink: Callable[[Path], Sink]
) -> None:
    runs = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        paths = write_all(make_sink(tmp_path / name), moving_discs(3))
        runs.append([(path.name, path.read_bytes()) for path in paths])
    assert runs[0] == runs[1]


@SINKS
def test_frames_without_objects_and_no_frames_at_all_are_written(
    tmp_path: Path, make_sink: Callable[[Path], Sink]
) -> None:
    for frames in ([mask_frame(0, {}), mask_frame(1, {})], []):
        paths = write_all(make_sink(tmp_path), frames)
        assert all(path.stat().st_size > 0 for path in paths)


@pytest.mark.parametrize("make_sink", [images, *EXTRA_SINKS])
def test_a_full_disk_fails_and_names_the_file_as_it_is_called_in_the_end(
    tmp_path: Path, make_sink: Callable[[Path], Sink]
) -> None:
    (expected, *_) = write_all(make_sink(tmp_path), moving_discs(1))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    output = OutputFolder(tmp_path)
    with (
        pytest.raises(OSError, match=r"^\[Errno 27\] File too large") as caught,
        output,
        output.errors_named(),
    ):
        output.open([])
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
        try:
            write_all(make_sink(output.private), moving_discs(300))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == str(expected)
    assert list(tmp_path.iterdir()) == [expected]
