"""A lack of memory is told from damage, where libraries do not."""

import mmap

BYTES_PER_PIXEL = 16
"""For two pictures more, of four channels of 16 bits."""

SPARE_BYTES = 64 * 2**20
"""For what a decoder takes besides pictures."""


def check_headroom(error: Exception | None, num_pixels: int = 0) -> None:
    """Raise MemoryError where what looks like damage may be a lack of memory.

    Decoders of FFmpeg and Pillow often report the one as the other. So a lack is what it is taken
    for where two more pictures would not fit; the room for them is asked for, and never touched.

    Args:
        error: What does not decode, as the library tells it, if it does.
        num_pixels: Of a picture, as far as that is known.
    """
    if isinstance(error, MemoryError):
        raise error
    num_bytes = SPARE_BYTES + BYTES_PER_PIXEL * num_pixels
    try:
        mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except OSError:
        raise MemoryError(f"{num_bytes} bytes are not to be had") from None
