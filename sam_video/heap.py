"""Memory that the C library keeps after it has been freed."""

import ctypes


def release_heap() -> None:
    """Give what is free of the heap back to the system; glibc alone knows how to, and needs to.

    It keeps a heap for each of several threads, and free pages below a heap's end. A prediction
    takes large blocks in short-lived threads, so that without this the process would grow, heap
    after heap, to some 120 % of what its largest prediction has needed.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
