"""What a scripted detector finds, tracked by the bundled checkpoint: masks against known ones."""

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from sam_video.detection.interface import Detection
from sam_video.detection.query import TextQuery
from sam_video.model.interface import Model
from sam_video.model.load import load_model
from sam_video.service.pipeline import segment_video
from sam_video.types import BoolMask, Box, Click, MaskFrame, ObjectPrompt, RGBImage
from sam_video.video.frame_list import FrameList
from tests.clips import draw_frame
from tests.detection.scripted import ScriptedDetector

SIZE = W, H = 192, 128
LATE_COLOUR = (20, 20, 25)
ENTRY, NUM_FRAMES = 4, 11


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("pocket")


def draw(index: int) -> tuple[RGBImage, dict[str, BoolMask]]:
    """Draw a disc and a rectangle; from frame `ENTRY` on a triangle comes in from the left."""
    image, masks = draw_frame(index, SIZE)
    late = np.zeros((H, W), np.uint8)
    tip = 16 * (index - ENTRY + 1)
    if index >= ENTRY:
        cv2.fillPoly(late, [np.array([(tip, 100), (tip - 48, 78), (tip - 48, 122)])], 1)
    image[late > 0] = LATE_COLOUR
    return image, masks | {"late": late > 0}


CLIP = [draw(index) for index in range(NUM_FRAMES)]


def see(image: RGBImage) -> list[Detection]:
    """Find what is drawn, by boxes that are a pixel or two off."""
    masks = next(masks for drawn, masks in CLIP if (drawn == image).all())
    found = []
    for name, score in (("disc", 0.9), ("rectangle", 0.8), ("late", 0.85)):
        if masks[name].any():
            x, y, width, height = cv2.boundingRect(masks[name].astype(np.uint8))
            box = Box(x - 1, y + 1, x + width + 2, y + height + 1)
            found.append(Detection("thing", score, box))
    return found


def video(num_frames: int = NUM_FRAMES) -> FrameList:
    return FrameList([image for image, _ in CLIP[:num_frames]])


def segment(
    model: Model, prompts: Sequence[ObjectPrompt] = (), num_frames: int = NUM_FRAMES
) -> list[MaskFrame]:
    query = TextQuery(ScriptedDetector(see), ("thing",), interval=4)
    return list(segment_video(video(num_frames), prompts, model=model, text=query))


def overlaps(frames: Sequence[MaskFrame], name: str, thing: str) -> list[float]:
    """Return the IoU of an object with a thing, on every frame that shows one of them."""
    found = []
    for masks, (_, truth) in zip(frames, CLIP, strict=False):
        (mask,) = [item.mask for item in masks.objects if item.object_id == name]
        union = mask | truth[thing]
        if union.any():
            found.append(float((mask & truth[thing]).sum() / union.sum()))
    return found


def test_things_are_followed_from_where_they_are_found(model: Model) -> None:
    frames = segment(model)
    assert {item.object_id for masks in frames for item in masks.objects} == {
        "thing_1",
        "thing_2",
        "thing_3",
    }
    for name, thing in (("thing_1", "disc"), ("thing_2", "rectangle"), ("thing_3", "late")):
        found = overlaps(frames, name, thing)
        assert min(found) > 0.8, (name, found)
    late = [item.mask for masks in frames for item in masks.objects if item.object_id == "thing_3"]
    assert not any(mask.any() for mask in late[:ENTRY])


def test_found_and_clicked_objects_have_the_masks_that_they_have_alone(model: Model) -> None:
    disc = Click(W * 0.12, H * 0.3)
    clicked = ObjectPrompt("disc", 0, (disc,))
    together = segment(model, [clicked], num_frames=4)
    alone = list(segment_video(video(4), [clicked], model=model))
    assert [item.object_id for item in together[-1].objects] == ["disc", "thing_1"]
    for one, two in zip(together, alone, strict=True):
        assert (one.objects[0].mask == two.objects[0].mask).mean() > 0.999
    assert min(overlaps(together, "thing_1", "rectangle")) > 0.8
