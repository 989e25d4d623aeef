"""Run what may crash, hang or eat memory in a process of its own."""

import errno
import fcntl
import logging
import os
import select
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import suppress
from itertools import count
from queue import SimpleQueue
from typing import Any, Self

from sam_video.errors import CheckpointError, PromptError, RequestError, VideoError
from sam_video.limits import MAX_DECODER_BYTES, MAX_STALL_SECONDS, Limit
from sam_video.workers.messages import MessageError, Messages
from sam_video.workers.threads import Worker, wait_for, wait_until_ready

PIPE_BYTES = 2**20
"""How much of a frame is under way at once: as a rule the most that Linux gives."""

EXIT_SECONDS = 1.0
"""How long a process that has closed its pipes may take to end by itself, and so to say why."""

_MAIN = "from sam_video.workers.sandbox_child import main; main()"
_ERRORS = {kind.__name__: kind for kind in (CheckpointError, PromptError, RequestError, VideoError)}
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""For libraries that are loaded there and not used: each thread takes memory."""


class ProcessFailure(Exception):  # noqa: N818 (a part of a sentence, until somebody names a file)
    """What became of the process of a sandbox; the text goes on from the name of what it reads."""


class Sandbox:
    """Runs generators in a process of its own, where a crash does no harm to this one.

    Only data comes back from it, no code. Several generators may be open at once, and belong to
    several threads; their steps are made one after another, and only when they are asked for.

    A context manager: entering starts the process, and returns at once; leaving kills it, whatever
    it is doing. It also ends when this is forgotten, and with the process that has started it.

    Args:
        module: The name of the module that has the functions. Where these take or yield values of
            dataclasses, its `MESSAGE_TYPES` lists them.
        message_types: The same dataclasses.
        max_bytes: Of memory that the process may take.
        max_stall_seconds: How long it may be without progress, as `report_progress` reports it.
        may_write: Whether it may write files.

    Raises:
        RequestError: The variable of a limit has a value that is not accepted.
    """

    def __init__(
        self,
        module: str,
        message_types: tuple[type, ...] = (),
        *,
        max_bytes: Limit | int = MAX_DECODER_BYTES,
        max_stall_seconds: Limit | int = MAX_STALL_SECONDS,
        may_write: bool = False,
    ) -> None:
        self._numbers = count()
        self._server = _Server(module, message_types, max_bytes, max_stall_seconds, may_write)
        self._is_entered = False

    def __enter__(self) -> Self:
        self._is_entered = True
        self._server.worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.ask_to_stop()
        self._server.worker.stop()

    def __del__(self) -> None:
        if hasattr(self, "_server"):
            self._server.ask_to_stop()

    def run(self, function: str, *arguments: Any) -> Generator[Any, None, None]:
        """Yield what a generator yields there; what it logs is logged here.

        Args:
            function: A function of the module that returns a generator.
            arguments: Its arguments, of types that `Messages.pack` knows.

        Raises:
            ProcessFailure: The process crashed, made no progress, or had no memory left.
            SamVideoError: As the generator raises it.
            RuntimeError: The generator raised something else, or the process does not run.
        """
        assert self._is_entered, "nothing runs before the context is entered"
        number = next(self._numbers)
        message = ["start", number, function, arguments]
        try:
            while True:
                kind, content = self._server.ask(message)
                if kind == "end":
                    return
                if kind == "error":
                    raise self._server.error(*content)
                yield content
                del content  # or it would be held until the next one is there
                message = ["next", number]
        finally:
            self._server.tell(["close", number])


class _Stopping(Exception):  # noqa: N818
    """Nobody waits for the process any more."""


class _Server:
    """Serves all threads that use a process: the one thread that talks to it, start to end.

    That thread is never interrupted, as it waits for short times only. So nothing that comes from
    elsewhere, such as a cancellation, can leave a message half read, or a process behind.
    """

    def __init__(
        self,
        module: str,
        message_types: tuple[type, ...],
        max_bytes: Limit | int,
        max_stall_seconds: Limit | int,
        may_write: bool,
    ) -> None:
        self.worker = Worker(self._serve, self._clean_up, is_interruptible=False)
        self._max_bytes, self._max_stall_seconds = max_bytes, max_stall_seconds
        numbers = int(max_bytes), int(max_stall_seconds), int(may_write)
        self._arguments = [module, *map(str, numbers)]
        self._messages = Messages(message_types, max_array_bytes=int(max_bytes))
        self._questions: SimpleQueue[tuple[list[Any], SimpleQueue[list[Any]] | None] | None] = (
            SimpleQueue()
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._failure: Exception | None = None

    def ask(self, message: list[Any]) -> tuple[str, Any]:
        """Send a message and return the kind and the content of the reply, when it comes."""
        replies: SimpleQueue[list[Any]] = SimpleQueue()
        self._questions.put((message, replies))
        reply = wait_for(replies, lambda: self._failure is not None)
        if reply is None:
            assert self._failure is not None
            raise self._failure
        kind, content, records = reply
        for name, level, text in records:
            logging.getLogger(name).log(level, "%s", text)
        return kind, content

    def tell(self, message: list[Any]) -> None:
        """Send a message that has no reply, sooner or later."""
        self._questions.put((message, None))

    def ask_to_stop(self) -> None:
        """Have the process killed soon; this does not wait for it."""
        self.worker.is_stopping = True
        self._questions.put(None)  # wakes the thread

    def _serve(self) -> None:
        self._start()
        with suppress(OSError, EOFError, _Stopping):
            while (item := wait_for(self._questions, lambda: self.worker.is_stopping)) is not None:
                message, replies = item
                for part in self._messages.pack(message):
                    self._write(part)
                if replies is not None:
                    replies.put(_checked(self._messages.unpack(self._read_into)))

    def _start(self) -> None:
        path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)  # noqa: PTH109
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _MAIN, *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, **_ONE_THREAD, "PYTHONPATH": path},
            process_group=0,  # Ctrl-C is for this process, which then ends that one
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        with suppress(OSError, AttributeError):  # where the system has so much for us
            fcntl.fcntl(self._process.stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def _write(self, data: memoryview) -> None:
        assert self._process is not None and self._process.stdin is not None
        while data:
            self._wait(self._process.stdin.fileno(), select.POLLOUT)
            data = data[os.write(self._process.stdin.fileno(), data) :]

    def _read_into(self, buffer: memoryview) -> None:
        assert self._process is not None and self._process.stdout is not None
        while buffer:
            self._wait(self._process.stdout.fileno(), select.POLLIN)
            num_bytes = os.readv(self._process.stdout.fileno(), [buffer])
            if num_bytes == 0:
                raise EOFError
            buffer = buffer[num_bytes:]

    def _wait(self, descriptor: int, event: int) -> None:
        if not wait_until_ready(descriptor, event, lambda: self.worker.is_stopping):
            raise _Stopping

    def _clean_up(self, error: BaseException | None) -> None:
        try:
            if self._process is not None:
                if not self.worker.is_stopping:
                    with suppress(subprocess.TimeoutExpired):
                        self._process.wait(EXIT_SECONDS)
                self._process.kill()
                self._process.wait()
                for pipe in (self._process.stdin, self._process.stdout):
                    assert pipe is not None
                    pipe.close()
        finally:
            self._failure = self._reason(error)

    def _reason(self, error: BaseException | None) -> Exception:
        """Return what there is to say to those who still ask."""
        if isinstance(error, MessageError):
            return ProcessFailure(f"confuses what reads it ({error}); expected an undamaged file")
        if self._process is None or error is not None:
            return RuntimeError(f"the process that reads files does not run: {error}")
        if self.worker.is_stopping:
            return RuntimeError("the process that reads files is closed")
        return self._end_reason(self._process.returncode)

    def _end_reason(self, status: int) -> Exception:
        """Return what the exit status of the process means."""
        if status == errno.ENOMEM:
            return self._out_of_memory()
        if status >= 0:
            return RuntimeError(f"the process that reads files ended with status {status}")
        if -status == signal.SIGALRM:
            return ProcessFailure(
                "gets no further while it is read;"
                f" expected progress within {self._max_stall_seconds} seconds"
            )
        name = next((known.name for known in signal.Signals if known == -status), str(-status))
        return ProcessFailure(f"crashes what reads it ({name}); expected an undamaged file")

    def error(self, name: str, text: str, traceback: str) -> Exception:
        """Return an error of the other process as one of this."""
        if name == "MemoryError":
            return self._out_of_memory()
        if name in _ERRORS:
            return _ERRORS[name](text)
        error = RuntimeError(f"{name}: {text}")
        error.add_note(f"In the process that reads files:\n{traceback}")
        return error

    def _out_of_memory(self) -> ProcessFailure:
        return ProcessFailure(
            f"takes too much memory to be read; expected at most {self._max_bytes} bytes"
        )


def _checked(reply: Any) -> list[Any]:
    """Return a reply if it has the form that `sandbox_child` gives to all."""
    match reply:
        case ["item" | "end", _, [*records]]:
            pass
        case ["error", [str(), str(), str()], [*records]]:
            pass
        case _:
            raise MessageError("a reply of no known form")
    for record in records:
        match record:
            case [str(), int(), str()]:
                continue
        raise MessageError("a record of no known form")
    assert isinstance(reply, list)
    return reply
