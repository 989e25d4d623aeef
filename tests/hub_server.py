"""A server on this machine that answers as the Hugging Face hub does, with a store beside it."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.local_server import serving

COMMIT = "c0ffee" * 6 + "beef"
"""What the branch `main` is."""
LARGE_BYTES = 1000
"""Files from this size on lie in the store."""


@dataclass
class Hub:
    """What the servers have, do and saw."""

    files: dict[str, bytes]
    url: str = ""
    store_url: str = ""
    commit: str = COMMIT
    token: str = ""
    """What a request must bring; empty for nothing."""
    hidden: set[str] = field(default_factory=set)
    """Headers that are not sent."""
    cut: list[int] = field(default_factory=list)
    """Bytes that are sent in the first answers of the store before the connection is closed."""
    requests: list[str] = field(default_factory=list)
    """Method and path of each request to the hub, and Range and path of each to the store."""
    tokens: set[str | None] = field(default_factory=set)
    """What the store saw as authorization."""

    def headers(self, name: str) -> dict[str, str]:
        """Return what the hub says of a file."""
        content = self.files[name]
        stated = {"X-Repo-Commit": self.commit}
        if len(content) >= LARGE_BYTES:
            digest = hashlib.sha256(content).hexdigest()
            stated |= {"X-Linked-Size": str(len(content)), "X-Linked-Etag": f'"{digest}"'}
        else:
            digest = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            stated |= {"ETag": f'"{digest}"'}
        return {key: value for key, value in stated.items() if key not in self.hidden}


class _Handler(BaseHTTPRequestHandler):
    """The hub: `/OWNER/NAME/resolve/REVISION/FILE`."""

    def __init__(self, hub: Hub, *args: Any) -> None:
        self.hub = hub
        super().__init__(*args)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub, name = self.hub, self.path.rsplit("/", 1)[-1]
        hub.requests.append(f"{self.command} {self.path}")
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            self.answer(401, {})
        elif name not in hub.files or self.path.split("/")[-2] not in {"main", hub.commit, "cache"}:
            self.answer(404, {})
        elif len(hub.files[name]) >= LARGE_BYTES:
            self.answer(302, {**hub.headers(name), "Location": f"{hub.store_url}/{name}"})
        elif "/cache/" not in self.path:
            self.answer(307, {**hub.headers(name), "Location": f"/api/cache/{name}"})
        else:
            self.answer(200, hub.headers(name), hub.files[name])

    def answer(self, status: int, headers: dict[str, str], content: bytes = b"moved") -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Keep the tests' output quiet."""


class _StoreHandler(_Handler):
    """The store: `/FILE`."""

    def do_GET(self) -> None:
        hub, span = self.hub, self.headers.get("Range")
        hub.requests.append(f"{span} {self.path}")
        hub.tokens.add(self.headers.get("Authorization"))
        content = hub.files[self.path[1:]]
        start = int(span.removeprefix("bytes=").removesuffix("-")) if span else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = hub.cut.pop(0) if hub.cut else len(content)
        self.wfile.write(content[start : start + end])


@contextmanager
def running_hub(files: dict[str, bytes]) -> Iterator[Hub]:
    """Run both servers in threads, on ports that are free."""
    hub = Hub(files)
    with serving(partial(_Handler, hub)) as hub.url, serving(partial(_StoreHandler, hub)) as store:
        hub.store_url = store
        yield hub
