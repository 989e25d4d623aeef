"""A stand-in for Replicate's HTTP API on this machine, with Cog's real server behind it.

It has what Replicate's own clients call to run a model, so that they can be tested: files,
predictions with and without waiting, and the version that says what a model gives. What it knows of
a running prediction comes from Cog's webhooks.
"""

import json
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.cog_server import PATIENCE_SECONDS, CogServer, wait_for
from tests.local_server import serving

WAIT_SECONDS = 50.0
"""At most, for `Prefer: wait`; the clients give up after 60."""
ENDED = frozenset({"succeeded", "failed", "canceled"})


class ReplicateAPI:
    """What the stand-in has stored, and what it does."""

    def __init__(self, cog: CogServer) -> None:
        self.cog = cog
        self.url = ""
        self.predictions: dict[str, dict[str, Any]] = {}
        """By id, in the order of their creation; as clients get them."""
        self.files: dict[str, tuple[str, bytes]] = {}
        """Media type and content by id."""
        self._deadlines: dict[str, float] = {}
        self._changed = threading.Condition()

    def create_file(self, media_type: str, content: bytes) -> dict[str, Any]:
        """Keep a file and say where it is."""
        name = uuid.uuid4().hex
        self.files[name] = (media_type, content)
        return {
            "id": name,
            "name": "content",
            "content_type": media_type,
            "size": len(content),
            "etag": name,
            "checksums": {},
            "metadata": {},
            "created_at": _now(),
            "expires_at": None,
            "urls": {"get": f"{self.url}/v1/files/{name}"},
        }

    def create_prediction(
        self, request: dict[str, Any], prefer: str | None
    ) -> tuple[int, dict[str, Any]]:
        """Start a prediction as soon as Cog is free, and wait for its end if that is preferred.

        The model is the pocket checkpoint, unless another is asked for.
        """
        deadline = time.monotonic() + _seconds_to_wait(prefer)
        prediction = self._register(request)
        name = prediction["id"]
        status, answer = self._start(name, request["input"])
        if status != 202:
            del self.predictions[name]
            return status, _problem(status, answer)
        with self._changed:
            self._changed.wait_for(
                lambda: prediction["status"] in ENDED, max(0.0, deadline - time.monotonic())
            )
            # Clients take any other status for an end, even when the time to wait is over.
            is_over = prediction["status"] in ENDED
            return 201, prediction if is_over else prediction | {"status": "starting"}

    def _register(self, request: dict[str, Any]) -> dict[str, Any]:
        name = uuid.uuid4().hex
        url = f"{self.url}/v1/predictions/{name}"
        self._deadlines[name] = time.monotonic() + PATIENCE_SECONDS
        self.predictions[name] = {
            "id": name,
            "model": "sam/video",
            "version": request.get("version", "newest"),
            "input": request["input"],
            "status": "starting",
            "output": None,
            "logs": "",
            "error": None,
            "metrics": {},
            "created_at": _now(),
            "urls": {"get": url, "cancel": f"{url}/cancel"},
        }
        return self.predictions[name]

    def _start(self, name: str, inputs: dict[str, Any]) -> tuple[int, Any]:
        body = {
            "id": name,
            "input": {"model": "pocket"} | inputs,
            "webhook": f"{self.url}/webhooks/{name}",
        }
        answers: list[tuple[int, Any]] = []

        def is_taken() -> bool:
            answers.append(
                self.cog.call("PUT", f"/predictions/{name}", body, prefer="respond-async")
            )
            return answers[-1][0] != 409  # the last one still runs

        wait_for(is_taken, "Cog to be free")
        return answers[-1]

    def receive(self, name: str, event: dict[str, Any]) -> None:
        """Take note of a webhook's event; they overtake one another."""
        with self._changed:
            prediction = self.predictions[name]
            if prediction["status"] in ENDED:
                return
            prediction["status"] = event["status"]
            for key in ("logs", "output"):  # which only grow
                value = event.get(key) or prediction[key]
                if len(value or ()) >= len(prediction[key] or ()):
                    prediction[key] = value
            prediction |= {key: event[key] for key in ("error", "metrics") if key in event}
            self._changed.notify_all()

    def prediction(self, name: str) -> dict[str, Any]:
        """Return a prediction as it is now; clients ask until it has ended, so it must end."""
        if time.monotonic() > self._deadlines[name]:
            self.receive(name, {"status": "failed", "error": "waited in vain for its end"})
        with self._changed:
            return dict(self.predictions[name])

    def cancel(self, name: str) -> dict[str, Any]:
        """Ask Cog to stop a prediction, which it does soon."""
        self.cog.call("POST", f"/predictions/{name}/cancel")
        return self.prediction(name)

    def wait_for_end(self, name: str) -> dict[str, Any]:
        """Wait until a prediction has ended, and return it."""
        wait_for(lambda: self.prediction(name)["status"] in ENDED, "the end of the prediction")
        return self.prediction(name)

    def version(self, name: str) -> dict[str, Any]:
        """Describe the model; clients look for the type of its output."""
        schema = self.cog.call("GET", "/openapi.json")[1]
        return {
            "id": name,
            "created_at": _now(),
            "cog_version": "0.23.1",
            "openapi_schema": schema,
        }


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _seconds_to_wait(prefer: str | None) -> float:
    if prefer is None:
        return 0.0
    asked = re.fullmatch(r"wait(?:=(\d+))?", prefer)
    assert asked, prefer
    return min(WAIT_SECONDS, float(asked[1] or WAIT_SECONDS))


