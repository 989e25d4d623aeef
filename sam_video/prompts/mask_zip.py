"""Read an untrusted zip of masks as prompts; no size that it states is relied on.

Nothing is written to disk, and each file is decompressed only up to the largest size of a mask.
"""

import io
import re
import reprlib
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL.PngImagePlugin import PngImageFile

from sam_video.errors import PromptError, one_line
from sam_video.limits import MAX_PROMPTS, MAX_ZIP_BYTES, MAX_ZIP_MEMBERS
from sam_video.prompts.stated import StatedPrompt, quoted
from sam_video.types import BoolMask
from sam_video.workers.watchdog import check_headroom, report_progress

MIN_DIRECTORY_BYTES, DIRECTORY_BYTES_PER_MEMBER = 2**17, 400
"""Size limits of a zip's list of members, which is read at once; long names fit."""
MAX_BYTES_PER_PIXEL = 8
"""Largest file before decoding: float64 in npy, four channels of 16 bits in PNG."""
MAX_EXTRA_BYTES = 2**20
"""Bytes of a file besides its pixels: headers, colour profiles and other metadata."""

_FORMS = "{frame_index}_{object_id}.png or .npy"
_NAME = re.compile(r"([0-9]{1,15})_(.+)\.(png|npy)", re.IGNORECASE | re.DOTALL)
_PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_PNG_COLOUR_TYPES = (2, 4, 6)
"""RGB, gray with alpha, RGBA."""
# One step of bzip2 or LZMA decompression may take any amount of memory.
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_READ_BYTES = 2**20
_UTF8_NAME = 0x800
_ENCRYPTED = 0x1


@dataclass(frozen=True, slots=True)
class _Member:
    """A file of the zip, with the object and the frame that its name gives."""

    entry: zipfile.ZipInfo
    frame_index: int
    object_id: str
    decode: Callable[[bytes, str, tuple[int, int]], BoolMask]
    place: str
    """Its name in messages."""


class _BoundedFile(io.FileIO):
    """A file that refuses large single reads; `zipfile` reads a zip's list of members in one.

    A zip states the length of this list in several places; this limits all of them.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to `size` bytes."""
        most = max(MIN_DIRECTORY_BYTES, DIRECTORY_BYTES_PER_MEMBER * MAX_ZIP_MEMBERS.value)
        if size is not None and size > most:
            raise PromptError(
                f"mask_prompts has a list of members of {size} bytes;"
                f" expected at most {most}, for {MAX_ZIP_MEMBERS} members"
            )
        return super().read(size) or b""


def read_masks(path: Path, *, width: int, height: int) -> tuple[StatedPrompt, ...]:
    """Read a zip of `{frame_index}_{object_id}.png` or `.npy`, one mask per file.

    A pixel belongs to the object if any colour is not 0. The alpha channel of a PNG is ignored; in
    a PNG with a palette the index counts, as DAVIS stores masks. An npy file holds booleans,
    integers or floats. Folders and files whose names begin with a dot are ignored.

    Args:
        path: A zip, stored or deflated, without a password.
        width: Width of the video in pixels.
        height: Height of the video in pixels.

    Returns:
        Prompts with `(height, width)` masks, sorted by frame and then by name.

    Raises:
        PromptError: The zip or a mask cannot be read, is too large, or does not fit the video.
    """
    with _errors_about(f"mask_prompts is {quoted(path.name)}, which", "a zip archive"):
        if path.exists() and not path.is_file():  # opening a pipe would block
            raise ValueError("not a file")
        file = _BoundedFile(path)
    with file:
        with _errors_about(f"mask_prompts is {quoted(path.name)}, which", "a zip archive"):
            archive = zipfile.ZipFile(file)
        with archive:
            members = sorted(_members(archive), key=lambda m: (m.frame_index, m.object_id, m.place))
            _check_totals(members, width, height)
            return tuple(_read_mask(archive, member, (height, width)) for member in members)


def _members(archive: zipfile.ZipFile) -> Iterator[_Member]:
    entries = archive.infolist()
    if len(entries) > MAX_ZIP_MEMBERS.value:
        raise PromptError(
            f"mask_prompts has {len(entries)} members; expected at most {MAX_ZIP_MEMBERS}"
        )
    for entry in entries:
        name = _name(entry)
        folders = re.split(r"[\\/]", name)
        base = folders.pop()
        if base and not base.startswith(".") and "__MACOSX" not in folders:
            yield _member(entry, base, f"mask_prompts[{quoted(name)}]")


def _name(entry: zipfile.ZipInfo) -> str:
    """Return a member's name; many archivers write UTF-8 without setting its flag."""
    if entry.flag_bits & _UTF8_NAME:
        return entry.filename
    try:
        return entry.filename.encode("cp437").decode()
    except UnicodeError:
        return entry.filename


def _member(entry: zipfile.ZipInfo, base: str, place: str) -> _Member:
    match = _NAME.fullmatch(base)
    object_id = match[2].strip() if match else ""
    if match is None or not object_id:
        raise PromptError(f"{place} is no name of a mask; expected {_FORMS}")
    if entry.flag_bits & _ENCRYPTED:
        raise PromptError(f"{place} is encrypted; expected a zip without a password")
    if entry.compress_type not in _COMPRESSIONS:
        raise PromptError(
            f"{place} is compressed by method {entry.compress_type}; expected stored or deflated"
        )
    decode = _decode_png if match[3].lower() == "png" else _decode_npy
    return _Member(entry, int(match[1]), object_id, decode, place)


