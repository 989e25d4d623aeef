"""Takes the files that Cog's server uploads, as Replicate's storage does."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote

from tests.local_server import serving

PATIENCE_SECONDS = 20.0
"""For another upload to arrive."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that has arrived whole."""

    prediction_id: str
    name: str
    media_type: str
    content: bytes


@dataclass
class UploadServer:
    """Where files are uploaded to, and those that have been."""

    url: str = ""
    uploads: list[Upload] = field(default_factory=list)
    """In the order of their arrival."""
    held: str = ""
    """The name of a file whose upload ends after that of another one."""
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def add(self, upload: Upload) -> None:
        """Take a file; return when its upload may end."""
        with self.arrived:
            count = len(self.uploads)
            if upload.name == self.held:
                self.arrived.wait_for(lambda: len(self.uploads) > count, PATIENCE_SECONDS)
            self.uploads.append(upload)
            self.arrived.notify_all()

    def of(self, prediction_id: str) -> list[Upload]:
        """Return the files of a prediction."""
        return [upload for upload in self.uploads if upload.prediction_id == prediction_id]


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, storage: UploadServer, *args: Any) -> None:
        self.storage = storage
        super().__init__(*args)

    def do_PUT(self) -> None:
        length = int(self.headers["Content-Length"])
        content = self.rfile.read(length)
        if len(content) == length:
            name = unquote(self.path.removeprefix("/files/"))
            upload = Upload(
                self.headers["X-Prediction-Id"], name, self.headers["Content-Type"], content
            )
            self.storage.add(upload)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@contextmanager
def upload_server() -> Iterator[UploadServer]:
    """Serve on a port of its own; stop on leaving."""
    storage = UploadServer()
    with serving(partial(_Handler, storage)) as url:
        storage.url = f"{url}/files/"
        yield storage