def _problem(status: int, answer: Any) -> dict[str, Any]:
    """Say what is wrong with a request as Replicate does."""
    faults = [f"- {'.'.join(fault['loc'][1:])}: {fault['msg']}" for fault in answer["detail"]]
    return {"title": "Input validation failed", "detail": "\n".join(faults), "status": status}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, api: ReplicateAPI, *args: Any) -> None:
        self.api = api
        super().__init__(*args)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if found := re.fullmatch(r"/v1/files/(\w+)", path):
            self._answer(200, *self.api.files[found[1]])
        elif found := re.fullmatch(r"/v1/predictions/(\w+)", path):
            self._answer_json(200, self.api.prediction(found[1]))
        elif found := re.fullmatch(r"/v1/models/[^/]+/[^/]+/versions/(\w+)", path):
            self._answer_json(200, self.api.version(found[1]))
        else:
            self._answer_json(404, {"title": "Not found", "detail": path, "status": 404})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/v1/files":
            file = self.api.create_file(*_file_of_form(self.headers["Content-Type"], body))
            self._answer_json(201, file)
        elif found := re.fullmatch(r"/v1/predictions/(\w+)/cancel", self.path):
            self._answer_json(200, self.api.cancel(found[1]))
        elif found := re.fullmatch(r"/webhooks/(\w+)", self.path):
            self.api.receive(found[1], json.loads(body))
            self._answer_json(200, {})
        elif re.fullmatch(r"/v1/(models/[^/]+/[^/]+/)?predictions", self.path):
            prefer = self.headers["Prefer"]
            self._answer_json(*self.api.create_prediction(json.loads(body), prefer))
        else:
            self._answer_json(404, {"title": "Not found", "detail": self.path, "status": 404})

    def _answer_json(self, status: int, value: Any) -> None:
        self._answer(status, "application/json", json.dumps(value).encode())

    def _answer(self, status: int, media_type: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


def _file_of_form(form_type: str, body: bytes) -> tuple[str, bytes]:
    """Return the media type and the bytes of the field `content` of a form."""
    boundary = form_type.partition("boundary=")[2].strip('"').encode()
    for part in body.split(b"--" + boundary):
        head, _, content = part.partition(b"\r\n\r\n")
        if b'name="content"' in head:
            media_type = re.search(rb"(?i)content-type: *(\S+)", head)
            assert media_type
            return media_type[1].decode(), content.removesuffix(b"\r\n")
    raise AssertionError("the form has no field named content")


@contextmanager
def replicate_api(cog: CogServer) -> Iterator[ReplicateAPI]:
    """Serve the stand-in on a port of its own; stop on leaving."""
    api = ReplicateAPI(cog)
    with serving(partial(_Handler, api)) as api.url:
        yield api