def _check_totals(members: list[_Member], width: int, height: int) -> None:
    if not members:
        raise PromptError(f"mask_prompts holds no mask; expected {_FORMS}")
    if len(members) > MAX_PROMPTS.value:
        raise PromptError(
            f"mask_prompts holds {len(members)} masks; expected at most {MAX_PROMPTS}"
        )
    # A decoded mask takes one byte per pixel; `zipfile` reads no more of a file than `file_size`.
    num_bytes = sum(max(width * height, member.entry.file_size) for member in members)
    if num_bytes > MAX_ZIP_BYTES.value:
        raise PromptError(
            f"mask_prompts holds {len(members)} masks of {width}x{height}, {num_bytes} bytes"
            f" decompressed; expected at most {MAX_ZIP_BYTES}"
        )


def _read_mask(archive: zipfile.ZipFile, member: _Member, hw: tuple[int, int]) -> StatedPrompt:
    limit = MAX_BYTES_PER_PIXEL * hw[0] * hw[1] + MAX_EXTRA_BYTES
    data = bytearray()
    with _errors_about(member.place, "an undamaged file"), archive.open(member.entry) as file:
        for part in iter(partial(file.read, _READ_BYTES), b""):
            data += part
            if len(data) > limit:
                raise PromptError(
                    f"{member.place} is larger than {limit} bytes; expected a {hw[1]}x{hw[0]} mask"
                )
    mask = member.decode(bytes(data), member.place, hw)
    report_progress()
    if not mask.any():
        raise PromptError(f"{member.place} has no pixel; expected at least one that is not 0")
    return StatedPrompt(mask, member.frame_index, member.object_id, member.place, member.place)


def _decode_png(data: bytes, place: str, hw: tuple[int, int]) -> BoolMask:
    header = data[len(_PNG_START) :][:10]
    if not data.startswith(_PNG_START) or len(header) < 10:
        raise PromptError(f"{place} is not a PNG image; expected one")
    width, height, bit_depth, colour_type = struct.unpack(">IIBB", header)
    if (height, width) != hw:
        raise PromptError(
            f"{place} is {width}x{height}; expected {hw[1]}x{hw[0]}, the size of the video"
        )
    with _errors_about(place, "a PNG image"):
        # Image.open would apply a size limit of its own.
        with PngImageFile(io.BytesIO(data)) as image:
            if image.size != (width, height):
                raise ValueError("it states two sizes")
            pixels = np.asarray(image)
        if bit_depth == 16 and colour_type in _PNG_COLOUR_TYPES:
            # Pillow keeps only the high byte, and so loses small values.
            pixels = _decode_with_all_bits(data)
    if pixels.ndim == 2:
        return pixels.astype(np.bool_)
    num_colours = 1 if pixels.shape[2] == 2 else 3
    mask: BoolMask = np.any(pixels[..., :num_colours], axis=2)
    return mask


def _decode_with_all_bits(data: bytes) -> npt.NDArray[Any]:
    """Return `(H, W, 3 or 4)` uint16, alpha last."""
    import cv2  # noqa: PLC0415 (slow to import, rarely needed)

    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("its pixels are damaged")
    return pixels


def _decode_npy(data: bytes, place: str, hw: tuple[int, int]) -> BoolMask:
    file = io.BytesIO(data)
    with _errors_about(place, "an npy array of numbers"):
        shape, is_fortran, dtype = _read_npy_header(file)
    if dtype.kind not in "biuf" or dtype.itemsize > MAX_BYTES_PER_PIXEL:
        raise PromptError(f"{place} holds {quoted(str(dtype))}; expected bool, integers or floats")
    if shape not in (hw, (1, *hw), (*hw, 1)):
        raise PromptError(
            f"{place} has the shape {reprlib.repr(shape)};"
            f" expected {hw}, the height and width of the video"
        )
    num_bytes, expected = len(data) - file.tell(), hw[0] * hw[1] * dtype.itemsize
    if num_bytes != expected:
        raise PromptError(f"{place} has {num_bytes} bytes of pixels; expected {expected}")
    values = np.frombuffer(data, dtype, offset=file.tell())
    if np.isnan(values).any():
        raise PromptError(f"{place} holds NaN; expected bool, integers or floats")
    return np.ascontiguousarray(
        values.astype(np.bool_).reshape(hw, order="F" if is_fortran else "C")
    )


def _read_npy_header(file: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the shape, the order (True for Fortran) and the type; NumPy limits the header's size."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f"version {version[0]}.{version[1]} of the format")


@contextmanager
def _errors_about(subject: str, expected: str) -> Iterator[None]:
    """Report any damage in one line; the readers raise many kinds of errors for it."""
    try:
        yield
    except PromptError:
        raise
    except Exception as error:
        check_headroom(error)
        text = getattr(error, "strerror", None) or str(error)
        reason = one_line(" ".join(text.split())[:100]) or type(error).__name__
        raise PromptError(f"{subject} cannot be read ({reason}); expected {expected}") from None
