"""OWLv2's own code on a tiny network: load, look, and say what does not fit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Owlv2ForObjectDetection, Owlv2ImageProcessorPil, Owlv2Processor

from sam_video.detection.interface import Detector
from sam_video.detection.owlv2 import Owlv2Detector
from sam_video.detection.owlv2_pixels import to_square
from sam_video.errors import PromptError
from sam_video.types import RGBImage

CPU = torch.device("cpu")
CONCEPTS = ["ball", "red cat"]


@pytest.fixture(scope="module")
def image() -> RGBImage:
    return np.random.default_rng(3).integers(0, 256, (180, 240, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def detector(owlv2_folder: Path) -> Detector:
    return Owlv2Detector(owlv2_folder, CPU)


# The image that it sees


@pytest.mark.parametrize(
    ("hw", "size"),
    [
        ((270, 480), 240),
        ((480, 270), 252),
        ((1080, 1920), 960),
        ((300, 100), 96),
        ((40, 60), 64),
        ((33, 7), 64),
        ((64, 64), 64),
    ],
    ids=["half", "tall", "full size", "a third", "enlarged", "narrow", "as it is"],
)
def test_the_image_is_that_of_the_original_processor(hw: tuple[int, int], size: int) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*hw, 3), dtype=np.uint8)
    processor: Any = Owlv2ImageProcessorPil(size={"height": size, "width": size})
    expected = processor(image, return_tensors="pt").pixel_values
    torch.testing.assert_close(to_square(image, size, CPU), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("hw", [(1, 1), (1, 5000), (5000, 2)])
def test_a_narrow_image_takes_no_memory_for_its_square(hw: tuple[int, int]) -> None:
    square = to_square(np.full((*hw, 3), 255, np.uint8), 64, CPU)
    assert square.shape == (1, 3, 64, 64)
    assert square.isfinite().all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("step", [1, -1], ids=["locked", "flipped"])
def test_an_image_may_be_locked_or_a_view(step: int) -> None:
    image = np.random.default_rng(1).integers(0, 256, (8, 9, 3), dtype=np.uint8)[:, ::step]
    image.flags.writeable = False
    assert torch.equal(to_square(image, 16, CPU), to_square(image.copy(), 16, CPU))


# What it finds


def test_scores_and_boxes_are_those_of_the_original(
    detector: Detector, owlv2_folder: Path, image: RGBImage
) -> None:
    processor: Any = Owlv2Processor.from_pretrained(owlv2_folder)
    network: Any = Owlv2ForObjectDetection.from_pretrained(owlv2_folder)
    inputs = processor(images=image, text=[CONCEPTS], return_tensors="pt")
    with torch.inference_mode():
        logits, boxes = (network(**inputs)[key][0] for key in ("logits", "pred_boxes"))
    found = detector.detect(image, CONCEPTS, 0.5)
    assert len(found) > 4
    for item in found:
        scores = logits[:, CONCEPTS.index(item.concept)].sigmoid()
        patch = (scores - item.score).abs().argmin()
        x, y, w, h = (boxes[patch] * 240).tolist()
        assert item.score == pytest.approx(float(scores[patch]), abs=1e-4)
        assert item.box.x0 == pytest.approx(max(x - w / 2, 0), abs=0.05)
        assert item.box.y1 == pytest.approx(min(y + h / 2, 180), abs=0.05)


def test_the_same_image_and_words_give_the_same(detector: Detector, image: RGBImage) -> None:
    first, second = (detector.detect(image, CONCEPTS, 0.3) for _ in range(2))
    assert [(d.concept, d.score, d.box) for d in first] == [
        (d.concept, d.score, d.box) for d in second
    ]


def test_a_concept_does_not_depend_on_those_beside_it(detector: Detector, image: RGBImage) -> None:
    together = [d for d in detector.detect(image, ["dog", *CONCEPTS], 0.3) if d.concept == "ball"]
    alone = detector.detect(image, ["ball"], 0.3)
    assert [d.score for d in together] == pytest.approx([d.score for d in alone], abs=1e-5)


def test_words_are_encoded_once(
    detector: Any, image: RGBImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = detector._network.owlv2
    encode, encoded = model.get_text_features, []

    def counted(**texts: Any) -> Any:
        encoded.append(texts)
        return encode(**texts)

    monkeypatch.setattr(model, "get_text_features", counted)
    for concepts in (["tree"], ["tree"], ["dog"], ["dog"]):
        detector.detect(image, concepts, 0.5)
    assert len(encoded) == 2


def test_in_bfloat16_boxes_are_as_fine_as_in_float32(
    detector: Detector, owlv2_folder: Path, image: RGBImage
) -> None:
    half = Owlv2Detector(owlv2_folder, CPU, dtype=torch.bfloat16)
    exact, found = (d.detect(image, ["ball"], 0.6) for d in (detector, half))
    assert abs(len(found) - len(exact)) <= 2
    whole = [d.box for d in found if 0 < d.box.x0 < d.box.x1 < 240]
    centres = torch.tensor([(box.x0 + box.x1) / 2 / 240 for box in whole])
    assert ((centres - centres.bfloat16()).abs() > 1e-5).any()  # no steps of two pixels


# What does not fit


@pytest.mark.parametrize(
    ("concept", "message"),
    [
        ("", "text_prompt has '' of 0 word pieces; expected 1 to 14 word pieces a concept with "),
        ("a " * 15, "' of 15 word pieces; expected 1 to 14 word pieces a concept with owlv2_base"),
        ("x" * 2000, "…' of 2000 characters; expected 1 to 14 word pieces"),
    ],
    ids=["empty", "long", "very long"],
)
def test_a_phrase_that_does_not_fit_is_one_line_fails(
    detector: Detector, concept: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(PromptError) as error:
        detector.check(["ball", concept])
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert capsys.readouterr().err == ""


def test_a_phrase_of_14_word_pieces_is_looked_for(detector: Detector, image: RGBImage) -> None:
    detector.check(["a " * 14])
    assert detector.detect(image, ["a " * 14], 0.0)
