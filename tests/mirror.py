"""A file server on this machine that can be told to misbehave."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler
from random import Random
from typing import Any

from tests.local_server import serving

CONTENT = Random(7).randbytes(300_000)
"""What the fixture `mirror` serves."""
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Mirror:
    """What the server has, does and saw."""

    content: bytes
    """Served under every path."""
    url: str = ""
    has_ranges: bool = True
    statuses: list[int] = field(default_factory=list)
    """Answered to the first requests."""
    lengths: list[int] = field(default_factory=list)
    """Bytes that are sent in the first answers before the connection is closed."""
    stated_range: str | None = None
    """Sent as `Content-Range`, whatever is sent."""
    may_finish: threading.Event = field(default_factory=threading.Event)
    """The second half of each answer waits for it."""
    may_start: threading.Event = field(default_factory=threading.Event)
    """Each answer waits for it."""
    is_asked: threading.Event = field(default_factory=threading.Event)
    """Set by the first request."""
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and `Range` of each request."""

    @property
    def ranges(self) -> list[str | None]:
        """The `Range` of each request."""
        return [span for _, span in self.requests]


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, mirror: Mirror, *args: Any) -> None:
        self.mirror = mirror
        super().__init__(*args)

    def do_GET(self) -> None:
        mirror, span = self.mirror, self.headers.get("Range")
        mirror.requests.append((self.path, span))
        mirror.is_asked.set()
        mirror.may_start.wait()
        if mirror.statuses:
            self.send_error(mirror.statuses.pop(0))
            return
        start = int(span.removeprefix("bytes=").removesuffix("-")) if span else 0
        body = self.send_head(start if mirror.has_ranges else 0)
        with suppress(ConnectionError):
            self.send_body(body[: mirror.lengths.pop(0)] if mirror.lengths else body)

    def send_head(self, start: int) -> bytes:
        """Send status and headers; return the body that they announce."""
        content = self.mirror.content
        self.send_response(206 if start else 200)
        if start:
            stated = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.send_header("Content-Range", self.mirror.stated_range or stated)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        return content[start:]

    def send_body(self, body: bytes) -> None:
        middle = len(body) // 2
        self.wfile.write(body[:middle])
        self.mirror.may_finish.wait()
        self.wfile.write(body[middle:])

    def log_message(self, *_: Any) -> None:
        """Keep the tests' output quiet."""


@contextmanager
def running_mirror(content: bytes) -> Iterator[Mirror]:
    """Run a server in a thread, on a port that is free."""
    mirror = Mirror(content)
    mirror.may_start.set()
    mirror.may_finish.set()
    with serving(partial(_Handler, mirror)) as mirror.url:
        try:
            yield mirror
        finally:
            mirror.may_start.set()
            mirror.may_finish.set()
