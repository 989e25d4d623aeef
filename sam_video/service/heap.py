"""Memory that the C library keeps after it has been freed."""

import ctypes


def release_heap() -> None:
    """Give what is free of the heap back to the system; glibc alone knows how to, and needs to.

    It keeps pages that were freed below others in use. With several heaps, one for each of a few
    threads, most stays nevertheless: `MALLOC_ARENA_MAX` of the environment says how many there are.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
