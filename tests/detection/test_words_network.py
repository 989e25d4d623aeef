"""The network of pocket's own words: from what its parts say to things."""

import numpy as np
import pytest
import torch

from sam_video.detection.vocabulary import COLOURS, NOUNS
from sam_video.detection.words_finder import GRID, IMAGE_SIZE, CellOutputs
from sam_video.detection.words_namer import CROP_SIZE, NO_NOUN, Names, crop, mended
from sam_video.detection.words_network import (
    Candidates,
    Thing,
    WordsNetwork,
    candidates,
    named,
    resized,
)

BALL, BALLOON = NOUNS.index("ball"), NOUNS.index("balloon")
RED, BLUE = COLOURS.index("red"), COLOURS.index("blue")

CellThing = tuple[tuple[int, int], float, tuple[float, ...]]
Edges = tuple[float, ...]

LEFT: Edges = (0.1, 0.1, 0.4, 0.5)
RIGHT: Edges = (0.6, 0.1, 0.9, 0.5)


def rounded(box: Edges) -> Edges:
    return tuple(round(value, 3) for value in box)


def found(*things: CellThing) -> list[Edges]:
    """Return the candidates where some cells see a thing: cell, logit, box."""
    cells = CellOutputs(
        nouns=torch.full((1, len(NOUNS), GRID, GRID), -9.0),
        colours=torch.zeros(1, len(COLOURS), GRID, GRID),
        boxes=torch.zeros(1, 4, GRID, GRID),
        quality=torch.full((1, 1, GRID, GRID), 9.0),
    )
    for (row, column), logit, box in things:
        cells.nouns[0, BALL, row, column] = logit
        cells.boxes[0, :, row, column] = torch.tensor(box)
    return [rounded(tuple(box)) for box in candidates(cells).boxes.tolist()]


def things_of(boxes: list[Edges], *crops: tuple[int, float]) -> list[Thing]:
    """Return the things of boxes whose crops the namer calls red: noun and logit of each."""
    nouns = torch.zeros(len(crops), len(NOUNS) + 1)
    for row, (noun, logit) in enumerate(crops):
        nouns[row, noun] = logit
    colours = torch.zeros(len(crops), len(COLOURS))
    colours[:, RED] = 9
    undecided = torch.zeros(len(boxes), len(NOUNS)), torch.zeros(len(boxes), len(COLOURS))
    found = Candidates(torch.ones(len(boxes)), torch.tensor(boxes), *undecided)
    return named(found, Names(nouns, colours, torch.zeros(len(crops), 4)))


def nouns_and_boxes(things: list[Thing]) -> list[tuple[int, Edges]]:
    return [(thing.noun, rounded(thing.box)) for thing in things]


# Candidates


def test_cells_of_one_thing_give_one_box_of_the_surest() -> None:
    nearly = (0.11, 0.1, 0.4, 0.5)
    assert found(((3, 3), 2.0, LEFT), ((3, 4), 4.0, nearly)) == [nearly]


def test_things_apart_are_both_candidates_surest_first() -> None:
    assert found(((3, 3), 2.0, LEFT), ((3, 15), 3.0, RIGHT)) == [RIGHT, LEFT]


def test_there_is_no_candidate_where_no_cell_is_sure() -> None:
    assert found() == []


def test_box_beyond_the_image_ends_at_its_border_or_is_none() -> None:
    partly, outside = (-0.2, -0.1, 0.3, 0.3), (1.2, 0.0, 1.5, 1.0)
    assert found(((0, 0), 2.0, partly), ((9, 9), 2.0, outside)) == [(0, 0, 0.3, 0.3)]


def test_values_that_are_no_numbers_are_no_candidates() -> None:
    assert found(((3, 3), float("nan"), LEFT)) == []


# Names


def test_nouns_compete_for_a_thing() -> None:
    almost = (0.1, 0.1, 0.4, 0.49)
    things = things_of([LEFT, almost], (BALL, 3.0), (BALLOON, 9.0))
    assert nouns_and_boxes(things) == [(BALLOON, almost)]


