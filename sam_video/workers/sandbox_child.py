"""The inside of a sandbox: it runs what the other side asks for, within its limits.

It ends when the pipe to it is closed, and so with the process that has started it.
"""

import errno
import logging
import os
import resource
import signal
import sys
import traceback
from collections.abc import Generator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from sam_video.workers.messages import Messages
from sam_video.workers.watchdog import watchdog


def main() -> None:
    """Run generators of a module, one step per request; see `sandbox.Sandbox`.

    The command line has the module's name, how many bytes of memory may be taken beyond those of
    its libraries, how many seconds a step may last without progress, and whether files may be
    written.
    """
    name, *numbers = sys.argv[1:]
    max_bytes, max_stall_seconds, may_write = map(int, numbers)
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    _detach()
    module = import_module(name)
    steps = _Steps(module, max_stall_seconds)
    messages = Messages(getattr(module, "MESSAGE_TYPES", ()), max_array_bytes=max_bytes)
    _limit_resources(max_bytes, may_write=bool(may_write))

    def read_into(buffer: memoryview) -> None:
        if requests.readinto(buffer) < len(buffer):
            sys.exit()  # nobody asks any more

    try:
        while True:
            reply = steps.answer(*messages.unpack(read_into))
            if reply is not None:
                for part in messages.pack(reply):
                    replies.write(part)
                replies.flush()
    except MemoryError:  # not even for an answer
        os._exit(errno.ENOMEM)


def _detach() -> None:
    """Keep libraries off the pipes, and let SIGALRM end the process, whatever is inherited."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})


def _limit_resources(max_bytes: int, *, may_write: bool) -> None:
    _limit(resource.RLIMIT_CORE, 0)
    if not may_write:
        _limit(resource.RLIMIT_FSIZE, 0)
    # Not RLIMIT_AS, which would count all that libraries map and never touch.
    _limit(resource.RLIMIT_DATA, _data_bytes() + max_bytes)


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _data_bytes() -> int:
    """Return how much counts as data of this process, or 0 where the system does not say."""
    with suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[5])  # see proc(5)
        return pages * resource.getpagesize()
    return 0


class _Steps:
    """The generators that have been asked for and are not closed."""

    def __init__(self, functions: ModuleType, max_stall_seconds: int) -> None:
        self._functions = functions
        self._max_stall_seconds = max_stall_seconds
        self._open: dict[int, Generator[Any, None, None]] = {}
        self._records = _Records()

    def answer(self, verb: str, number: int, *call: Any) -> list[Any] | None:
        """Do what is asked for: `start`, `next` or `close`, of which the last has no answer.

        Returns:
            What came of it, as `item`, `end` or `error`; its content; and what has been logged.
        """
        watchdog.start(self._max_stall_seconds)
        try:
            if verb == "start":
                function, arguments = call
                self._open[number] = getattr(self._functions, function)(*arguments)
            if verb != "close":
                return ["item", next(self._open[number]), self._records.taken()]
            if number in self._open:
                self._open.pop(number).close()
        except StopIteration:
            return ["end", None, self._records.taken()]
        except Exception as error:  # whatever it is, the other side raises it
            return ["error", _described(error), self._records.taken()]
        finally:
            watchdog.stop()
        return None


def _described(error: Exception) -> list[str]:
    """Return an error's type, its text and its traceback."""
    kind = MemoryError if isinstance(error, MemoryError) else type(error)
    return [kind.__name__, str(error), "".join(traceback.format_exception(error))]


class _Records(logging.Handler):
    """Collects what is logged anywhere in this process."""

    def __init__(self) -> None:
        super().__init__()
        self._records: list[tuple[str, int, str]] = []
        logging.basicConfig(level=logging.INFO, handlers=[self])

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record until it is taken."""
        self._records.append((record.name, record.levelno, record.getMessage()))

    def taken(self) -> list[tuple[str, int, str]]:
        """Return name, level and text of what has been logged since the last time."""
        records, self._records = self._records, []
        return records
