"""Pocket's own words: from outputs of cells to detections, and files of weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sam_video.detection.interface import Detector
from sam_video.detection.pocket_words import PocketWords, Thing, find_things
from sam_video.detection.vocabulary import COLOURS, NOUNS
from sam_video.detection.words_network import GRID, CellOutputs, WordsNetwork
from sam_video.errors import CheckpointError, PromptError

CPU = torch.device("cpu")
BALL, BALLOON = NOUNS.index("ball"), NOUNS.index("balloon")
RED, BLUE = COLOURS.index("red"), COLOURS.index("blue")
LEFT, RIGHT = (0.1, 0.1, 0.4, 0.5), (0.6, 0.1, 0.9, 0.5)

CellThing = tuple[tuple[int, int], int, float, tuple[float, ...]]


@pytest.fixture
def detector(tmp_path: Path) -> PocketWords:
    """Return one whose weights are random, in a file as training writes it."""
    path = tmp_path / "words.safetensors"
    torch.manual_seed(0)
    weights = WordsNetwork().state_dict().items()
    save_file({name: value.half().contiguous() for name, value in weights}, path)
    return PocketWords(path, CPU)


def outputs(*things: CellThing) -> CellOutputs:
    """Return what cells would say if each of some cells saw a red thing: cell, noun, logit, box."""
    cells = CellOutputs(
        nouns=torch.full((1, len(NOUNS), GRID, GRID), -9.0),
        colours=torch.zeros(1, len(COLOURS), GRID, GRID),
        boxes=torch.zeros(1, 4, GRID, GRID),
        quality=torch.full((1, 1, GRID, GRID), 9.0),
    )
    for (row, column), noun, logit, box in things:
        cells.nouns[0, noun, row, column] = logit
        cells.colours[0, RED, row, column] = 9
        cells.boxes[0, :, row, column] = torch.tensor(box)
    return cells


def found(*things: CellThing) -> list[tuple[int, tuple[float, ...]]]:
    return [
        (thing.noun, tuple(round(value, 3) for value in thing.box))
        for thing in find_things(outputs(*things))[0]
    ]


def test_cells_of_one_thing_give_one_box_of_the_surest() -> None:
    things = ((3, 3), BALL, 2.0, LEFT), ((3, 4), BALL, 4.0, (0.11, 0.1, 0.4, 0.5))
    assert found(*things) == [(BALL, (0.11, 0.1, 0.4, 0.5))]


def test_nouns_compete_for_a_thing() -> None:
    things = ((3, 3), BALL, 2.0, LEFT), ((3, 4), BALLOON, 3.0, LEFT)
    assert found(*things) == [(BALLOON, LEFT)]


def test_things_apart_are_both_found_surest_first() -> None:
    things = ((3, 3), BALL, 2.0, LEFT), ((3, 15), BALLOON, 3.0, RIGHT)
    assert found(*things) == [(BALLOON, RIGHT), (BALL, LEFT)]


def test_nothing_is_found_where_no_cell_is_sure() -> None:
    assert found() == []


def test_box_beyond_the_image_ends_at_its_border_or_is_none() -> None:
    things = ((0, 0), BALL, 2.0, (-0.2, -0.1, 0.3, 0.3)), ((9, 9), BALL, 2.0, (1.2, 0, 1.5, 1))
    assert found(*things) == [(BALL, (0, 0, 0.3, 0.3))]


def test_colour_takes_part_in_the_score() -> None:
    (thing,) = find_things(outputs(((3, 3), BALL, 4.0, LEFT)))[0]
    assert thing.score_as(BALL, None) == thing.score > 0.9
    assert thing.score_as(BALL, RED) > 0.9
    assert thing.score_as(BALL, BLUE) < 0.1
    assert thing.score_as(BALLOON, RED) == 0


def test_numbers_that_are_none_find_nothing() -> None:
    cells = outputs(((3, 3), BALL, float("nan"), LEFT))
    assert find_things(cells) == [[]]


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


def test_thing_of_another_noun_scores_nothing() -> None:
    thing = Thing(noun=BALL, score=0.9, box=LEFT, colours=(1.0,) * len(COLOURS))
    assert thing.score_as(BALLOON, None) == 0