def test_things_apart_keep_their_nouns_surest_first() -> None:
    things = things_of([LEFT, RIGHT], (BALL, 5.0), (BALLOON, 9.0))
    assert nouns_and_boxes(things) == [(BALLOON, RIGHT), (BALL, LEFT)]


def test_candidate_that_is_nothing_is_left_out() -> None:
    things = things_of([LEFT, RIGHT], (NO_NOUN, 12.0), (BALL, 9.0))
    assert nouns_and_boxes(things) == [(BALL, RIGHT)]


def test_colour_takes_part_in_the_score() -> None:
    (thing,) = things_of([LEFT], (BALL, 9.0))
    assert thing.score_as(BALL, None) == thing.score > 0.9
    assert thing.score_as(BALL, RED) > 0.9
    assert thing.score_as(BALL, BLUE) < 0.1


def test_thing_of_another_noun_scores_nothing() -> None:
    thing = Thing(noun=BALL, score=0.9, box=LEFT, colours=(1.0,) * len(COLOURS))
    assert thing.score_as(BALLOON, None) == 0


def test_finder_and_namer_both_have_a_say() -> None:
    nouns, colours = torch.zeros(1, len(NOUNS)), torch.zeros(1, len(COLOURS))
    nouns[0, BALLOON], colours[0, BLUE] = 8, 8
    found = Candidates(torch.ones(1), torch.tensor([LEFT]), nouns, colours)
    seen = torch.zeros(1, len(NOUNS) + 1), torch.zeros(1, len(COLOURS)), torch.zeros(1, 4)
    seen[0][0, BALL], seen[1][0, RED] = 1, 1
    (thing,) = named(found, Names(*seen))
    assert thing.noun == BALLOON
    assert thing.colours[BLUE] > thing.colours[RED] > thing.colours[COLOURS.index("green")]


def test_box_is_mended_in_its_own_sides_and_ends_at_the_border() -> None:
    shifts = torch.tensor([[0.5, -0.25, 0.0, 0.5], [0.0, 0.0, 2.0, 0.0]])
    boxes = mended(torch.tensor([LEFT, RIGHT]), shifts)
    assert [rounded(tuple(box)) for box in boxes.tolist()] == [
        (0.25, 0.0, 0.4, 0.7),
        (0.6, 0.1, 1.0, 0.5),
    ]


# Pictures


@pytest.mark.parametrize("size", [(1, 1), (2, 5000), (IMAGE_SIZE, IMAGE_SIZE), (360, 640)], ids=str)
def test_every_image_is_squeezed_into_the_square(size: tuple[int, int]) -> None:
    square = resized(np.full((*size, 3), 77, np.uint8))
    assert square.shape == (IMAGE_SIZE, IMAGE_SIZE, 3)
    assert (square == 77).all()


@pytest.mark.parametrize(
    "box",
    [
        pytest.param((0.0, 0.0, 1.0, 1.0), id="whole image"),
        pytest.param((0.999, 0.999, 1.0, 1.0), id="last pixel"),
        pytest.param((0.5, 0.5, 0.5001, 0.5001), id="less than a pixel"),
    ],
)
def test_every_box_can_be_cut_out(box: Edges) -> None:
    image = np.random.default_rng(0).integers(0, 256, (IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    assert crop(image, box).shape == (CROP_SIZE, CROP_SIZE, 3)


def test_crop_shows_its_box_and_a_little_around_it() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    image[20:60, 30:50] = 200
    cut = crop(image, (0.3, 0.2, 0.5, 0.6))
    assert (cut[10:38, 10:38] == 200).all()
    assert (cut[:7] == 0).all()
    assert (cut[:, -7:] == 0).all()


def test_weights_stay_small() -> None:
    values = WordsNetwork().state_dict().values()
    assert 2 * sum(value.numel() for value in values) < 12e6
