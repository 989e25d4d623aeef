"""SAM 3 as a detector, on a tiny folder in its own form."""

from collections.abc import Iterator
from dataclasses import astuple
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sam_video.detection.interface import Detector
from sam_video.detection.sam3 import Sam3Detector
from sam_video.detection.sam3_masks import to_pixels
from sam_video.errors import PromptError
from tests.clips import draw_frame
from tests.detection.tiny_sam3 import SIDE, one_core, save_sam3

CPU = torch.device("cpu")
IMAGE, _ = draw_frame(3, (97, 65))
LOW = 0.3
"""A threshold that many of the random queries exceed."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with one_core():
        yield save_sam3(tmp_path_factory.mktemp("sam3"))


@pytest.fixture(scope="module")
def detector(folder: Path) -> Sam3Detector:
    return Sam3Detector(folder, CPU, torch.float32)


def raw(detector: Sam3Detector, concept: str) -> Any:
    """Return the network's outputs as the class in transformers gives them."""
    network: Any = detector._network
    tokens, mask = detector._tokenizer.encode(concept, CPU)
    with torch.inference_mode():
        return network(
            pixel_values=to_pixels(IMAGE, SIDE, CPU)[None], input_ids=tokens, attention_mask=mask
        )


def test_it_is_a_detector(detector: Sam3Detector) -> None:
    as_detector: Detector = detector
    assert as_detector.threshold == 0.5


def test_a_detection_has_a_box_and_a_mask_in_the_pixels_of_the_image(
    detector: Sam3Detector,
) -> None:
    found = detector.detect(IMAGE, ["ball", "red dog"], LOW)
    assert {detection.concept for detection in found} == {"ball", "red dog"}
    for detection in found:
        box, mask = detection.box, detection.mask
        assert mask is not None
        assert mask.shape == (65, 97)
        assert mask.dtype == np.bool_
        assert mask.any()
        assert 0 <= box.x0 < box.x1 <= 97
        assert 0 <= box.y0 < box.y1 <= 65


def test_the_score_is_that_of_the_query_times_that_of_presence(detector: Sam3Detector) -> None:
    out = raw(detector, "ball")
    scores = out.pred_logits[0].sigmoid() * out.presence_logits[0].sigmoid()
    best = int(scores.argmax())
    edges = (out.pred_boxes[0, best] * torch.tensor([97, 65, 97, 65])).tolist()

    surest = detector.detect(IMAGE, ["ball"], LOW)[0]

    assert surest.score == pytest.approx(float(scores[best]), abs=1e-5)
    assert astuple(surest.box) == pytest.approx(edges, abs=1e-2)


def test_the_surest_come_first_and_each_thing_once(detector: Sam3Detector) -> None:
    out = raw(detector, "ball")
    assert int((out.pred_logits.sigmoid() * out.presence_logits.sigmoid() > LOW).sum()) == 8

    found = detector.detect(IMAGE, ["ball"], LOW)

    scores = [detection.score for detection in found]
    assert scores == sorted(scores, reverse=True)
    assert 0 < len(found) < 8
    masks = [detection.mask for detection in found if detection.mask is not None]
    for first, second in pairwise(masks):
        assert (first & second).sum() / (first | second).sum() < 0.2


def test_less_sure_detections_are_left_out(detector: Sam3Detector) -> None:
    assert detector.detect(IMAGE, ["ball"], 0.99) == []


def test_words_are_encoded_once(detector: Sam3Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    network: Any = detector._network
    encode, calls = network.get_text_features, []

    def counted(**given: Any) -> Any:
        calls.append(given)
        return encode(**given)

    monkeypatch.setattr(network, "get_text_features", counted)
    for _ in range(2):
        detector.detect(IMAGE, ["cat", "tree"], LOW)
    assert len(calls) == 2


def test_the_same_image_gives_the_same_detections(detector: Sam3Detector) -> None:
    first, second = (detector.detect(IMAGE, ["ball"], LOW) for _ in range(2))
    assert [(d.score, d.box) for d in first] == [(d.score, d.box) for d in second]


def test_bfloat16_finds_the_same(detector: Sam3Detector, folder: Path) -> None:
    exact = detector.detect(IMAGE, ["ball"], LOW)[0]
    coarse = Sam3Detector(folder, CPU, torch.bfloat16).detect(IMAGE, ["ball"], LOW)[0]
    assert coarse.score == pytest.approx(exact.score, abs=0.02)
    assert coarse.box.x0 == pytest.approx(exact.box.x0, abs=1)


def test_a_concept_that_is_too_long_fails_before_any_image(detector: Sam3Detector) -> None:
    detector.check(["ball", "red dog"])
    with pytest.raises(PromptError, match="of 40 word pieces; expected 1 to 30"):
        detector.check(["ball", "ball " * 40])
