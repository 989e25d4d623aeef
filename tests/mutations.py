"""Files that are broken on purpose: where a format keeps its sizes, counts, kinds and places.

`elements_of` finds these in a small file; `mutated` changes a few of them, and moves, repeats,
nests or cuts what they are about. The same seed makes the same file.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

MP4_PARENTS = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"udta", b"dinf"}
EBML_PARENTS = {0x18538067, 0x1549A966, 0x1654AE6B, 0xAE, 0xE0, 0x1F43B675, 0x1C53BB6B, 0xBB, 0xB7}
RIFF_PARENTS = {b"RIFF", b"LIST"}
ZIP_RECORDS = {b"PK\x03\x04": 30, b"PK\x01\x02": 46, b"PK\x05\x06": 22}
PNG_START = b"\x89PNG\r\n\x1a\n"
NUMBERS = (0, 1, 2, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Where readers of sizes and counts have their edges."""


@dataclass(frozen=True, slots=True)
class Element:
    """A box, chunk, element, block or record, and where it states its size."""

    start: int
    body: int
    """Where what it holds begins."""
    end: int
    size_at: int
    size_bytes: int
    """0 where it states none."""
    byte_order: Literal["big", "little"]


def elements_of(data: bytes) -> list[Element]:
    """Return the parts of a file, parents before what they hold; of an unknown one, the whole."""
    for start, signature, find in FORMATS:
        if data.startswith(signature, start):
            return list(find(data, 0, len(data)))
    return [Element(0, min(6, len(data)), len(data), 8, 2, "little")]


def _mp4_boxes(data: bytes, start: int, end: int) -> Iterator[Element]:
    while start + 8 <= end:
        size = int.from_bytes(data[start : start + 4])
        stop = min(end, start + max(8, size))
        yield Element(start, start + 8, stop, start, 4, "big")
        if data[start + 4 : start + 8] in MP4_PARENTS:
            yield from _mp4_boxes(data, start + 8, stop)
        start = stop


def _ebml_elements(data: bytes, start: int, end: int) -> Iterator[Element]:
    while start < end and data[start]:
        id_bytes = 9 - data[start].bit_length()
        size_at = start + id_bytes
        if size_at >= end or not data[size_at]:
            return
        size_bytes = 9 - data[size_at].bit_length()
        body = size_at + size_bytes
        marked = int.from_bytes(data[size_at:body])
        size = marked & ~(1 << 7 * size_bytes)
        stop = max(body, end if size == (1 << 7 * size_bytes) - 1 else min(end, body + size))
        yield Element(start, body, stop, size_at, size_bytes, "big")
        if int.from_bytes(data[start:size_at]) in EBML_PARENTS:
            yield from _ebml_elements(data, body, stop)
        start = stop


def _riff_chunks(data: bytes, start: int, end: int) -> Iterator[Element]:
    while start + 8 <= end:
        size = int.from_bytes(data[start + 4 : start + 8], "little")
        stop = min(end, start + 8 + size + size % 2)
        is_parent = data[start : start + 4] in RIFF_PARENTS
        body = min(stop, start + (12 if is_parent else 8))
        yield Element(start, body, stop, start + 4, 4, "little")
        if is_parent:
            yield from _riff_chunks(data, start + 12, stop)
        start = stop


def _png_chunks(data: bytes, start: int, end: int) -> Iterator[Element]:
    start += len(PNG_START)
    while start + 12 <= end:
        stop = min(end, start + 12 + int.from_bytes(data[start : start + 4]))
        yield Element(start, start + 8, stop, start, 4, "big")
        start = stop


def _gif_blocks(data: bytes, start: int, end: int) -> Iterator[Element]:
    """Yield the header and, from marker to marker, extensions and pictures."""
    start = 13 + (3 << (data[10] & 7) + 1 if data[10:11] > b"\x7f" else 0)
    yield Element(0, 6, start, 6, 2, "little")
    while start + 12 < end and data[start] in b"\x21\x2c":
        body = start + 2
        if data[start] == 0x2C:
            flags = data[start + 9]
            body = start + 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        stop = body
        while stop < end and data[stop]:
            stop += 1 + data[stop]
        stop = min(stop, end - 1)
        yield Element(start, min(body, stop), stop + 1, body, 1, "little")
        start = stop + 1


def _zip_records(data: bytes, start: int, end: int) -> Iterator[Element]:
    for signature, header in ZIP_RECORDS.items():
        start = data.find(signature)
        while start >= 0:
            stop = min(end, start + header + 40)
            yield Element(start, start + 4, stop, start + 18, 4, "little")
            start = data.find(signature, start + 4)


