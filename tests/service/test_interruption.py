"""A prediction that is cancelled at any line of the package leaves nothing behind.

What Cog raises comes between any two steps of the interpreter. Here it comes at a chosen line, in
the thread that runs the prediction.
"""

import gc
import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch

import sam_video
from sam_video.checkpoints.catalogue import CHECKPOINTS
from sam_video.model.load import build_network
from sam_video.request import Request
from sam_video.service.session import Session
from tests.clips import draw_clip
from tests.processes import children, open_files
from tests.worker_threads import Cancelled, cancelled_when, wait_until, worker_threads

PACKAGE = str(Path(sam_video.__file__).parent)


@dataclass(slots=True)
class Tracer:
    """Counts the lines of the package that this thread runs, and cancels it at one of them."""

    last: int = 0
    """The line to cancel at, counted from 1; 0 for none."""
    num_lines: int = 0
    place: str = ""
    """Where it was cancelled."""

    def __enter__(self) -> "Tracer":
        sys.settrace(self.enter_function)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def enter_function(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        is_ours = frame.f_code.co_filename.startswith(PACKAGE)
        return self.pass_line if is_ours and not is_in_finalizer(frame) else None

    def pass_line(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any]:
        self.num_lines += event == "line"
        if self.num_lines == self.last and event == "line":
            sys.settrace(None)
            self.place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
            raise Cancelled
        return self.pass_line


def is_in_finalizer(frame: FrameType | None) -> bool:
    """Whether this runs in a `__del__`, where Python drops every exception.

    The package's are called when the prediction is over, and nothing is left to cancel.
    """
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


@pytest.mark.parametrize(
    "num_points", [pytest.param(400, marks=pytest.mark.soak, id="many"), pytest.param(6, id="few")]
)
def test_a_prediction_cancelled_at_any_line_leaves_nothing(tmp_path: Path, num_points: int) -> None:
    draw_clip(tmp_path / "clip.mp4", num_frames=3)
    folder = tmp_path / "out"
    session = Session("pocket")
    request = Request(
        input_video=tmp_path / "clip.mp4",
        click_coordinates="[11,19]",
        click_frames="1",
        model="pocket",
        output_video=True,
        output_masks=True,
        output_rle=True,
        output_overlay=True,
    )

    def run(tracer: Tracer) -> list[bytes]:
        with tracer:
            return [path.read_bytes() for path in list(session.predict(request, folder))]

    expected = run(Tracer())
    whole = Tracer()
    assert run(whole) == expected
    idle = held_things()
    for path in folder.iterdir():
        path.unlink()
    for point in range(num_points):
        tracer = Tracer(last=1 + point * whole.num_lines // num_points)
        with pytest.raises(Cancelled):
            run(tracer)
        wait_until(lambda: held_things() == idle, f"{tracer.place}: {held_things()}, not {idle}")
        assert list(folder.iterdir()) == [], tracer.place
    assert run(Tracer()) == expected


def test_a_session_goes_on_after_it_was_cancelled_while_it_loaded_another_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tiny.pt"
    torch.save({"model": build_network("tiny").state_dict()}, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(
        CHECKPOINTS,
        "tiny",
        replace(CHECKPOINTS["tiny"], file_name=path.name, sha256=sha256, num_bytes=None),
    )
    monkeypatch.setenv("SAM_VIDEO_WEIGHTS", str(tmp_path))
    draw_clip(tmp_path / "clip.mp4", num_frames=1)
    session = Session("pocket")

    def run(model: str) -> int:
        request = Request(
            input_video=tmp_path / "clip.mp4", click_coordinates="[11,19]", model=model
        )
        return len(list(session.predict(request, tmp_path / "out")))

    with pytest.raises(Cancelled), cancelled_when(lambda: session._model is None):
        run("tiny")
    assert held_things()[:2] == (0, 0)
    assert list((tmp_path / "out").glob("*")) == []
    assert run("pocket") == 1


def held_things() -> tuple[int, int, int]:
    """Return how many threads, child processes and open files there are."""
    gc.collect()
    return len(worker_threads()), len(children()), len(open_files())
