"""Small files that promise too much: absurd sizes, bombs, loops, depths, disguises.

They stand beside those of the shared folder, most of which are MP4.
"""

import io
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from tests.clips import draw_clip
from tests.mutations import elements_of, with_checksums

ABSURD = 2**31 - 1
DEPTH = 20_000
LARGE = 6000
"""Pixels of a side that is accepted."""
SEGMENT = b"\x18\x53\x80\x67"
SEEK_HEAD = b"\x11\x4d\x9b\x74"


def clip(folder: Path, name: str, **options: Any) -> bytes:
    """Return a drawn clip."""
    draw_clip(folder / name, **{"num_frames": 4, "size": (96, 64), **options})
    return (folder / name).read_bytes()


def encoded(image: Image.Image, image_format: str, **options: Any) -> bytes:
    """Return an image as a file."""
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    """Put another value in all places of one that must be there."""
    assert old in data and len(old) == len(new)
    return data.replace(old, new)


def overwritten(data: bytes, at: int, new: bytes) -> bytes:
    """Put a value in one place."""
    return data[:at] + new + data[at + len(new) :]


def box(kind: bytes, content: bytes) -> bytes:
    """Return a box of MP4."""
    return struct.pack(">I", 8 + len(content)) + kind + content


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk of PNG."""
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


# Absurd sizes


def large_mkv(folder: Path) -> bytes:
    data = clip(folder, "a.mkv", size=(300, 300))
    old, new = b"\xb0\x82\x01\x2c\xba\x82\x01\x2c", b"\xb0\x82\xff\xff\xba\x82\xff\xff"
    return replaced(data, old, new)


def mkv_without_end(folder: Path) -> bytes:
    data = clip(folder, "a.mkv")
    at = data.index(SEGMENT) + len(SEGMENT)
    return overwritten(data, at, b"\x01\xff\xff\xff\xff\xff\xff\xfe")


def large_avi(folder: Path) -> bytes:
    data = clip(folder, "a.avi")
    return overwritten(data, data.index(b"strf") + 12, struct.pack("<II", 60_000, 60_000))


def endless_avi(folder: Path) -> bytes:
    """Claim thousands of millions of frames."""
    data = clip(folder, "a.avi")
    data = overwritten(data, data.index(b"avih") + 24, struct.pack("<I", ABSURD))
    return overwritten(data, data.index(b"strh") + 40, struct.pack("<I", ABSURD))


def large_webp(folder: Path) -> bytes:
    data = clip(folder, "a.webp")
    return overwritten(data, data.index(b"VP8X") + 12, b"\xff" * 6)


def large_png(folder: Path) -> bytes:
    data = clip(folder, "a.png", num_frames=1)
    return with_checksums(overwritten(data, 16, struct.pack(">II", ABSURD, ABSURD)))


def endless_apng(folder: Path) -> bytes:
    data = clip(folder, "a.png")
    return with_checksums(overwritten(data, data.index(b"acTL") + 4, struct.pack(">I", ABSURD)))


def large_bmp(folder: Path) -> bytes:
    data = encoded(Image.new("RGB", (4, 4)), "BMP")
    return overwritten(data, 18, struct.pack("<ii", ABSURD, -ABSURD))


def large_tiff(folder: Path) -> bytes:
    data = encoded(Image.new("L", (12, 77)), "TIFF")
    size = struct.pack("<HHII", 257, 4, 1, 77)
    return replaced(data, size, struct.pack("<HHII", 257, 4, 1, ABSURD))


def large_jpeg2000(folder: Path) -> bytes:
    data = encoded(Image.new("L", (1234, 4321)), "JPEG2000")
    at = data.index(b"ihdr") + 4
    return overwritten(data, at, struct.pack(">II", ABSURD, ABSURD))


def large_avif(folder: Path) -> bytes:
    data = encoded(Image.new("RGB", (64, 32)), "AVIF")
    return overwritten(data, data.index(b"ispe") + 8, struct.pack(">II", ABSURD, ABSURD))


def large_heif(folder: Path) -> bytes:
    size = box(b"ispe", bytes(4) + struct.pack(">II", ABSURD, ABSURD))
    meta = box(b"meta", bytes(4) + box(b"iprp", box(b"ipco", size)))
    return box(b"ftyp", b"heic\0\0\0\0mif1heic") + meta


def large_jpeg(folder: Path) -> bytes:
    data = encoded(Image.new("RGB", (64, 32)), "JPEG")
    return overwritten(data, data.index(b"\xff\xc0") + 5, b"\xff\xdc\xff\xdc")


# Bombs: small, and long or large to decode


def still_gif(folder: Path) -> bytes:
    """Draw thousands of pictures of one pixel, on a canvas of 36 million."""
    header = b"GIF89a" + struct.pack("<HHBBB", LARGE, LARGE, 0x80, 0, 0) + bytes(3) + b"\xff" * 3
    control = b"\x21\xf9\x04\x08\x0a\x00\x00\x00"
    picture = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return header + (control + picture) * 5000 + b";"


def animation(image_format: str, folder: Path) -> bytes:
    """Draw large pictures of one colour each."""
    first, *rest = [Image.new("P", (2000, 2000), index % 2) for index in range(6)]
    return encoded(first, image_format, save_all=True, append_images=rest)


def png_texts(folder: Path) -> bytes:
    """Add texts and a colour profile that become 600 MB."""
    data = clip(folder, "a.png", num_frames=1, size=(854, 480))
    packed = zlib.compress(bytes(100 * 2**20))
    texts = [png_chunk(b"zTXt", b"a%d\0\0" % index + packed) for index in range(5)]
    return data[:33] + png_chunk(b"iCCP", b"a\0\0" + packed) + b"".join(texts) + data[33:]


def many_scans(folder: Path) -> bytes:
    """Refine the large picture of a progressive JPEG again and again."""
    data = encoded(Image.new("L", (LARGE, LARGE)), "JPEG", progressive=True)
    last_scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last_scan * 300 + data[-2:]


# Depths and loops


def deep_mp4(folder: Path) -> bytes:
    content = b""
    for _ in range(DEPTH):
        content = box(b"trak", content)
    return box(b"ftyp", b"isom\0\0\0\0isom") + box(b"moov", content)


def inside_segment(folder: Path, content: bytes) -> bytes:
    """Put something in front of all that a Matroska file holds."""
    data = clip(folder, "a.mkv")
    at = next(e.body for e in elements_of(data) if data.startswith(SEGMENT, e.start))
    return data[:at] + content + data[at:]


def deep_mkv(folder: Path) -> bytes:
    return inside_segment(folder, (SEEK_HEAD + b"\x01" + b"\xff" * 7) * DEPTH)


def looping_mkv(folder: Path) -> bytes:
    """Point at its own table of contents, thousands of times."""
    content = b"\x4d\xbb\x8b\x53\xab\x84" + SEEK_HEAD + b"\x53\xac\x81\x00"
    content *= 5000
    return inside_segment(folder, SEEK_HEAD + (0x10000000 | len(content)).to_bytes(4) + content)


def deep_riff(folder: Path) -> bytes:
    return b"RIFF\xff\xff\xff\x7fAVI " + b"LIST\xff\xff\xff\x7fhdrl" * DEPTH


def looping_tiff(folder: Path) -> bytes:
    """Let pages follow each other in a circle."""
    data = encoded(Image.new("L", (8, 8)), "TIFF")
    (directory,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, directory)
    return overwritten(data, directory + 2 + 12 * count, struct.pack("<I", directory))


# Disguises


def mp4_of_elsewhere(folder: Path) -> bytes:
    """Say that the pictures are in another file."""
    data = clip(folder, "a.mp4")
    return replaced(data, b"url \x00\x00\x00\x01", b"alis\x00\x00\x00\x00")


def text(content: str, folder: Path) -> bytes:
    """Name a video that is there."""
    clip(folder, "there.mp4")
    return content.format(folder / "there.mp4").encode()


def half(name: str, folder: Path) -> bytes:
    """Return the first half of a video, and noise."""
    data = clip(folder, name)
    return data[: len(data) // 2] + Random(name).randbytes(50_000)


TEXTS = {
    "hls-with-mark.mp4": "\ufeff#EXTM3U\n#EXTINF:1,\n{}\n",
    "hls-after-lines.mp4": "\n\n \n#EXTM3U\n#EXTINF:1,\n{}\n",
    "concat.mkv": "ffconcat version 1.0\nfile '{}'\n",
    "concat-without-version.mp4": "file '{}'\nduration 1\n",
    "session.sdp": "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=video 5004 RTP/AVP 96\r\n",
    "dash.mp4": '<?xml version="1.0"?><MPD><BaseURL>{}</BaseURL></MPD>',
    "smooth.mp4": "<SmoothStreamingMedia><StreamIndex Url='{}'/></SmoothStreamingMedia>",
    "drawing.svg": '<svg xmlns="http://www.w3.org/2000/svg"><image href="{}"/></svg>',
    "entities.svg": '<!DOCTYPE svg [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><svg>&b;</svg>',
    "playlist.asx": '<asx version="3.0"><entry><ref href="{}"/></entry></asx>',
    "playlist.pls": "[playlist]\nFile1={}\nNumberOfEntries=1\n",
    "link.url": "[InternetShortcut]\nURL=file://{}\n",
    "filter.mp4": "movie={}[out0]\n",
    "large.y4m": "YUV4MPEG2 W99999999 H99999999 F25:1\nFRAME\n",
    "large.ppm": "P5 99999999 99999999 255\n",
    "subtitle.ass": "[Script Info]\nScriptType: v4.00+\n",
}

VIDEOS: dict[str, Callable[[Path], bytes]] = {
    "large.mkv": large_mkv,
    "without-end.mkv": mkv_without_end,
    "large.avi": large_avi,
    "endless.avi": endless_avi,
    "large.webp": large_webp,
    "large.png": large_png,
    "endless-apng.png": endless_apng,
    "large.bmp": large_bmp,
    "large.tiff": large_tiff,
    "large.jp2": large_jpeg2000,
    "large.avif": large_avif,
    "large.heic": large_heif,
    "large.jpg": large_jpeg,
    "bomb.gif": partial(animation, "GIF"),
    "bomb.webp": partial(animation, "WEBP"),
    "bomb-apng.png": partial(animation, "PNG"),
    "text-bomb.png": png_texts,
    "deep.mp4": deep_mp4,
    "deep.mkv": deep_mkv,
    "deep.avi": deep_riff,
    "loop.tiff": looping_tiff,
    "loop.mkv": looping_mkv,
    "elsewhere.mp4": mp4_of_elsewhere,
    **{name: partial(text, content) for name, content in TEXTS.items()},
    **{
        f"half.{kind}": partial(half, f"a.{kind}")
        for kind in ("mp4", "mkv", "webm", "avi", "ts", "gif", "webp", "png")
    },
}
"""What makes each file, given a folder to work in."""

SLOW_VIDEOS: dict[str, Callable[[Path], bytes]] = {
    "still.gif": still_gif,
    "many-scans.jpg": many_scans,
}
"""Those that take ten seconds and more to be refused, or to be read."""
