"""Runs predict.py in this process, with the defaults that Cog would fill in."""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from predict import Predictor
from tests.openapi import PREDICT, read_inputs

DEFAULTS = {
    field.name: field.options["default"]
    for field in read_inputs(PREDICT.read_text())
    if "default" in field.options
}


@cache
def predictor() -> Predictor:
    """Set the predictor up with the pocket checkpoint, once for all tests."""
    with patch.dict(os.environ, SAM_VIDEO_MODEL="pocket"):
        loaded = Predictor()
        loaded.setup()
    return loaded


def start(**inputs: Any) -> Iterator[Path]:
    """Start a prediction; its files come as it runs."""
    return predictor().predict(**(DEFAULTS | {"model": "pocket"} | inputs))


def predict(**inputs: Any) -> list[Path]:
    """Run a prediction and return its files, which stay until the next one starts."""
    return list(start(**inputs))
