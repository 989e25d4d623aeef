"""Pocket's own words as a detector, with random weights, and files of weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sam_video.detection.interface import Detector
from sam_video.detection.pocket_words import PocketWords
from sam_video.detection.vocabulary import COLOURS, NOUNS
from sam_video.detection.words_network import WordsNetwork
from sam_video.errors import CheckpointError, PromptError
from training.train import save_weights

CPU = torch.device("cpu")


@pytest.fixture
def detector(tmp_path: Path) -> PocketWords:
    """Return one whose weights are random, in a file as training writes it."""
    path = tmp_path / "words.safetensors"
    torch.manual_seed(0)
    save_weights(WordsNetwork().state_dict(), path)
    return PocketWords(path, CPU)


@pytest.mark.parametrize(
    "content", [b"", b"not weights", None], ids=["empty", "damaged", "missing"]
)
def test_unusable_file_fails_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "words.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"words.safetensors does not fit this model: .+"):
        PocketWords(path, CPU)


def test_weights_of_another_network_fail(tmp_path: Path) -> None:
    path = tmp_path / "words.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match="does not fit this model") as raised:
        PocketWords(path, CPU)
    assert "\n" not in str(raised.value)


def test_unknown_word_fails_before_any_image(detector: PocketWords) -> None:
    with pytest.raises(PromptError, match="names 'giraffe'; pocket knows ball, balloon, "):
        detector.check(["ball", "giraffe"])


def test_it_is_a_detector_that_accepts_its_own_words(detector: PocketWords) -> None:
    seam: Detector = detector
    seam.check([*NOUNS, *(f"the {colour} balls" for colour in COLOURS)])
    assert 0 < seam.threshold < 1


@pytest.mark.parametrize("size", [(1, 1), (2, 5000), (300, 400)], ids=str)
def test_boxes_lie_in_an_image_of_any_size(detector: PocketWords, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    detections = detector.detect(image, NOUNS, 0.0)
    assert detections
    assert [d.score for d in detections] == sorted((d.score for d in detections), reverse=True)
    for d in detections:
        assert 0 <= d.box.x0 < d.box.x1 <= size[1]
        assert 0 <= d.box.y0 < d.box.y1 <= size[0]


def test_boxes_do_not_depend_on_what_else_is_asked_for(detector: PocketWords) -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    among_all = [(d.concept, d.score, d.box) for d in detector.detect(image, NOUNS, 0.0)]
    for noun in NOUNS:
        alone = [(d.concept, d.score, d.box) for d in detector.detect(image, [noun], 0.0)]
        assert alone == [values for values in among_all if values[0] == noun]
