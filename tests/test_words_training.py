"""How pocket's words are trained: drawn things and scenes, targets, losses, the loop, the score."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from sam_video.checkpoints.catalogue import resolve_checkpoint
from sam_video.detection.pocket_words import PocketWords
from sam_video.detection.vocabulary import COLOURS, NOUNS
from sam_video.detection.words_finder import GRID, IMAGE_SIZE, CellOutputs
from sam_video.detection.words_namer import CROP_SIZE, NO_NOUN, Namer
from sam_video.detection.words_network import Thing
from training.photos import IGNORE, PhotoLibrary
from training.words import pen
from training.words.crops import CropBatches, cut
from training.words.losses import box_overlaps, compare_cells, finder_losses, namer_losses
from training.words.overlaps import overlap
from training.words.scenes import Painter, Scene, draw_any, draw_crowd, draw_scene
from training.words.score import Scores, held_out_scenes
from training.words.score import main as score_main
from training.words.targets import NOTHING, PHOTO, UNKNOWN, SceneBatch, SceneBatches, collate
from training.words.things import draw_thing
from training.words.train import build_finder, main
from training.words.trainer import Trainer

PHOTOS = Path(__file__).parents[2] / "shared" / "data" / "pocket-train"
needs_photos = pytest.mark.skipif(not PHOTOS.exists(), reason="the photos are not here")


def scene(seed: int = 0) -> Scene:
    return draw_scene(np.random.default_rng(seed))


def crowd(seed: int = 0) -> Scene:
    pool = [draw_any(np.random.default_rng([seed, index]), 64) for index in range(12)]
    return draw_crowd(np.random.default_rng(seed), pool)


def batch(*seeds: int) -> SceneBatch:
    return collate([scene(seed) for seed in seeds])


# Things


@pytest.mark.parametrize("noun", NOUNS)
def test_thing_is_drawn_within_its_square_and_nowhere_else(noun: str) -> None:
    picture, cover = draw_thing(np.random.default_rng(0), noun, "red", 96)
    assert picture.shape == (96, 96, 3)
    assert 0.05 < cover.mean() < 0.8
    assert set(np.unique(cover)) == {0, 1}


@pytest.mark.parametrize("colour", COLOURS)
def test_thing_has_the_colour_that_is_asked_for(colour: str) -> None:
    middles = np.array(list(pen.COLOURS.values()))
    nearest = []
    for seed in range(15):
        picture, cover = draw_thing(np.random.default_rng(seed), "heart", colour, 48)
        median = np.median(picture[cover > 0], axis=0)
        nearest.append(COLOURS[int(np.abs(middles - median).sum(axis=1).argmin())])
    assert nearest.count(colour) > 7


# Scenes


def test_equal_seeds_draw_equal_scenes() -> None:
    cv2.setRNGSeed(int(np.random.default_rng().integers(1 << 30)))  # must not matter
    first, again, other = scene(5), scene(5), scene(6)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.labels, again.labels)
    assert first.things == again.things
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize(
    "drawn",
    [
        *(pytest.param(partial(scene, seed), id=f"scene {seed}") for seed in range(6)),
        *(pytest.param(partial(crowd, seed), id=f"crowd {seed}") for seed in range(3)),
    ],
)
def test_box_of_a_thing_is_around_what_is_seen_of_it(drawn: Callable[[], Scene]) -> None:
    assert_boxes_are_tight(drawn())


def assert_boxes_are_tight(drawn: Scene) -> None:
    assert drawn.image.shape == (IMAGE_SIZE, IMAGE_SIZE, 3)
    for thing in drawn.things:
        rows, columns = np.nonzero(drawn.labels == thing.label)
        edges = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        assert np.allclose(thing.box, np.array(edges) / IMAGE_SIZE)


def test_crowd_shows_most_things_of_its_grid() -> None:
    counts = [len(crowd(seed).things) for seed in range(5)]
    assert min(counts) > 5
    assert max(counts) <= 25


def test_labels_are_where_the_picture_changes() -> None:
    grey = np.full((IMAGE_SIZE, IMAGE_SIZE, 3), 128, np.uint8)
    painter = Painter(np.random.default_rng(0), grey.copy(), aspect=1.5)
    picture, cover = draw_thing(np.random.default_rng(0), "star", "red", 96)
    area = painter.paste(picture, cover, 7, size=80, centre=np.array([90.0, 100.0]), tilt=0.3)
    changed = (painter.image != grey).any(axis=2)
    labelled = painter.labels == 7
    assert (changed & labelled).sum() == labelled.sum()
    assert (changed & ~labelled).sum() < 0.15 * labelled.sum()
    assert area == pytest.approx(labelled.sum(), rel=0.03)


def test_area_of_a_thing_counts_what_the_frame_cuts_off() -> None:
    grey = np.full((IMAGE_SIZE, IMAGE_SIZE, 3), 128, np.uint8)
    areas, seen = [], []
    for x in (96.0, 0.0):
        painter = Painter(np.random.default_rng(0), grey.copy(), aspect=1.0)
        picture, cover = draw_thing(np.random.default_rng(0), "ball", "red", 96)
        areas.append(painter.paste(picture, cover, 1, size=60, centre=np.array([x, 96.0])))
        seen.append(int((painter.labels == 1).sum()))
    assert areas[0] == areas[1]
    assert seen[1] == pytest.approx(seen[0] / 2, rel=0.05)


def test_thing_that_is_hardly_seen_is_neither_there_nor_absent() -> None:
    drawn = [scene(seed) for seed in range(40)]
    hidden = [s for s in drawn if (s.labels == IGNORE).any()]
    assert hidden
    for one in hidden:
        assert IGNORE not in {thing.label for thing in one.things}
        cells = (one.labels == IGNORE).reshape(GRID, 8, GRID, 8).mean((1, 3))
        nouns = collate([one]).nouns[0].numpy()
        assert not (nouns[cells > 0.9] == NOTHING).any()


@needs_photos
def test_photos_are_backgrounds_of_some_scenes() -> None:
    photos = PhotoLibrary(PHOTOS)
    drawn = [draw_scene(np.random.default_rng(seed), photos) for seed in range(40)]
    assert 0 < sum(one.is_photo for one in drawn) < 20
    assert (collate([one for one in drawn if one.is_photo]).nouns == PHOTO).any()


# Targets


@pytest.mark.parametrize("seed", range(6))
def test_every_thing_has_cells_of_its_noun_colour_and_box(seed: int) -> None:
    drawn = scene(seed)
    targets = collate([drawn])
    for thing in drawn.things:
        box = torch.tensor(thing.box)
        cells = (targets.boxes[0] == box).all(dim=2) & (targets.nouns[0] == thing.noun)
        assert cells.any() or is_covered(targets, thing.box)
        assert (targets.colours[0][cells] == thing.colour).all()


def is_covered(targets: SceneBatch, box: tuple[float, ...]) -> bool:
    """Tell whether smaller things took all the cells of a box."""
    left, top, right, bottom = (round(value * GRID) for value in box)
    inside = targets.nouns[0, top : max(bottom, top + 1), left : max(right, left + 1)]
    return bool((inside != NOTHING).any())


def test_cells_beside_things_have_no_noun() -> None:
    drawn = scene(3)
    empty = (drawn.labels == 0).reshape(GRID, 8, GRID, 8).all((1, 3))
    assert empty.any()
    assert set(collate([drawn]).nouns[0].numpy()[empty]) == {NOTHING}


def test_batches_follow_from_seed_and_step() -> None:
    first, again, other = (
        SceneBatches(None, scenes=2, seed=seed, steps=4)[3] for seed in (1, 1, 2)
    )
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.nouns, again.nouns)
    assert not torch.equal(first.images, other.images)


def test_batches_end_with_the_run() -> None:
    batches = SceneBatches(None, scenes=1, seed=0, steps=2)
    assert len(batches) == 2
    with pytest.raises(IndexError):
        batches[2]


# Crops


def test_crops_of_things_have_their_noun_and_colour() -> None:
    drawn = crowd()
    crops = cut(np.random.default_rng(0), [drawn])
    things = crops.nouns != NO_NOUN
    assert crops.crops.shape[1:] == (CROP_SIZE, CROP_SIZE, 3)
    assert int(things.sum()) == 2 * len(drawn.things)
    expected = {(thing.noun, thing.colour) for thing in drawn.things}
    pairs = zip(crops.nouns[things].tolist(), crops.colours[things].tolist(), strict=True)
    assert set(pairs) == expected
    for box, thing in zip(crops.boxes[things], crops.things[things], strict=True):
        assert overlap(tuple(box.tolist()), tuple(thing.tolist())) > 0.2


def test_crops_of_nothing_show_no_whole_thing() -> None:
    empty = next(drawn for drawn in map(scene, range(60)) if not (drawn.labels > 0).any())
    crops = cut(np.random.default_rng(0), [empty])
    assert len(crops.nouns) > 0
    assert (crops.nouns == NO_NOUN).all()


def test_batches_of_crops_follow_from_seed_and_step() -> None:
    first, again = (CropBatches(SceneBatches(None, scenes=1, seed=1, steps=4))[2] for _ in range(2))
    assert torch.equal(first.crops, again.crops)
    assert torch.equal(first.nouns, again.nouns)


# Losses


def perfect(targets: SceneBatch) -> CellOutputs:
    """Return the outputs of a network that knows everything."""
    count = len(targets.nouns)
    nouns = torch.full((count, len(NOUNS), GRID, GRID), -12.0)
    colours = torch.full((count, len(COLOURS), GRID, GRID), -12.0)
    places = (targets.nouns >= 0).nonzero(as_tuple=True)
    scene_index, row, column = places
    nouns[scene_index, targets.nouns[places], row, column] = 12
    colours[scene_index, targets.colours[places], row, column] = 12
    quality = torch.full((count, 1, GRID, GRID), 12.0)
    return CellOutputs(nouns, colours, targets.boxes.permute(0, 3, 1, 2), quality)


def test_perfect_outputs_cost_nothing() -> None:
    targets = batch(0, 1, 2)
    assert float(compare_cells(perfect(targets), targets).total()) < 1e-3


@pytest.mark.parametrize("part", CellOutputs._fields)
def test_each_wrong_output_costs_something(part: str) -> None:
    targets = batch(0, 1, 2)
    right = perfect(targets)
    wrong = right._replace(**{part: getattr(right, part).roll(5, dims=2).roll(1, dims=1)})
    if part == "quality":
        wrong = right._replace(quality=-right.quality)
    assert float(compare_cells(wrong, targets).total()) > 0.1


def test_nobody_learns_from_what_is_unknown() -> None:
    targets = batch(0, 1)
    unknown = (targets.nouns == UNKNOWN)[:, None]
    right = perfect(targets)
    wrong = right._replace(nouns=torch.where(unknown, 12.0, right.nouns))
    assert unknown.any()
    assert float(compare_cells(wrong, targets).nouns) == float(compare_cells(right, targets).nouns)


def test_photo_teaches_only_the_absence_of_what_it_cannot_show() -> None:
    targets = batch(0)
    targets = replace(targets, nouns=torch.full_like(targets.nouns, PHOTO))
    right = perfect(targets)
    tree, ball = (right.nouns.clone() for _ in range(2))
    tree[:, NOUNS.index("tree")] = 12
    ball[:, NOUNS.index("ball")] = 12
    assert float(compare_cells(right._replace(nouns=tree), targets).nouns) < 1e-3
    assert float(compare_cells(right._replace(nouns=ball), targets).nouns) > 1


def test_overlaps_of_boxes() -> None:
    boxes = torch.tensor([[0.0, 0, 2, 2], [0, 0, 1, 1], [0, 0, 1, 1]])
    others = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 1], [2, 0, 3, 1]])
    generalised, overlaps = box_overlaps(boxes, others)
    assert overlaps.tolist() == pytest.approx([1, 0.5, 0])
    assert generalised.tolist() == pytest.approx([1, 0.5, -1 / 3], abs=1e-6)


# The loop


def trainer() -> Trainer:
    torch.manual_seed(0)
    finder = build_finder(resolve_checkpoint("pocket"))
    return Trainer(
        finder, finder_losses, learning_rate=2e-3, decay=0.9, groups=[(finder.trunk, 0.5)]
    )


def namer_trainer() -> Trainer:
    torch.manual_seed(0)
    return Trainer(Namer(), namer_losses, learning_rate=2e-3, decay=0.9)


def test_a_few_steps_on_two_scenes_teach_the_finder() -> None:
    learner, targets = trainer(), batch(0, 1)
    sums = [sum(learner.learn(targets, progress=0.1).values()) for _ in range(6)]
    assert sums[-1] < 0.8 * sums[0]


def test_a_few_steps_on_one_crowd_teach_the_namer() -> None:
    learner, crops = namer_trainer(), cut(np.random.default_rng(0), [crowd()])
    sums = [sum(learner.learn(crops, progress=0.1).values()) for _ in range(10)]
    assert sums[-1] < 0.7 * sums[0]


def test_resumed_training_goes_on_exactly() -> None:
    targets = batch(0)
    first, second = trainer(), trainer()
    first.learn(targets, progress=0.1)
    second.restore(deepcopy(first.state()))
    assert first.learn(targets, progress=0.2) == second.learn(targets, progress=0.2)
    assert first.step == second.step == 2
    for name, value in first.average.items():
        assert torch.equal(value, second.average[name])


def test_first_layers_stay_as_they_are() -> None:
    learner = trainer()
    before = {name: value.clone() for name, value in learner.network.state_dict().items()}
    learner.learn(batch(0), progress=0.5)
    after = learner.network.state_dict()
    assert torch.equal(before["trunk.stem.conv1.weight"], after["trunk.stem.conv1.weight"])
    for name in ("trunk.stages.2.0.expand_conv.weight", "noun_head.weight"):
        assert not torch.equal(before[name], after[name])


def test_commands_write_weights_that_the_detector_loads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--out", str(tmp_path), "--scenes", "1", "--steps", "2"]
    main([*options, "--part", "finder", "--weights", str(resolve_checkpoint("pocket"))])
    finder = tmp_path / "finder.safetensors"
    before = finder.read_bytes()
    main([*options, "--part", "finder", "--weights", str(finder), "--resume"])  # all is done
    assert finder.read_bytes() == before
    (tmp_path / "last.pt").unlink()
    main([*options, "--part", "namer"])
    parts = [str(finder), str(tmp_path / "namer.safetensors")]
    joined = tmp_path / "words.safetensors"
    score_main([*parts, "--scenes", "2", "--out", str(joined)])
    assert "mean AP50 " in capsys.readouterr().out
    words = PocketWords(joined, torch.device("cpu"))
    words.detect(scene().image, ["ball"], 0.5)


# The score


def things_of(drawn: Scene) -> list[Thing]:
    return [
        Thing(t.noun, 0.9, t.box, tuple(float(i == t.colour) for i in range(len(COLOURS))))
        for t in drawn.things
    ]


def test_finding_everything_scores_one() -> None:
    drawn = [scene(seed) for seed in range(10)]
    scores = Scores(drawn, [things_of(one) for one in drawn])
    assert scores.mean_average_precision() == pytest.approx(1)
    assert scores.precision_and_recall(0.5) == (1, 1)
    assert scores.absent_share(0.5) == 0
    assert scores.colour_share(0.5) == 1
    assert scores.mean_overlap(0.5) == pytest.approx(1)


def test_finding_nothing_scores_nothing() -> None:
    drawn = [scene(seed) for seed in range(10)]
    scores = Scores(drawn, [[] for _ in drawn])
    assert scores.mean_average_precision() == 0
    assert scores.precision_and_recall(0.5) == (0, 0)


def test_second_box_on_a_thing_and_a_wrong_noun_are_false_alarms() -> None:
    drawn = next(one for one in map(scene, range(20)) if len(one.things) == 1)
    (right,) = things_of(drawn)
    absent = next(noun for noun in range(len(NOUNS)) if noun != right.noun)
    wrong = replace(right, noun=absent)
    scores = Scores([drawn], [[right, right, wrong]])
    precision, recall = scores.precision_and_recall(0.5)
    assert (precision, recall) == pytest.approx((1 / 3, 1))
    assert scores.absent_share(0.5) == pytest.approx(1 / (len(NOUNS) - 1))


def test_box_elsewhere_is_a_false_alarm() -> None:
    assert overlap((0, 0, 1, 1), (0, 0, 0.5, 1)) == 0.5
    assert overlap((0, 0, 0.4, 1), (0.6, 0, 1, 1)) == 0


def test_held_out_scenes_are_always_the_same() -> None:
    first, again = (held_out_scenes(2) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.image, b.image)
