"""Starts Cog's real HTTP server on a copy of the project, without Docker."""

import base64
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from tests.openapi import write_schema

ROOT = Path(__file__).parents[1]
_numbers = count()
_MEMORY_OPTIONS = dict(re.findall(r"- (MALLOC_\w+)=(\w+)", (ROOT / "cog.yaml").read_text()))
PATIENCE_SECONDS = 120.0
"""To load a model on a busy machine."""


@dataclass(frozen=True, slots=True)
class CogServer:
    """A running server."""

    port: int
    process: "subprocess.Popen[bytes]"
    temporary: Path
    """Where the server's processes put temporary files."""

    def call(self, method: str, path: str, body: Any = None, prefer: str = "") -> tuple[int, Any]:
        """Send a request and return the status and the decoded JSON of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        try:
            data = None if body is None else json.dumps(body)
            headers = {"Content-Type": "application/json", "Prefer": prefer}
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def predict(self, **inputs: Any) -> tuple[int, Any]:
        """Run a prediction with the pocket checkpoint and wait for its end.

        The server answers a little before it is free for the next one, which it would refuse.
        """
        wait_for(lambda: self.health()["status"] == "READY", "the end of the last prediction")
        return self.call("POST", "/predictions", {"input": {"model": "pocket"} | inputs})

    @contextmanager
    def running(self, **inputs: Any) -> "Iterator[RunningPrediction]":
        """Start a prediction with the pocket checkpoint; cancel it on leaving, if it still runs.

        It has started when the files of the last one are gone. Before that, Cog fetches its inputs,
        and what is cancelled then leaves Cog's own copy of an input behind.
        """
        wait_for(lambda: self.health()["status"] == "READY", "the end of the last prediction")
        earlier = self.written_files()
        name = f"running-{next(_numbers)}"
        body = {"id": name, "input": {"model": "pocket"} | inputs}
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(self.call, "PUT", f"/predictions/{name}", body)
            prediction = RunningPrediction(self, name, answer)
            try:
                wait_for(lambda: answer.done() or self.health()["status"] == "BUSY", "its start")
                wait_for(lambda: answer.done() or not earlier & self.written_files(), "its inputs")
                yield prediction
            finally:
                prediction.cancel()

    def health(self) -> dict[str, Any]:
        """Return what the server says of itself; its `status` is READY between predictions."""
        return dict(self.call("GET", "/health-check")[1])

    def children(self, name: str) -> list[int]:
        """Return the server's processes, at any depth, with this in the name of their program."""
        return [pid for pid, program in _session_processes(self.process.pid) if name in program]

    @property
    def worker(self) -> int:
        """The process that runs predict.py."""
        found = [pid for pid, _ in _session_processes(self.process.pid) if _is_worker(pid)]
        return found[0]

    @property
    def processes(self) -> set[int]:
        """The server's processes, at any depth."""
        return set(self.children(""))

    def num_threads(self) -> int:
        """Return how many threads the worker has, without those of Cog's own runtime."""
        comms = [path.read_text() for path in Path(f"/proc/{self.worker}/task").glob("*/comm")]
        return sum(not comm.startswith("tokio") for comm in comms)

    def num_open_files(self) -> int:
        """Return how many file descriptors the worker has."""
        return len(list(Path(f"/proc/{self.worker}/fd").iterdir()))

    def written_files(self) -> set[Path]:
        """Return what the last prediction has written, finished or not."""
        found = self.temporary.glob("sam_video_*/**/*")
        return {path for path in found if path.is_file()}


@dataclass(frozen=True, slots=True)
class RunningPrediction:
    """A prediction whose answer has not come yet."""

    server: CogServer
    name: str
    answer: "Future[tuple[int, Any]]"

    def cancel(self) -> float:
        """Cancel it, wait for its answer, and return how many seconds that took."""
        start = time.monotonic()
        self.server.call("POST", f"/predictions/{self.name}/cancel")
        self.answer.result(PATIENCE_SECONDS)
        return time.monotonic() - start


@contextmanager
def running_server(folder: Path, *options: str, **environment: str) -> Iterator[CogServer]:
    """Start the server with a temporary folder of its own; stop it on leaving.

    Args:
        folder: An empty folder, for a copy of the project and for temporary files.
        options: More of the server's, such as `--upload-url`.
        environment: Variables of the server, beside those of cog.yaml.
    """
    with _started(folder, options, environment) as server:
        health = _settled_health(server, folder / "server.log")
        assert health["status"] == "READY", health
        yield server


def setup_failure(folder: Path, **environment: str) -> str:
    """Start a server whose setup fails, and return what it says of that.

    Args:
        folder, environment: As of `running_server`.
    """
    with _started(folder, (), environment) as server:
        health = _settled_health(server, folder / "server.log")
        assert health["status"] == "SETUP_FAILED", health
        return str(health["setup"]["logs"])


@contextmanager
def _started(
    folder: Path, options: Sequence[str], environment: dict[str, str]
) -> Iterator[CogServer]:
    project, temporary = folder / "project", folder / "tmp"
    for new in (project, temporary):
        new.mkdir()
    for name in ("predict.py", "sam_video", "weights"):
        (project / name).symlink_to(ROOT / name)
    write_schema(project)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cog.server.http", "--host", "127.0.0.1", *options],
            cwd=project,
            env=_environment(port, temporary) | environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield CogServer(port, process, temporary)
    finally:
        _stop(process)


def data_uri(content: bytes, media_type: str) -> str:
    """Write a file as clients send small ones."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def wait_for(condition: Callable[[], Any], what: str) -> None:
    """Return as soon as a condition holds; fail if it never does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def _environment(port: int, temporary: Path) -> dict[str, str]:
    return os.environ | {
        # Cog starts its worker as plain `python`.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PORT": str(port),
        "TMPDIR": str(temporary),
        "COG_PREDICT_TYPE_STUB": "predict.py:Predictor",
        "SAM_VIDEO_MODEL": "pocket",
        "LOG_FORMAT": "console",
        **_MEMORY_OPTIONS,
    }


def _settled_health(server: CogServer, log: Path) -> dict[str, Any]:
    """Return what the server says of itself once its setup is over."""
    healths: list[dict[str, Any]] = []

    def is_settled() -> bool:
        assert server.process.poll() is None, log.read_text()
        with suppress(OSError):
            healths.append(server.health())
        return bool(healths) and healths[-1]["status"] != "STARTING"

    wait_for(is_settled, "the server")
    return healths[-1]


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        pass
    finally:
        for pid, _ in _session_processes(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait()


def _session_processes(session: int) -> Iterator[tuple[int, str]]:
    """Yield the processes of a session with the names of their programs."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            before, _, after = stat.read_text().rpartition(")")
        except OSError:  # it has ended meanwhile
            continue
        if int(after.split()[3]) == session and after.split()[0] != "Z":
            yield int(stat.parent.name), before.partition("(")[2]


def _is_worker(pid: int) -> bool:
    """Say whether a process was started by the server's own command, and not by the model's."""
    return b"coglet.server._run_worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
