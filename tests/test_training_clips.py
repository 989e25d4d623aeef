"""Clips of real sequences, drawn scenes and their mixture, and the score of held-out ones."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from sam2.modeling.sam2_base import SAM2Base

from sam_video import Box, FrameList, MaskFrame, ObjectMask, ObjectPrompt
from sam_video.checkpoints.catalogue import resolve_checkpoint
from sam_video.model.load import build_network, load_weights
from training import held_out
from training.batches import ClipShape, collate
from training.compose import Clip, compose_clip
from training.layers import Layer, paint_frame
from training.lighting import Lighting
from training.mixture import Mixture
from training.motion import whole_view
from training.photos import OTHER
from training.prompts import PromptPlan
from training.scenes import compose_scene, draw_post, draw_solid
from training.stages import STAGES
from training.train import Trainer
from training.unroll import Unroll
from training.videos import HELD_OUT, VideoLibrary, draw_indices

SIZE = 96
RED, GREEN = (200, 30, 30), (20, 150, 40)


def write_video(root: Path, name: str, boxes: list[tuple[int, int]], label: int = 1) -> None:
    """Write a red square on green whose corner is at `boxes` (x, y), one per frame."""
    for index, (x, y) in enumerate(boxes):
        image = np.full((120, 200, 3), GREEN, np.uint8)
        labels = np.zeros((120, 200), np.uint8)
        labels[y : y + 40, x : x + 40] = label
        image[labels > 0] = RED
        for folder, picture, kind in (("images", image, "jpg"), ("masks", labels, "png")):
            path = root / "video" / name / folder / f"{index:05d}.{kind}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path, quality=95)


@pytest.fixture
def videos(tmp_path: Path) -> VideoLibrary:
    write_video(tmp_path, "street", [(20 + 4 * t, 30 + 2 * t) for t in range(12)])
    return VideoLibrary(tmp_path)


def plain_clips(
    videos: VideoLibrary, patch: pytest.MonkeyPatch, *, length: int, twin_share: float
) -> list[Clip]:
    """Draw twelve clips with nothing pasted over them but twins, as they are before the camera."""
    for share in ("_POST_SHARE", "_SPRITE_SHARE"):
        patch.setattr(f"training.videos.{share}", 0.0)
    patch.setattr("training.videos._TWIN_SHARE", twin_share)
    patch.setattr(Lighting, "apply", lambda _, frames: frames)
    return [
        videos.draw_clip(np.random.default_rng(seed), None, length=length, size=SIZE)
        for seed in range(12)
    ]


def trained_network() -> SAM2Base:
    network = build_network("pocket")
    load_weights(network, resolve_checkpoint("pocket"))
    return network


def is_red(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    return np.asarray(image[..., 0] > image[..., 1])


# Real sequences


def test_labels_follow_the_object_of_a_sequence(
    videos: VideoLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    for clip in plain_clips(videos, monkeypatch, length=4, twin_share=0.0):
        assert clip.images.shape == (4, SIZE, SIZE, 3)
        assert clip.targets == (1,)
        is_known = clip.labels != 255
        assert (is_red(clip.images) != (clip.labels == 1))[is_known].mean() < 0.05


def test_equal_seeds_draw_equal_clips(videos: VideoLibrary) -> None:
    first, again, other = (
        videos.draw_clip(np.random.default_rng(seed), None, length=3, size=SIZE)
        for seed in (5, 5, 6)
    )
    assert np.array_equal(first.images, again.images)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.images, other.images)


def test_a_twin_looks_like_its_object_and_has_a_label_of_its_own(
    videos: VideoLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = plain_clips(videos, monkeypatch, length=2, twin_share=1.0)
    seen = [clip for clip in clips if (clip.labels == 2).sum() > 200]
    assert len(seen) >= 6
    for clip in seen:
        inside, twin = (clip.images[clip.labels == label].mean(axis=0) for label in (1, 2))
        assert np.abs(inside - twin).max() < 40


def test_frames_of_a_clip_are_evenly_spaced_in_either_direction() -> None:
    rng = np.random.default_rng(0)
    drawn = [np.diff(draw_indices(rng, 100, 8)) for _ in range(200)]
    assert all(len(set(steps)) == 1 for steps in drawn)
    assert {int(steps[0]) for steps in drawn} == {*range(-5, 0), *range(1, 6)}


@pytest.mark.parametrize("available", [1, 2, 5, 14])
def test_a_short_sequence_is_run_through_to_and_fro(available: int) -> None:
    for seed in range(20):
        indices = draw_indices(np.random.default_rng(seed), available, 20)
        assert len(indices) == 20
        assert set(indices) == set(range(available))
        assert np.abs(np.diff(indices)).max(initial=0) <= 1


def test_held_out_sequences_are_not_learned_from(tmp_path: Path) -> None:
    for name in ("street", HELD_OUT[0]):
        write_video(tmp_path, name, [(20, 30)])
    learned, kept = (VideoLibrary(tmp_path, is_held_out=is_kept) for is_kept in (False, True))
    assert [video.name for video in learned.videos] == ["street"]
    assert [video.name for video in kept.videos] == [HELD_OUT[0]]


def test_a_sequence_without_all_its_masks_fails(tmp_path: Path) -> None:
    write_video(tmp_path, "street", [(20, 30), (24, 32)])
    (tmp_path / "video/street/masks/00001.png").unlink()
    with pytest.raises(ValueError, match="has 2 images and 1 masks"):
        VideoLibrary(tmp_path)


def test_a_folder_without_sequences_fails(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="has no video/NAME/images"):
        VideoLibrary(tmp_path)


def test_a_whole_view_is_a_picture_resized() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (120, 200, 3)).astype(np.uint8)
    picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), 4), dtype=np.uint8)
    view = whole_view(1, (120, 200), SIZE)
    image, labels = paint_frame([Layer(picture, np.zeros((120, 200), np.uint8), view)], 0, SIZE)
    assert np.abs(image.astype(int) - cv2.resize(picture, (SIZE, SIZE))).max() <= 3
    assert not labels.any()


# Drawn scenes


def test_equal_seeds_compose_equal_scenes() -> None:
    first, again, other = (
        compose_scene(np.random.default_rng(seed), None, length=3, size=SIZE) for seed in (5, 5, 6)
    )
    assert np.array_equal(first.images, again.images)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.images, other.images)


def test_posts_hide_objects_and_are_never_targets() -> None:
    clips = [
        compose_scene(np.random.default_rng(seed), None, length=3, size=SIZE) for seed in range(20)
    ]
    assert sum((clip.labels == OTHER).any() for clip in clips) >= 10
    assert all(OTHER not in clip.targets for clip in clips)


def test_a_post_stands_still_in_a_still_view_or_passes() -> None:
    view = whole_view(12, (SIZE, SIZE), SIZE)
    posts = [draw_post(np.random.default_rng(seed), view, SIZE).placement for seed in range(20)]
    travels = [np.ptp(post.anchor[:, 0]) for post in posts]
    assert all(np.ptp(post.anchor[:, 1]) < 1e-6 for post in posts)
    assert min(travels) < 1e-6
    assert max(travels) > 0.1 * SIZE


def test_solids_differ_in_shape_and_have_the_colour_they_are_given() -> None:
    colour = np.array([30.0, 60.0, 220.0])
    drawn = [draw_solid(np.random.default_rng(seed), colour) for seed in range(20)]
    assert len({int(cover.sum()) for _, cover in drawn}) == 20
    blue = [image[cover > 0].astype(int) for image, cover in drawn]
    assert np.mean([(pixels[:, 2] > pixels[:, 0]).mean() for pixels in blue]) > 0.7


# The mixture


def test_clips_come_from_sequences_scenes_and_compositions(
    videos: VideoLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []

    def note(name: str) -> Any:
        def draw(*_: Any, **__: Any) -> str:
            drawn.append(name)
            return name

        return draw

    monkeypatch.setattr("training.mixture.compose_clip", note("composed"))
    monkeypatch.setattr("training.mixture.compose_scene", note("scene"))
    monkeypatch.setattr(VideoLibrary, "draw_clip", note("video"))
    rng = np.random.default_rng(0)
    for _ in range(1000):
        Mixture(None, videos).draw_clip(rng, length=8, size=SIZE)
    shares = {name: drawn.count(name) / len(drawn) for name in ("video", "composed", "scene")}
    assert shares == pytest.approx({"video": 0.45, "composed": 0.3, "scene": 0.25}, abs=0.05)
    drawn.clear()
    for _ in range(100):
        Mixture().draw_clip(rng, length=8, size=SIZE)
    assert set(drawn) == {"composed", "scene"}


def test_attention_in_bfloat16_changes_the_loss_little() -> None:
    network = trained_network()
    clip = compose_clip(np.random.default_rng(2), None, length=3, size=network.image_size)
    losses = []
    for halves in (False, True):
        rng = np.random.default_rng(0)
        unroll = Unroll(network, collate([clip]), PromptPlan("box"), rng, halves=halves)
        with torch.no_grad():
            losses.append(float(unroll.loss()))
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_an_encoder_that_is_kept_does_not_learn() -> None:
    network = trained_network()
    network.image_encoder.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    clip = compose_clip(np.random.default_rng(2), None, length=2, size=network.image_size)
    trainer = Trainer(network, STAGES["mixed"], seed=0, halves=True)
    trainer.learn(collate([clip]), ClipShape(clips=1, length=2), progress=0.1)
    after = network.state_dict()
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert any(name.startswith("memory_attention") for name in changed)
    assert not any(name.startswith("image_encoder") for name in changed)


# The held-out score


def square(x: int) -> npt.NDArray[np.bool_]:
    mask = np.zeros((60, 80), np.bool_)
    mask[20:40, x : x + 20] = True
    return mask


def test_prompts_are_taken_from_a_mask() -> None:
    click, box, mask = (held_out.make_prompt("7", square(30), kind) for kind in held_out.KINDS)
    assert square(30)[int(click.clicks[0].y), int(click.clicks[0].x)]
    assert box.box == Box(30, 20, 50, 40)
    assert np.array_equal(np.asarray(mask.mask), square(30))


def test_what_is_hidden_counts_apart_from_what_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    truths = [
        square(30),
        square(30),
        square(40),
        np.zeros_like(square(0)),
        np.zeros_like(square(0)),
    ]
    guesses = [square(30), square(30), square(30), square(30), np.zeros_like(square(0))]

    def track(
        source: FrameList, prompts: Sequence[ObjectPrompt], *, model: None
    ) -> Iterator[MaskFrame]:
        assert model is None
        for frame, mask in zip(source.frames(), guesses, strict=True):
            yield MaskFrame(frame, (ObjectMask(prompts[0].object_id, 0, mask, 0.9, 0.8),))

    monkeypatch.setattr(held_out, "segment_video", track)
    images = [np.zeros((60, 80, 3), np.uint8)] * 5
    labels = [7 * truth.astype(np.uint8) for truth in truths]
    tally = held_out.score_clip(images, labels, [7], "click", None)  # type: ignore[arg-type]
    assert tally.ious == pytest.approx([1.0, 1 / 3])
    assert tally.absent == [False, True]
    assert tally.present == [True, True]
    assert tally.confidences == [(0.8, 1.0), (0.8, pytest.approx(1 / 3))]


def test_a_sequence_is_scored_from_its_first_labelled_frame(tmp_path: Path) -> None:
    write_video(tmp_path, "street", [(20, 30), (24, 30), (28, 30)], label=5)
    Image.new("L", (200, 120)).save(tmp_path / "video/street/masks/00000.png")
    (video,) = VideoLibrary(tmp_path).videos
    images, labels, targets = held_out.read_sequence(video)
    assert len(images) == len(labels) == 2
    assert targets == [5]
