"""Files that are broken where their formats are touchy: frames or masks come out, or one line.

Each case is made from a number. A few run with the tests; `make fuzz` goes on from a random number
for minutes, and a case that fails says how to run it alone: `FUZZ_SEED=… FUZZ_SECONDS=0`.
"""

import io
import os
import resource
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sam_video.errors import PromptError, SamVideoError, VideoError
from sam_video.service.file_reader import FileReader
from tests.clips import draw_clip
from tests.mutations import mutated

SIZE = (32, 24)
MAX_CASE_SECONDS = 60
"""Generous, as the machine may be busy."""
MAX_MEGABYTES = 2560
"""What a reader may take, and its libraries."""
MAX_PIXELS = 2**24
"""That are read of one file in one way, or its first frame."""
IS_LONG = os.environ.get("HYPOTHESIS_PROFILE") == "fuzz"
FUZZ_SECONDS = float(os.environ.get("FUZZ_SECONDS", "30" if IS_LONG else "0"))
"""How long to go on with each kind of file."""
FIRST_SEED = int(os.environ.get("FUZZ_SEED", int.from_bytes(os.urandom(4)) if IS_LONG else 0))
ENDED = ("gets no further", "crashes what reads it")
"""What is said when a file has ended the process that reads it."""
NUM_SEEDS = 25
"""Of the short part."""

KINDS: dict[str, dict[str, Any]] = {
    "h264.mp4": {},
    "mjpeg.mov": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "h264.mkv": {},
    "vp8.webm": {"codec": "libvpx"},
    "mpeg4.avi": {},
    "animated.gif": {},
    "animated.webp": {},
    "animated.png": {},
    "still.png": {"num_frames": 1},
}


def seeds() -> Iterator[int]:
    """Yield the numbers of the cases to run: a few, or as many as there is time for."""
    if not FUZZ_SECONDS:
        yield from range(FIRST_SEED, FIRST_SEED + (1 if "FUZZ_SEED" in os.environ else NUM_SEEDS))
        return
    deadline = time.monotonic() + FUZZ_SECONDS
    seed = FIRST_SEED
    while time.monotonic() < deadline:
        yield seed
        seed += 1


def check(read: Callable[[FileReader, Path], str], data: bytes, path: Path) -> None:
    """Read many broken copies of a file; each gives what it should, in time and in memory."""
    with ExitStack() as stack:
        reader = stack.enter_context(FileReader())
        for seed in seeds():
            # Under a name of its own, as a reader opens each file once.
            case = path.with_name(f"{seed}_{path.name}")
            case.write_bytes(mutated(data, seed))
            start = time.monotonic()
            try:
                message = read(reader, case)
                assert message.isprintable() and len(message) < 1000
                assert time.monotonic() - start < MAX_CASE_SECONDS
            except BaseException as error:
                error.add_note(f"FUZZ_SEED={seed} FUZZ_SECONDS=0, in {case}")
                raise
            case.unlink()
            if any(text in message for text in ENDED):
                reader = stack.enter_context(FileReader())
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        assert resource.getrusage(who).ru_maxrss < MAX_MEGABYTES * 1024


def read_video(reader: FileReader, path: Path) -> str:
    """Read some frames in all ways; return what is said of a file that cannot be read."""
    try:
        source = reader.open_video(path)
        count = max(1, min(20, MAX_PIXELS // (source.info.width * source.info.height)))
        with closing(source.frames()) as forward:
            frames = list(islice(forward, count))
        frames += [*source.frames_at([count // 2]), *source.frames_backward(count // 8)]
    except VideoError as error:
        return said(error)
    shapes = {frame.image.shape for frame in frames}
    assert shapes == {(source.info.height, source.info.width, 3)}
    return ""


def read_zip(reader: FileReader, path: Path) -> str:
    """Read the masks of a zip; return what is said of one that cannot be read."""
    try:
        masks = reader.read_masks(path, width=SIZE[0], height=SIZE[1])
    except PromptError as error:
        return said(error)
    assert all(np.asarray(mask.value).shape == SIZE[::-1] for mask in masks)
    return ""


def said(error: SamVideoError) -> str:
    assert str(error)
    return str(error)


@pytest.mark.parametrize("name", KINDS)
def test_a_broken_video_gives_frames_or_one_line(name: str, tmp_path: Path) -> None:
    draw_clip(tmp_path / name, **{"num_frames": 4, "size": SIZE, **KINDS[name]})
    check(read_video, (tmp_path / name).read_bytes(), tmp_path / "broken")


def small_zip(compression: int, names: tuple[str, ...] = ("0_dog.png", "3_cat.npy")) -> bytes:
    """Return a zip with a PNG and an npy mask."""
    mask = np.zeros(SIZE[::-1], np.bool_)
    mask[5:9, 4:20] = True
    picture, array, archived = io.BytesIO(), io.BytesIO(), io.BytesIO()
    Image.fromarray(mask).save(picture, "png")
    np.save(array, mask)
    with zipfile.ZipFile(archived, "w", compression) as archive:
        for name, file in zip(names, (picture, array), strict=True):
            archive.writestr(name, file.getvalue())
    return archived.getvalue()


def nested_zip() -> bytes:
    """Return a zip whose members are zips."""
    inner, outer = small_zip(zipfile.ZIP_DEFLATED), io.BytesIO()
    with zipfile.ZipFile(outer, "w") as archive:
        for name in ("0_dog.png", "masks/1_dog.npy", "a.zip"):
            archive.writestr(name, inner)
    return outer.getvalue()


ZIPS = {
    "deflated": small_zip(zipfile.ZIP_DEFLATED),
    "stored": small_zip(zipfile.ZIP_STORED),
    "long names": small_zip(zipfile.ZIP_STORED, ("0_" + "ö" * 99 + ".png", "../../0_a.npy")),
    "nested": nested_zip(),
}


@pytest.mark.parametrize("kind", ZIPS)
def test_a_broken_zip_gives_masks_or_one_line(kind: str, tmp_path: Path) -> None:
    check(read_zip, ZIPS[kind], tmp_path / "broken.zip")


@pytest.mark.parametrize("name", ["mask.png", "mask.npy"])
def test_a_broken_mask_gives_a_mask_or_one_line(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(ZIPS["stored"])) as archive:
        data = archive.read("0_dog.png" if name == "mask.png" else "3_cat.npy")

    def read_member(reader: FileReader, path: Path) -> str:
        with zipfile.ZipFile(path.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(path, "0_" + path.name.partition("_")[2])
        return read_zip(reader, path.with_suffix(".zip"))

    check(read_member, data, tmp_path / name)


def test_the_same_number_makes_the_same_file() -> None:
    data = ZIPS["deflated"]
    assert [mutated(data, seed) for seed in range(9)] == [mutated(data, s) for s in range(9)]
    assert len({mutated(data, seed) for seed in range(99)}) > 50
