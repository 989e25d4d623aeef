"""Values as they travel between two processes: JSON and the bytes of arrays, never code."""

import json
import struct
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from sam_video.prompts.stated import StatedPrompt
from sam_video.types import Frame, Span, VideoInfo

Array = npt.NDArray[Any]

ReadInto = Callable[[memoryview], None]
"""Fills the whole buffer with the next bytes of a stream."""

_DATACLASSES: dict[str, Callable[..., Any]] = {
    cls.__name__: cls for cls in (VideoInfo, Frame, StatedPrompt, Span)
}
_DTYPES = ("uint8", "bool", "float32")
_LENGTH = struct.Struct("<Q")


def pack(value: Any) -> list[memoryview]:
    """Return the parts of a message, to be written one after another.

    Args:
        value: Made of lists, texts, numbers, None, fractions, arrays, and of the dataclasses that
            say what is read. Arrays are not copied.
    """
    arrays: list[Array] = []
    text = json.dumps(value, default=partial(_described, arrays=arrays)).encode()
    parts = [memoryview(_LENGTH.pack(len(text)) + text)]
    return parts + [_bytes_of(array) for array in arrays]


def unpack(read_into: ReadInto) -> Any:
    """Read one message and return its value, with lists for tuples; `pack` is the inverse."""
    length = bytearray(_LENGTH.size)
    read_into(memoryview(length))
    text = bytearray(_LENGTH.unpack(length)[0])
    read_into(memoryview(text))
    arrays: list[Array] = []
    value = json.loads(text, object_hook=partial(_restored, arrays=arrays))
    for array in arrays:
        read_into(_bytes_of(array))
    return value


def _described(value: Any, arrays: list[Array]) -> dict[str, Any]:
    """Describe what JSON has no form for; the bytes of arrays come after the text."""
    if isinstance(value, np.ndarray):
        arrays.append(np.ascontiguousarray(value))
        return {"type": "array", "dtype": value.dtype.name, "shape": value.shape}
    if isinstance(value, Fraction):
        return {"type": "Fraction", "text": str(value)}
    assert is_dataclass(value) and type(value).__name__ in _DATACLASSES, type(value)
    content = {field.name: getattr(value, field.name) for field in fields(value)}
    return {"type": type(value).__name__, **content}


def _restored(content: dict[str, Any], arrays: list[Array]) -> Any:
    """Return the value that `_described` has described; arrays have their bytes afterwards."""
    kind = content.pop("type")
    if kind == "array":
        assert content["dtype"] in _DTYPES, content["dtype"]
        arrays.append(np.empty(content["shape"], content["dtype"]))
        return arrays[-1]
    if kind == "Fraction":
        return Fraction(content["text"])
    return _DATACLASSES[kind](**content)


def _bytes_of(array: Array) -> memoryview:
    return array.reshape(-1).view(np.uint8).data
