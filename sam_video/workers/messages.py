"""Values as they travel between two processes: JSON and the bytes of arrays, never code.

A process that decodes hostile files may send anything: all that it states is bounded and checked.
"""

import json
import math
import struct
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

ReadInto = Callable[[memoryview], None]
"""Fills the whole buffer with the next bytes of a stream."""

MAX_TEXT_BYTES = 2**24
"""Of the JSON of a message."""
MAX_AXES = 4
"""Of an array."""

_DTYPES = ("uint8", "bool", "float32")
_LENGTH = struct.Struct("<Q")
_INVALID = (ValueError, TypeError, KeyError, ArithmeticError, AttributeError, RecursionError)


class MessageError(Exception):
    """A message from the other process is not one that `Messages.pack` makes."""


class Messages:
    """Packs values for another process, and unpacks what comes from there.

    Args:
        dataclasses: What may be sent besides lists, texts, numbers, None, fractions and arrays.
        max_array_bytes: Of all arrays of a message that comes from there.
    """

    def __init__(self, dataclasses: tuple[type, ...], *, max_array_bytes: int) -> None:
        self._dataclasses = {cls.__name__: cls for cls in dataclasses}
        self._max_array_bytes = max_array_bytes

    def pack(self, value: Any) -> list[memoryview]:
        """Return the parts of a message, to be written one after another; arrays are not copied."""
        arrays: list[Array] = []
        text = json.dumps(value, default=partial(self._described, arrays=arrays)).encode()
        parts = [memoryview(_LENGTH.pack(len(text)) + text)]
        return parts + [_bytes_of(array) for array in arrays]

    def unpack(self, read_into: ReadInto) -> Any:
        """Read one message and return its value, with lists for tuples; `pack` is the inverse.

        Raises:
            MessageError: It is too long, or not what `pack` makes.
        """
        head = bytearray(_LENGTH.size)
        read_into(memoryview(head))
        (length,) = _LENGTH.unpack(head)
        if length > MAX_TEXT_BYTES:
            raise MessageError(f"{length} bytes of text")
        text = bytearray(length)
        read_into(memoryview(text))
        arrays: list[Array] = []
        try:
            value = json.loads(text, object_hook=partial(self._restored, arrays=arrays))
        except _INVALID as error:
            raise MessageError(str(error)) from None
        for array in arrays:
            read_into(_bytes_of(array))
        return value

    def _described(self, value: Any, arrays: list[Array]) -> dict[str, Any]:
        """Describe what JSON has no form for; the bytes of arrays come after the text."""
        if isinstance(value, np.ndarray):
            arrays.append(np.ascontiguousarray(value))
            return {"type": "array", "dtype": value.dtype.name, "shape": value.shape}
        if isinstance(value, Fraction):
            return {"type": "Fraction", "text": str(value)}
        assert is_dataclass(value) and type(value).__name__ in self._dataclasses, type(value)
        content = {field.name: getattr(value, field.name) for field in fields(value)}
        return {"type": type(value).__name__, **content}

    def _restored(self, content: dict[str, Any], arrays: list[Array]) -> Any:
        """Return the value that `_described` has described; arrays have their bytes afterwards."""
        kind = content.pop("type")
        if kind == "array":
            return self._new_array(content["shape"], content["dtype"], arrays)
        if kind == "Fraction":
            return Fraction(content["text"])
        return self._dataclasses[kind](**content)

    def _new_array(self, shape: list[int], dtype: str, arrays: list[Array]) -> Array:
        if dtype not in _DTYPES:
            raise ValueError(f"an array of {dtype}")
        if len(shape) > MAX_AXES or not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError(f"an array of the shape {shape}")
        num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        if sum(array.nbytes for array in arrays) + num_bytes > self._max_array_bytes:
            raise ValueError(f"an array of {num_bytes} bytes")
        arrays.append(np.empty(shape, dtype))
        return arrays[-1]


def _bytes_of(array: Array) -> memoryview:
    return array.reshape(-1).view(np.uint8).data
