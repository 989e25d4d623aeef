"""What is sent from one process to another arrives as it was."""

from fractions import Fraction
from io import BytesIO
from typing import Any

import numpy as np
import pytest

from sam_video.prompts.stated import StatedPrompt
from sam_video.types import Frame, Span, VideoInfo
from sam_video.workers.messages import pack, unpack

PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)


def sent(value: Any) -> Any:
    """Send a value through a stream, and check that nothing of it is left there."""
    stream = BytesIO(b"".join(pack(value)))

    def read_into(buffer: memoryview) -> None:
        assert stream.readinto(buffer) == len(buffer)

    received = unpack(read_into)
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
        pack(value)


def test_an_array_of_objects_is_not_made() -> None:
    data = b"".join(pack([PIXELS])).replace(b'"uint8"', b'"object"'[:7])
    with pytest.raises((AssertionError, ValueError)):
        unpack(lambda buffer: _fill(buffer, BytesIO(data)))


def _fill(buffer: memoryview, stream: BytesIO) -> None:
    stream.readinto(buffer)
