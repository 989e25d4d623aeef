"""Composed clips, prompts, losses and the training loop, on drawn shapes; some on photos."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sam2.modeling.sam2_base import SAM2Base

from sam_video import Click, ObjectPrompt, segment_video
from sam_video.checkpoints.catalogue import resolve_checkpoint
from sam_video.model.load import build_network, load_weights
from sam_video.model.sam2 import SegmentationModel
from sam_video.video.frame_list import FrameList
from training.batches import ClipBatches, ClipShape, collate
from training.compose import Clip, compose_clip
from training.layers import Layer, fill, paint_frame
from training.losses import MASK_SIDE, Targets, decoder_loss, dice_loss, focal_loss, make_targets
from training.mixture import Mixture
from training.motion import Placement, smooth_walk
from training.photos import PhotoLibrary
from training.prompts import PromptPlan, box_around, click_inside, correct, several_clicks
from training.score import score_network
from training.stages import STAGES
from training.train import Trainer, learning_rate_factor, main
from training.unroll import Unroll

PHOTOS = Path(__file__).parents[2] / "shared" / "data" / "pocket-train"
needs_photos = pytest.mark.skipif(not PHOTOS.exists(), reason="the photos are not here")
SIZE = build_network("pocket").image_size


def drawn_clip(seed: int = 0, length: int = 1) -> Clip:
    return compose_clip(np.random.default_rng(seed), None, length=length, size=SIZE)


def trained_network() -> SAM2Base:
    network = build_network("pocket")
    load_weights(network, resolve_checkpoint("pocket"))
    return network


# Composition


@pytest.mark.parametrize(
    "library",
    [
        pytest.param(lambda: None, id="drawn shapes"),
        pytest.param(lambda: PhotoLibrary(PHOTOS), id="photos", marks=needs_photos),
    ],
)
def test_equal_seeds_compose_equal_clips(library: Callable[[], PhotoLibrary | None]) -> None:
    first, again, other = (
        compose_clip(np.random.default_rng(seed), library(), length=3, size=SIZE)
        for seed in (5, 5, 6)
    )
    assert (first.images == again.images).all()
    assert (first.labels == again.labels).all()
    assert first.targets == again.targets
    assert (first.images != other.images).any()


def test_targets_are_visible_on_the_first_frame() -> None:
    for seed in range(10):
        clip = drawn_clip(seed, length=2)
        assert clip.images.shape == (2, SIZE, SIZE, 3)
        assert clip.targets
        assert all((clip.labels[0] == label).sum() > 100 for label in clip.targets)


def test_a_filled_hole_looks_like_what_is_around_it() -> None:
    image = np.full((60, 80, 3), (20, 150, 40), dtype=np.uint8)
    hole = np.zeros((60, 80), dtype=np.uint8)
    hole[20:40, 30:55] = 1
    image[hole > 0] = (200, 0, 0)
    filled = fill(image, hole).astype(int)
    assert abs(filled - (20, 150, 40)).max() <= 3


def test_labels_follow_an_object_that_moves_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    background = np.full((150, 200, 3), (20, 150, 40), dtype=np.uint8)
    image = background.copy()
    labels = np.zeros((150, 200), dtype=np.uint8)
    labels[60:110, 70:130] = 1
    image[labels > 0] = (200, 30, 30)
    pictures = {
        "set/images/1.jpg": image,
        "set/masks/1.png": labels,
        "backgrounds/images/1.jpg": background,
    }
    for name, picture in pictures.items():
        (tmp_path / name).parent.mkdir(parents=True)
        Image.fromarray(picture).save(tmp_path / name)
    monkeypatch.setattr("training.compose._FREE_SHARE", 1.0)
    clips = [
        compose_clip(np.random.default_rng(seed), PhotoLibrary(tmp_path), length=4, size=96)
        for seed in range(12)
    ]
    for clip in clips:
        for frame, label_map in zip(clip.images.astype(int), clip.labels, strict=True):
            is_red = frame[..., 0] > frame[..., 1]
            is_known = label_map != 255
            is_object = (label_map > 0) & is_known
            assert (is_red != is_object)[is_known].mean() < 0.05


def still(offset: tuple[float, float], frames: int = 2) -> Placement:
    """Show a layer unscaled, `offset` pixels from the left and the top, one more every frame."""
    shift = np.arange(frames)[:, None] + np.array(offset)
    zeros = np.zeros(frames)
    return Placement(np.zeros((frames, 2)), shift, np.ones((frames, 2)), zeros, zeros)


def test_a_pasted_object_is_labelled_where_it_is_painted() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    red = np.full((20, 20, 3), (255, 0, 0), np.uint8)
    base = Layer(grey, np.zeros((64, 64), np.uint8), still((0, 0)))
    sprite = Layer(red, np.full((20, 20), 7, np.uint8), still((10, 30)))
    image, labels = paint_frame([base, sprite], 1, 64)
    inside = np.s_[32:50, 12:30]  # one pixel of the edge is blended
    assert (labels[inside] == 7).all()
    assert (image[inside] == (255, 0, 0)).all()
    assert abs(int((labels == 7).sum()) - 20 * 20) < 40
    assert (image[labels == 0][:, 1] >= 64).all()


def test_an_object_in_front_hides_the_one_behind() -> None:
    plain = np.full((64, 64, 3), 128, np.uint8)
    cover = np.ones((20, 20), np.uint8)
    layers = [Layer(plain, np.zeros((64, 64), np.uint8), still((0, 0)))]
    layers += [Layer(plain[:20, :20], cover * label, still((10, 10))) for label in (1, 2)]
    _, labels = paint_frame(layers, 0, 64)
    assert set(np.unique(labels)) == {0, 2}


def test_nobody_knows_what_lies_beyond_the_base() -> None:
    base = Layer(np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32), np.uint8), still((0, 0)))
    _, labels = paint_frame([base], 0, 64)
    assert (labels[:31, :31] == 0).all()
    assert (labels[33:, 33:] == 255).all()


def test_paths_begin_where_they_are_placed() -> None:
    walk = smooth_walk(np.random.default_rng(1), 9, reach=10.0)
    assert walk[0] == 0
    assert np.abs(walk).max() > 0


def test_a_library_without_photos_fails(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no SET/images/ID.jpg"):
        PhotoLibrary(tmp_path)


@needs_photos
def test_held_out_photos_are_not_learned_from() -> None:
    learned, held_out = PhotoLibrary(PHOTOS), PhotoLibrary(PHOTOS, is_held_out=True)
    assert not set(learned.labelled) & set(held_out.labelled)
    assert len(learned.labelled) > 10 * len(held_out.labelled)


# Prompts


def one_mask() -> torch.Tensor:
    mask = torch.zeros(1, SIZE, SIZE, dtype=torch.bool)
    mask[0, 100:140, 60:160] = True
    return mask


def test_clicks_lie_well_inside_and_not_always_in_the_middle() -> None:
    rng = np.random.default_rng(0)
    points = torch.cat([click_inside(rng, one_mask()).coordinates[0] for _ in range(50)])
    assert (points[:, 0] > 62).all() and (points[:, 0] < 158).all()
    assert (points[:, 1] > 102).all() and (points[:, 1] < 138).all()
    assert points[:, 0].std() > 10


def test_several_clicks_are_labelled_by_where_they_lie() -> None:
    rng, mask = np.random.default_rng(0), one_mask()
    labels = []
    for _ in range(10):
        points = several_clicks(rng, mask, 4)
        x, y = points.coordinates[0].long().T
        assert (mask[0, y, x].int() == points.labels[0]).all()
        labels += points.labels[0].tolist()
    assert set(labels) == {0, 1}


def test_boxes_are_tight_or_a_tenth_careless() -> None:
    rng = np.random.default_rng(0)
    boxes = torch.stack([box_around(rng, one_mask()).coordinates[0].flatten() for _ in range(40)])
    slips = (boxes - torch.tensor([60.0, 100, 160, 140])).abs()
    assert (slips <= torch.tensor([10.0, 4, 10, 4])).all()
    assert (slips == 0).all(dim=1).any()
    assert (slips > 0).any()


def test_a_correction_lands_in_the_larger_error() -> None:
    rng, mask = np.random.default_rng(0), one_mask()
    missed = mask.clone()
    missed[:, :, 120:] = False
    points = correct(rng, mask, missed)
    assert points.labels.item() == 1
    assert points.coordinates[0, 0, 0] > 120
    too_much = mask.clone()
    too_much[:, 180:240, 100:200] = True
    points = correct(rng, mask, too_much)
    assert points.labels.item() == 0
    assert points.coordinates[0, 0, 1] > 180


# Losses


def targets(truth: float, *, known: float = 1.0, is_visible: bool = True) -> Targets:
    shape = (1, MASK_SIDE, MASK_SIDE)
    return Targets(torch.full(shape, truth), torch.full(shape, known), torch.tensor([is_visible]))


def gradient(values: torch.Tensor) -> torch.Tensor:
    assert values.grad is not None
    return values.grad


def logits(*values: float) -> torch.Tensor:
    return torch.stack([torch.full((MASK_SIDE, MASK_SIDE), value) for value in values])[None]


def test_focal_loss_is_that_of_the_paper() -> None:
    # p = 0.5 on an object: 0.25 * (1 - p)^2 * -ln(p); on background the factor is 0.75.
    on_object = focal_loss(logits(0.0), targets(1.0)).item()
    on_background = focal_loss(logits(0.0), targets(0.0)).item()
    assert on_object == pytest.approx(0.25 * 0.25 * np.log(2))
    assert on_background == pytest.approx(0.75 * 0.25 * np.log(2))


def test_dice_loss_counts_shares() -> None:
    # Probability 0.5 on all of an object: 2 * 0.5 / (0.5 + 1) = 2/3.
    assert dice_loss(logits(0.0), targets(1.0)).item() == pytest.approx(1 / 3, abs=1e-4)
    assert dice_loss(logits(30.0), targets(1.0)).item() == pytest.approx(0, abs=1e-4)


def test_unknown_pixels_cost_nothing() -> None:
    assert focal_loss(logits(5.0), targets(0.0, known=0.0)).item() == 0
    assert dice_loss(logits(5.0), targets(0.0, known=0.0)).item() == 0


@pytest.mark.parametrize(
    ("is_ambiguous", "learning"),
    [
        pytest.param(True, [False, False, True, False], id="one click: the best of three"),
        pytest.param(False, [True, False, True, False], id="else the single mask, too"),
    ],
)
def test_only_the_best_candidate_learns(is_ambiguous: bool, learning: list[bool]) -> None:
    masks = logits(-1.0, -2.0, 1.0, -3.0).requires_grad_()
    ious, score = torch.full((1, 4), 0.5), torch.zeros(1, 1)
    decoder_loss(masks, ious, score, targets(1.0), is_ambiguous=is_ambiguous).backward()
    assert [bool(mask.abs().sum() > 0) for mask in gradient(masks)[0]] == learning


def test_of_an_absent_object_only_the_score_learns_and_twofold() -> None:
    masks = logits(1.0, 1.0, 1.0, 1.0).requires_grad_()
    absent = targets(0.0, is_visible=False)
    score = torch.zeros(1, 1)
    loss = decoder_loss(masks, torch.full((1, 4), 0.5), score, absent, is_ambiguous=False)
    loss.backward()
    assert loss.item() == pytest.approx(2 * np.log(2))
    assert not gradient(masks).any()


def test_targets_are_shares_of_cells() -> None:
    rows_per_cell = SIZE // MASK_SIDE
    mask = torch.zeros(1, SIZE, SIZE, dtype=torch.bool)
    mask[:, : rows_per_cell + 1] = True
    made = make_targets(mask, torch.ones_like(mask))
    assert made.masks[0, :3, 0].tolist() == pytest.approx([1.0, 1 / rows_per_cell, 0.0])
    assert made.is_visible.tolist() == [True]


# Tracking and the loop


@pytest.mark.parametrize("kind", ["click", "mask"])
def test_unrolling_tracks_as_the_tracker_does(kind: str) -> None:
    # 17 frames: the tracker counts pointers' distances over 16 frames, or the video's fewer.
    clip = drawn_clip(3, length=17)
    batch = collate([Clip(clip.images, clip.labels, clip.targets[:1])])
    network = trained_network()
    unroll = Unroll(network, batch, PromptPlan(kind), np.random.default_rng(1))
    with torch.no_grad():
        unroll.loss()
    point = click_inside(np.random.default_rng(1), batch.masks[:, 0]).coordinates[0, 0]
    clicks = (Click(*point.tolist()),)
    prompt = (
        ObjectPrompt("1", 0, clicks=clicks)
        if kind == "click"
        else ObjectPrompt("1", 0, mask=batch.masks[0, 0].numpy())
    )
    model = SegmentationModel(network, device=torch.device("cpu"), dtype=torch.float32)
    tracked = segment_video(FrameList(list(clip.images)), [prompt], model=model)
    for ours, frame in zip(unroll.masks, itertools.islice(tracked, 17), strict=True):
        mask = unroll._enlarge(ours)[0, 0] > 0
        theirs = torch.from_numpy(frame.objects[0].mask)
        differing = (mask != theirs).sum()
        assert differing <= 0.01 * theirs.sum().clamp(min=1000)


def test_learning_lowers_the_loss_of_a_fixed_batch() -> None:
    network = trained_network()
    shape = ClipShape(clips=1, length=2)
    batch = collate([drawn_clip(2, length=2)])
    trainer = Trainer(network, STAGES["clips"], seed=0)

    def loss() -> float:
        with torch.no_grad():
            rng = np.random.default_rng(0)
            return float(Unroll(network, batch, PromptPlan("box"), rng).loss())

    before = loss()
    for _ in range(4):
        trainer.learn(batch, shape, progress=0.1)
    assert loss() < before


def test_a_resumed_run_continues_exactly(tmp_path: Path) -> None:
    shape = ClipShape(clips=1, length=1)
    batches = ClipBatches(Mixture(), (shape,), seed=3, rank=0, steps=3, size=SIZE)
    through = Trainer(trained_network(), STAGES["stills"], seed=3)
    for step in range(3):
        through.learn(*batches[step], progress=step / 3)
        if step == 0:
            torch.save(through.state(), tmp_path / "state.pt")
    resumed = Trainer(build_network("pocket"), STAGES["stills"], seed=3)
    resumed.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    for step in range(1, 3):
        resumed.learn(*batches[step], progress=step / 3)
    for name, value in through.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
        assert torch.equal(through.average[name], resumed.average[name]), name


def test_burnt_in_frames_are_tracked_but_not_learned_from() -> None:
    batch = collate([drawn_clip(2, length=3)])
    network = trained_network()
    unroll = Unroll(network, batch, PromptPlan("box"), np.random.default_rng(0))
    unroll.loss(burn_in=2).backward()
    assert len(unroll.masks) == 3
    # Memories were made without gradients, so nothing reaches the memory encoder.
    assert all(p.grad is None for p in network.memory_encoder.parameters())
    assert any(p.grad is not None for p in network.memory_attention.parameters())


def test_the_learning_rate_warms_up_and_anneals() -> None:
    factors = [learning_rate_factor(progress, 0.1) for progress in (0.05, 0.1, 0.55, 1.0)]
    assert factors == pytest.approx([0.5, 1.0, 0.5, 0.0])


def test_a_larger_machine_gets_larger_batches() -> None:
    stage = STAGES["clips"].scaled(8, None)
    assert [shape.clips for shape in stage.shapes] == [8 * s.clips for s in STAGES["clips"].shapes]
    assert stage.learning_rate == STAGES["clips"].learning_rate


def test_the_command_writes_weights_that_load(tmp_path: Path) -> None:
    command = ["--stage", "stills", "--steps", "1", "--score-clips", "0", "--out", str(tmp_path)]
    main(command)
    load_weights(build_network("pocket"), tmp_path / "pocket.safetensors")
    weights = load_file(tmp_path / "pocket.safetensors")
    assert all(w.dtype == torch.float16 for w in weights.values() if w.is_floating_point())
    main([*command, "--resume"])  # has nothing left to do


def test_the_held_out_score_is_a_mean_iou() -> None:
    scores = score_network(trained_network(), None, clips=1)
    assert list(scores) == [
        "first frame by click",
        "later by click",
        "first frame by box",
        "later by box",
        "later by mask",
    ]
    assert all(0 <= score <= 1 for score in scores.values())
