"""The README tells the truth where a machine can tell."""

import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from sam_video import request
from sam_video.request import Request

README = (Path(__file__).parents[1] / "README.md").read_text()
ROWS = re.findall(r"^\| `(\w+)` \| (.+?) \| (?:`(.*?)`|required) \| .+ \|$", README, re.MULTILINE)
CHOICES = {
    "mask_type": request.MASK_TYPES,
    "annotation_type": request.ANNOTATION_TYPES,
    "output_format": request.IMAGE_FORMATS,
    "model": request.MODEL_NAMES,
    "rle_format": request.RLE_FORMATS,
    "text_model": request.TEXT_MODELS,
}


def as_written(value: Any) -> str:
    """Write a default as the table does."""
    if value is MISSING:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)


def test_it_is_short() -> None:
    assert len(README.splitlines()) < 200


def test_the_table_of_inputs_has_every_input_with_its_default() -> None:
    stated = [(name, default.strip('"')) for name, _, default in ROWS]
    assert stated == [(field.name, as_written(field.default)) for field in fields(Request)]


@pytest.mark.parametrize(("name", "choices"), CHOICES.items(), ids=CHOICES.keys())
def test_the_table_of_inputs_has_every_choice(name: str, choices: tuple[str, ...]) -> None:
    (kind,) = (kind for row, kind, _ in ROWS if row == name)
    assert tuple(kind.split(", ")) == choices


def test_the_python_examples_are_short() -> None:
    examples = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert examples
    assert all(len(example.splitlines()) <= 12 for example in examples)
