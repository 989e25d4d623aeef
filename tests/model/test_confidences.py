"""Confidences beside the masks of the same logits."""

import pytest
import torch

from sam_video.model.interface import Prediction
from sam_video.model.load import load_model
from sam_video.model.sam2 import SegmentationModel


@pytest.fixture(scope="module")
def model() -> SegmentationModel:
    return load_model("pocket")


@pytest.mark.parametrize(
    ("logit", "level"),
    [
        (40.0, 255),
        (1.0, 186),
        (1e-3, 128),
        (1e-7, 128),
        (5e-8, 128),
        (1e-30, 128),
        (0.0, 127),
        (-1e-30, 127),
        (-5e-8, 127),
        (-1e-3, 127),
        (-1.0, 69),
        (-40.0, 0),
    ],
)
def test_a_pixel_of_the_mask_has_128_or_more_and_any_other_less(
    model: SegmentationModel, logit: float, level: int
) -> None:
    logits = torch.full((1, 1, 4, 4), logit)
    prediction = Prediction(logits, torch.zeros(1, 8), torch.ones(1, 1), torch.ones(1))
    found = model.results_of(prediction, (8, 8), with_confidences=True).result()
    assert found.confidences is not None
    assert (found.confidences == level).all()
    assert (found.masks == (level >= 128)).all()
