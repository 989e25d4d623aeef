"""Run a download in a process of its own, as a thread that waits for a server cannot be ended.

The process is `python -m sam_video.checkpoints.fetch_process OPTIONS`, with those of `fetch` as
JSON. What it writes to standard error is passed on; on standard output it says why it failed.
"""

import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
from codecs import getincrementaldecoder
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from sam_video.checkpoints.fetch import PAUSES_SECONDS, fetch
from sam_video.errors import CheckpointError
from sam_video.workers.threads import POLL_SECONDS


def fetch_in_process(
    url: str,
    path: Path,
    *,
    num_bytes: int,
    sha256: str,
    show_progress: bool = True,
    pauses_seconds: Sequence[float] = PAUSES_SECONDS,
) -> None:
    """Do as `fetch`, and end at once when an exception comes from another thread or a signal.

    Raises:
        CheckpointError: As `fetch`.
    """
    options = {
        "url": url,
        "path": str(path),
        "num_bytes": num_bytes,
        "sha256": sha256,
        "show_progress": show_progress,
        "pauses_seconds": list(pauses_seconds),
    }
    with _start(options) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            _pass_on(process.stderr)
            fault = process.stdout.read().decode()
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        status = f"{url} cannot be downloaded: its process ended with status {process.returncode}"
        raise CheckpointError(fault or status)


def _start(options: dict[str, object]) -> "subprocess.Popen[bytes]":
    package = str(Path(__file__).resolve().parents[2])
    search = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-m", "sam_video.checkpoints.fetch_process", json.dumps(options)],
        env=os.environ | {"PYTHONPATH": search},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _pass_on(errors: IO[bytes]) -> None:
    """Write what comes to standard error until the other end is closed."""
    pipe = select.poll()
    pipe.register(errors, select.POLLIN)
    decoder = getincrementaldecoder("utf-8")(errors="replace")
    while True:
        if pipe.poll(1000 * POLL_SECONDS):
            text = os.read(errors.fileno(), 1 << 16)
            if not text:
                return
            sys.stderr.write(decoder.decode(text))
            sys.stderr.flush()


def _main() -> int:
    """Download in this process; end when the one that has started it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends that one, and it this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    options = json.loads(sys.argv[1])
    try:
        fetch(options.pop("url"), Path(options.pop("path")), **options)
    except CheckpointError as error:
        print(error, end="")
        return 1
    return 0


def _end_with_parent() -> None:
    os.read(0, 1)  # nothing is ever sent; the other end is closed when that process ends
    os._exit(1)


if __name__ == "__main__":
    sys.exit(_main())
