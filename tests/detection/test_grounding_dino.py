"""LLMDet's own code on a tiny network: load, look, and say what does not fit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import GroundingDinoImageProcessorPil, MMGroundingDinoForObjectDetection
from transformers.image_transforms import get_size_with_aspect_ratio

from sam_video.detection.grounding_dino import GroundingDinoDetector, resized_hw, to_input
from sam_video.detection.interface import Detector
from sam_video.detection.loading import load_network
from sam_video.errors import PromptError
from sam_video.types import RGBImage
from tests.detection.tiny_models import bert_tokenizer

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def image() -> RGBImage:
    """A wide one, which the network is quick with."""
    return np.random.default_rng(3).integers(0, 256, (12, 240, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def detector(llmdet_folder: Path) -> Any:
    return GroundingDinoDetector(llmdet_folder, CPU)


def sentences(detector: Any, concepts: list[str]) -> list[Any]:
    found: list[Any] = detector._split(tuple(concepts))
    return found


# The weights


def test_every_layer_has_the_head_that_is_in_the_file(llmdet_folder: Path) -> None:
    kind = "MMGroundingDinoForObjectDetection"
    loaded = load_network(llmdet_folder, kind, {"": "mm-grounding-dino"}, CPU).state_dict()
    stored = load_file(llmdet_folder / "model.safetensors")
    last = [stored[f"bbox_embed.{layer}.layers.2.weight"] for layer in range(3)]
    assert not torch.equal(last[0], last[1])
    heads = {n: w for n, w in stored.items() if n.startswith(("bbox_embed", "class_embed"))}
    assert len(heads) == 3 * (6 + 1)
    for name, weight in heads.items():
        assert torch.equal(loaded[name], weight), name
        assert torch.equal(loaded[f"model.decoder.{name}"], weight), name


# The image that it sees


def test_sizes_are_those_of_the_original_processor() -> None:
    sides = [*range(2, 40, 7), *range(600, 700, 13), 799, 800, 801, *range(1330, 1336), 3840]
    pairs = [
        (height, width) for height in sides for width in sides if width / 80 < height < 80 * width
    ]
    for pair in pairs:
        assert resized_hw(*pair) == get_size_with_aspect_ratio(pair, 800, 1333), pair


@pytest.mark.parametrize("hw", [(60, 80), (40, 300), (1080, 1920)])
def test_the_image_is_that_of_the_original_processor(hw: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*hw, 3), dtype=np.uint8)
    processor: Any = GroundingDinoImageProcessorPil()
    expected = processor(image, return_tensors="pt").pixel_values
    pixels, mask = to_input(image, CPU)
    assert mask.all()
    levels = (pixels - expected).abs() * 255 * 0.225
    assert levels.max() < 1.01
    assert (levels > 0.1).float().mean() < 0.02


def test_a_narrow_image_is_padded_and_the_padding_is_masked() -> None:
    pixels, mask = to_input(np.zeros((10, 1000, 3), np.uint8), CPU)
    assert pixels.shape == (1, 3, 64, 1333)
    assert mask.sum(dim=1).unique().tolist() == [13]


@pytest.mark.parametrize("hw", [(1, 1000), (1000, 2)])
def test_a_narrow_image_is_looked_at(detector: Detector, hw: tuple[int, int]) -> None:
    for item in detector.detect(np.zeros((*hw, 3), np.uint8), ["ball"], 0.0):
        assert item.box.x1 <= hw[1]
        assert item.box.y1 <= hw[0]


# What it finds


def test_a_concepts_score_is_the_mean_over_its_own_tokens(
    detector: Detector, llmdet_folder: Path, image: RGBImage
) -> None:
    network: Any = MMGroundingDinoForObjectDetection.from_pretrained(llmdet_folder).eval()
    words = bert_tokenizer()(["ball. red cat."], return_tensors="pt")
    with torch.inference_mode():
        out = network(pixel_values=to_input(image, CPU)[0], **words)
    scores = out.logits[0].sigmoid()  # start ball . red cat . end
    columns = {"ball": scores[:, 1], "red cat": scores[:, 3:5].mean(dim=1)}
    found = detector.detect(image, ["ball", "red cat"], 0.5)
    assert {item.concept for item in found} == {"ball", "red cat"}
    for item in found:
        row = (columns[item.concept] - item.score).abs().argmin()
        x, _, w, _ = out.pred_boxes[0, row].tolist()
        assert item.score == pytest.approx(float(columns[item.concept][row]), abs=1e-4)
        assert item.box.x1 == pytest.approx(min(x + w / 2, 1) * 240, abs=0.05)


@pytest.mark.parametrize(
    ("concepts", "rows"),
    [
        (["ball", "red cat"], [[1], [3, 4]]),
        (["Red Ball", "DOG"], [[1, 2], [4]]),
        (["red. ball", "dog?"], [[1, 2], [4]]),
        (["  cat ", "a-b"], [[1], [3, 4, 5]]),
        (["ball", "ball"], [[1], [3]]),
    ],
    ids=["two", "capitals", "stops", "spaces", "twice"],
)
def test_each_concept_has_its_own_tokens(
    detector: Any, concepts: list[str], rows: list[list[int]]
) -> None:
    (sentence,) = sentences(detector, concepts)
    assert [column.nonzero()[:, 0].tolist() for column in sentence.shares.T] == rows
    assert sentence.shares.sum(dim=0).tolist() == pytest.approx([1, 1])


def test_concepts_that_do_not_fit_into_a_sentence_take_several(
    detector: Any, image: RGBImage
) -> None:
    concepts = [f"{letter} " * 120 for letter in "abc"]
    split = sentences(detector, concepts)
    assert [len(sentence.concepts) for sentence in split] == [2, 1]
    assert [sentence.inputs["input_ids"].shape[1] for sentence in split] == [244, 123]
    found = detector.detect(image, concepts, 0.0)
    assert {item.concept for item in found} == {*concepts}
    scores = [item.score for item in found]
    assert scores == sorted(scores, reverse=True)


def test_a_sentence_is_filled_to_the_last_token(detector: Any) -> None:
    split = sentences(detector, ["red ball"] * 84 + ["dog", "cat"])
    assert [sentence.inputs["input_ids"].shape[1] for sentence in split] == [256, 4]


def test_words_are_tokenized_once(detector: Any) -> None:
    assert sentences(detector, ["ball", "dog"]) is sentences(detector, ["ball", "dog"])


def test_in_bfloat16_its_heads_stay_in_float32(llmdet_folder: Path, image: RGBImage) -> None:
    half: Any = GroundingDinoDetector(llmdet_folder, CPU, dtype=torch.bfloat16)
    dtypes: set[torch.dtype] = set()
    for head in (half._network.bbox_embed[2], half._network.model.decoder.bbox_embed[0]):
        head.register_forward_hook(lambda _, __, out: dtypes.add(out.dtype))
    assert half.detect(image, ["ball"], 0.3)
    assert dtypes == {torch.float32}


# What does not fit


@pytest.mark.parametrize(
    ("concept", "message"),
    [
        ("", "text_prompt has '' of 0 word pieces; expected 1 to 253 word pieces a concept with "),
        (".?", "text_prompt has '.?' of 0 word pieces"),
        ("a " * 254, "' of 254 word pieces; expected 1 to 253 word pieces a concept with llmdet"),
        ("x" * 2000, "…' of 2000 characters; expected 1 to 253 word pieces"),
    ],
    ids=["empty", "stops", "long", "very long"],
)
def test_a_phrase_that_does_not_fit_is_one_line_fails(
    detector: Detector, concept: str, message: str
) -> None:
    with pytest.raises(PromptError) as error:
        detector.check(["ball", concept])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_phrase_of_253_word_pieces_fits(detector: Any) -> None:
    detector.check(["a " * 253])
    (sentence,) = sentences(detector, ["a " * 253])
    assert sentence.inputs["input_ids"].shape[1] == 256
