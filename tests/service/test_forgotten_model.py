"""A model that a session forgets frees its memory at once, not when garbage is collected."""

import gc
import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from sam_video.errors import CheckpointError
from sam_video.model.sam2 import SegmentationModel
from sam_video.request import Request
from sam_video.service.session import Session
from tests.clips import draw_clip


@pytest.fixture(autouse=True)
def no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def session() -> Session:
    return Session("pocket")


@pytest.fixture
def request_of_two(tmp_path: Path) -> Request:
    draw_clip(tmp_path / "clip.mp4", num_frames=4)
    return Request(
        input_video=tmp_path / "clip.mp4",
        click_coordinates="[12,19],[75,40]",
        click_frames="0,2",
        model="pocket",
    )


def watched_parts(session: Session) -> dict[str, "weakref.ref[Any]"]:
    """Return weak references to a session's model and to all tensors of its own."""
    model = session._model
    assert model is not None
    found: dict[str, weakref.ref[Any]] = {"model": weakref.ref(model)}
    pending: list[tuple[str, Any]] = [("", vars(model))]
    seen: set[int] = set()
    while pending:
        path, item = pending.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Tensor):
            found[path] = weakref.ref(item)
            continue
        if isinstance(item, nn.Module):
            pending += [(f"{path}.{name}", value) for name, value in item.named_parameters()]
        elif callable(getattr(item, "__func__", None)):
            pending.append((path, item.__self__))
        elif isinstance(item, dict):
            pending += [(f"{path}.{name}", value) for name, value in item.items()]
        elif isinstance(item, list | tuple):
            pending += [(f"{path}.{number}", value) for number, value in enumerate(item)]
        elif hasattr(item, "func"):
            pending += [(path, item.func), (path, item.args)]
        elif type(item).__module__.startswith("sam_video") and hasattr(item, "__dict__"):
            pending.append((path, vars(item)))
    del found["model"]
    sizes = [tensor.numel() for reference in found.values() if (tensor := reference()) is not None]
    assert sum(sizes) > 5e6, "most of the weights"
    found["model"] = weakref.ref(model)
    return found


def left_of(parts: dict[str, "weakref.ref[Any]"]) -> list[str]:
    return [path for path, reference in parts.items() if reference() is not None]


def test_a_model_that_is_forgotten_is_freed_at_once(session: Session) -> None:
    parts = watched_parts(session)
    session._model = None
    assert left_of(parts) == []


def test_a_model_is_freed_at_once_after_a_prediction(
    session: Session, request_of_two: Request, tmp_path: Path
) -> None:
    list(session.predict(request_of_two, tmp_path / "out"))
    parts = watched_parts(session)
    session._model = None
    assert left_of(parts) == []


def test_a_model_is_freed_at_once_after_a_prediction_was_abandoned(
    session: Session, request_of_two: Request, tmp_path: Path
) -> None:
    files = session.predict(request_of_two, tmp_path / "out")
    next(files)
    files.close()
    del files
    parts = watched_parts(session)
    session._model = None
    assert left_of(parts) == []


ERRORS = {
    "memory": torch.OutOfMemoryError("CUDA out of memory."),
    "other": RuntimeError("size mismatch"),
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS.keys())
@pytest.mark.parametrize("verb", ["encode_images", "decode", "with_memory", "results_of"])
def test_a_model_is_freed_at_once_after_it_has_failed(
    session: Session,
    request_of_two: Request,
    tmp_path: Path,
    *,
    verb: str,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = getattr(SegmentationModel, verb)
    calls = []

    def failing(model: SegmentationModel, *arguments: Any, **options: Any) -> Any:
        calls.append(verb)
        if len(calls) > 1:
            raise error.with_traceback(None)
        return right(model, *arguments, **options)

    monkeypatch.setattr(SegmentationModel, verb, failing)
    message = failure_of(session, request_of_two, tmp_path / "out")
    assert str(error).rstrip(".") in message
    error.with_traceback(None)
    parts = watched_parts(session)
    session._model = None
    assert left_of(parts) == []


def test_a_model_is_freed_at_once_after_writing_has_failed(
    session: Session, request_of_two: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", refuse)
    assert "No space left" in failure_of(session, request_of_two, tmp_path / "out")
    parts = watched_parts(session)
    session._model = None
    assert left_of(parts) == []


def test_a_model_in_a_check_is_freed_before_the_next_is_loaded(
    session: Session, request_of_two: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = watched_parts(session)
    begun, loading = threading.Event(), threading.Event()
    left: list[str] = []
    encode = SegmentationModel.encode_images

    def slow(*arguments: Any) -> Any:
        begun.set()
        loading.wait(0.5)
        return encode(*arguments)

    def load(*_: Any, **__: Any) -> None:
        left.extend(left_of(parts))
        loading.set()
        raise CheckpointError("the end")

    monkeypatch.setattr(SegmentationModel, "encode_images", slow)
    monkeypatch.setattr("sam_video.service.session.load_model", load)
    monkeypatch.setattr("sam_video.service.session.resolve_checkpoint", Path)
    check = threading.Thread(target=session.check)
    check.start()
    begun.wait()
    assert failure_of(session, replace(request_of_two, model="tiny"), tmp_path) == "the end"
    check.join()
    assert left == []


def test_a_model_in_use_is_not_checked(
    session: Session, request_of_two: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = session.predict(request_of_two, tmp_path / "out")
    next(files)
    monkeypatch.setattr("sam_video.service.session._check", None)
    session.check()
    files.close()


def failure_of(session: Session, request: Request, folder: Path) -> str:
    try:
        list(session.predict(request, folder))
    except Exception as error:
        return str(error)
    raise AssertionError("the prediction has not failed")
