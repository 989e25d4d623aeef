"""Functions for a sandbox that hang, crash, fill memory and fail, as decoders of bad files do."""

import ctypes
import logging
import os
import sys
import time
from collections import deque
from collections.abc import Generator
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from sam_video.errors import PromptError, VideoError
from sam_video.workers.watchdog import report_progress

_steps: list[int] = []


def process_id() -> Generator[int, None, None]:
    yield os.getpid()


def echo(*values: Any) -> Generator[Any, None, None]:
    yield from values


def steps(stop: int) -> Generator[int, None, None]:
    """Count, and keep a record of how far that went and of being closed."""
    try:
        for number in range(stop):
            _steps.append(number)
            yield number
    finally:
        _steps.append(-1)


def steps_made() -> Generator[list[int], None, None]:
    yield list(_steps)


def crash() -> Generator[str, None, None]:
    yield "not yet"
    ctypes.string_at(0)


def spin_in_c() -> Generator[str, None, None]:
    """Never return from C, and never let another thread of Python run."""
    yield "not yet"
    deque(repeat(0), maxlen=0)


def spin_in_python() -> Generator[str, None, None]:
    yield "not yet"
    while True:
        pass


def work_for_ever() -> Generator[str, None, None]:
    """Get on, and never get anywhere."""
    yield "not yet"
    while True:
        report_progress()


def pause(seconds: float, num_reports: int = 0) -> Generator[str, None, None]:
    """Take so many seconds, once for every report of progress and once more."""
    for _ in range(num_reports):
        time.sleep(seconds)
        report_progress()
    time.sleep(seconds)
    yield "done"


def allocate() -> Generator[str, None, None]:
    yield "not yet"
    blocks = []
    while True:
        blocks.append(np.ones(2**20))


def die_of_hunger() -> Generator[Any, None, None]:
    """Give back what there is no memory to send."""

    class Bottomless(list[int]):
        def __iter__(self) -> Any:
            raise MemoryError

    yield Bottomless([1])


def fail(kind: str) -> Generator[int, None, None]:
    if kind == "VideoError":
        raise VideoError("'ä.mp4' is damaged")
    if kind == "PromptError":
        raise PromptError("mask_prompts is damaged")
    numbers: dict[str, int] = {}
    yield numbers["nothing"]


def log() -> Generator[str, None, None]:
    print("printed")
    os.write(1, b"written")
    logging.getLogger("sam_video.video.decoder").warning("%r is damaged", "a.mp4")
    logging.getLogger("sam_video.video.decoder").info("for information")
    yield "logged"


def write(path: str) -> Generator[None, None, None]:
    with Path(path).open("wb", buffering=0) as file:
        file.write(b"content")
    yield


def leave() -> Generator[None, None, None]:
    yield
    sys.exit(3)