FORMATS: tuple[tuple[int, bytes, Callable[[bytes, int, int], Iterator[Element]]], ...] = (
    (4, b"ftyp", _mp4_boxes),
    (0, b"\x1aE\xdf\xa3", _ebml_elements),
    (0, b"RIFF", _riff_chunks),
    (0, PNG_START, _png_chunks),
    (0, b"GIF8", _gif_blocks),
    (0, b"PK", _zip_records),
)
"""Where each format has which signature, and what finds its parts."""


def mutated(data: bytes, seed: int) -> bytes:
    """Return a copy of a file with one to five changes."""
    random = Random(seed)
    changed = data
    for _ in range(random.choice((1, 1, 2, 3, 5))):
        change = random.choice(CHANGES)
        elements = elements_of(changed)
        if elements and changed:
            changed = change(changed, random.choice(elements), random)
    return with_checksums(changed) if random.random() < 0.8 else changed


def with_checksums(data: bytes) -> bytes:
    """Make the checksums of a PNG file right, so that more than them is read."""
    if not data.startswith(PNG_START):
        return data
    fixed = bytearray(data)
    for chunk in _png_chunks(data, 0, len(data)):
        checksum = zlib.crc32(fixed[chunk.start + 4 : chunk.end - 4])
        fixed[chunk.end - 4 : chunk.end] = struct.pack(">I", checksum)
    return bytes(fixed)


def _set_size(data: bytes, element: Element, random: Random) -> bytes:
    """State another size: an edge of what readers take, or a little more or less."""
    at, num_bytes = element.size_at, element.size_bytes
    old = int.from_bytes(data[at : at + num_bytes], element.byte_order)
    new = random.choice((*NUMBERS, old + 1, old - 1, old + 8, old * 2, random.getrandbits(32)))
    return _overwritten(data, at, (new % 256**num_bytes).to_bytes(num_bytes, element.byte_order))


def _set_number(data: bytes, element: Element, random: Random) -> bytes:
    """Put another number into the beginning of what an element holds, where formats have counts."""
    num_bytes = random.choice((1, 2, 4, 4, 8))
    at = element.body + random.choice((0, 4, 8, 12, 16, 20, 24, random.randrange(100)))
    number = random.choice((*NUMBERS, random.getrandbits(32))) % 256**num_bytes
    return _overwritten(data, at, number.to_bytes(num_bytes, element.byte_order))[: len(data)]


def _set_kind(data: bytes, element: Element, random: Random) -> bytes:
    """Give an element the header of another."""
    other = random.choice(elements_of(data))
    return _overwritten(data, element.start, data[other.start : other.body])


def _repeat(data: bytes, element: Element, random: Random) -> bytes:
    whole = data[element.start : element.end]
    times = min(random.choice((1, 2, 50, 1000)), 2**20 // max(1, len(whole)))
    return data[: element.end] + whole * times + data[element.end :]


def _remove(data: bytes, element: Element, random: Random) -> bytes:
    return data[: element.start] + data[element.end :]


def _zero(data: bytes, element: Element, random: Random) -> bytes:
    return _overwritten(data, element.body, bytes(element.end - element.body))


def _scramble(data: bytes, element: Element, random: Random) -> bytes:
    count = min(element.end - element.body, random.choice((1, 4, 16, 1000)))
    at = random.randint(element.body, max(element.body, element.end - count))
    return _overwritten(data, at, random.randbytes(count))


def _cut(data: bytes, element: Element, random: Random) -> bytes:
    return data[: random.randint(element.start, element.end)]


def _nest(data: bytes, element: Element, random: Random) -> bytes:
    """Put an element into itself, a few or many times over, with sizes left as they are."""
    header = data[element.start : element.body]
    times = random.choice((1, 3, 2000))
    return data[: element.body] + header * times + data[element.body :]


def _swap(data: bytes, element: Element, random: Random) -> bytes:
    """Exchange an element with another that does not overlap it."""
    first, second = sorted((element, random.choice(elements_of(data))), key=lambda e: e.start)
    if first.end > second.start:
        return data
    return (
        data[: first.start]
        + data[second.start : second.end]
        + data[first.end : second.start]
        + data[first.start : first.end]
        + data[second.end :]
    )


def _overwritten(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


CHANGES: tuple[Callable[[bytes, Element, Random], bytes], ...] = (
    _set_size, _set_size, _set_number, _set_number, _set_number, _set_kind,
    _repeat, _remove, _zero, _scramble, _scramble, _cut, _nest, _swap,
)  # fmt: skip
