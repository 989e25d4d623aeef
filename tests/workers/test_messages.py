"""What is sent from one process to another arrives as it was."""

from fractions import Fraction
from io import BytesIO
from typing import Any

import numpy as np
import pytest

from sam_video.prompts.stated import StatedPrompt
from sam_video.types import Frame, Span, VideoInfo
from sam_video.workers.messages import MAX_TEXT_BYTES, MessageError, Messages

MESSAGES = Messages((VideoInfo, Frame, StatedPrompt, Span), max_array_bytes=1000)
PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)


def sent(value: Any) -> Any:
    """Send a value through a stream, and check that nothing of it is left there."""
    stream = BytesIO(b"".join(MESSAGES.pack(value)))

    def read_into(buffer: memoryview) -> None:
        assert stream.readinto(buffer) == len(buffer)

    received = MESSAGES.unpack(read_into)
    assert stream.read() == b""
    return received


@pytest.mark.parametrize(
    "value",
    [
        None,
        ["ä\n\udcff", 0, -1.5, True, [], 0.1 + 0.2],
        Fraction(30000, 1001),
        VideoInfo(96, 64, Fraction(24), None, Fraction(16, 11), is_still=True),
        [Span(0.1, 2.5, 0.0), Span(1e-9, 3e7, 2.4)],
    ],
    ids=["nothing", "list", "fraction", "info", "spans"],
)
def test_a_value_arrives_as_it_was(value: Any) -> None:
    assert sent(value) == value


@pytest.mark.parametrize(
    "array",
    [
        PIXELS,
        PIXELS[:, ::-2],
        PIXELS > 7,
        np.linspace(-1, 1, 10, dtype=np.float32).reshape(2, 5),
        np.zeros((2, 0), np.float32),
    ],
    ids=["pixels", "strided", "mask", "sound", "empty"],
)
def test_an_array_arrives_as_it_was_and_can_be_written_to(array: np.ndarray[Any, Any]) -> None:
    received = sent([array, 5, array])
    assert received[1] == 5
    for copy in (received[0], received[2]):
        assert copy.dtype == array.dtype
        assert np.array_equal(copy, array)
        assert copy.flags.writeable


def test_frames_and_masks_arrive_as_they_were() -> None:
    frame = sent(Frame(7, 0.28, PIXELS))
    assert (type(frame), frame.index, frame.pts_seconds) == (Frame, 7, 0.28)
    assert np.array_equal(frame.image, PIXELS)
    prompt = sent(StatedPrompt(PIXELS[..., 0] > 3, 2, "dog", "mask_prompts['2_dog.png']", "there"))
    assert (prompt.frame_index, prompt.object_id, prompt.frame_place) == (2, "dog", "there")
    assert np.array_equal(prompt.value, PIXELS[..., 0] > 3)


@pytest.mark.parametrize("value", [object(), {1, 2}, ValueError("code")], ids=type)
def test_what_is_no_data_is_not_sent_and_fails(value: Any) -> None:
    with pytest.raises(AssertionError):
        MESSAGES.pack(value)


def received(data: bytes) -> Any:
    """Unpack bytes that another process sends."""
    stream = BytesIO(data)

    def read_into(buffer: memoryview) -> None:
        assert stream.readinto(buffer) == len(buffer)

    return MESSAGES.unpack(read_into)


@pytest.mark.parametrize(
    "text",
    [
        '{"type": "array", "dtype": "object", "shape": [2]}',
        '{"type": "array", "dtype": "uint8", "shape": [1001]}',
        '{"type": "array", "dtype": "float32", "shape": [251]}',
        '{"type": "array", "dtype": "uint8", "shape": [-1]}',
        '{"type": "array", "dtype": "uint8", "shape": [true]}',
        '{"type": "array", "dtype": "uint8", "shape": [1, 1, 1, 1, 1]}',
        '{"type": "array", "dtype": "uint8", "shape": 5}',
        '[{"type": "array", "dtype": "uint8", "shape": [600]},'
        ' {"type": "array", "dtype": "uint8", "shape": [600]}]',
        '{"type": "Fraction", "text": "1/0"}',
        '{"type": "Frame", "index": 0}',
        '{"type": "Popen", "args": ["true"]}',
        "{}",
        "[",
        "[" * 100_000,
    ],
    ids=lambda text: text[:60],
)
def test_what_the_other_process_may_not_send_fails(text: str) -> None:
    with pytest.raises(MessageError):
        received(len(text).to_bytes(8, "little") + text.encode())


def test_a_text_that_is_too_long_fails_before_it_is_read() -> None:
    with pytest.raises(MessageError, match="bytes of text"):
        received((MAX_TEXT_BYTES + 1).to_bytes(8, "little"))
