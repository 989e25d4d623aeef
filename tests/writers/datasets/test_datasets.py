"""Data sets, read back: masks come back as they were written, as far as formats can hold them."""

import io
import json
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from sam_video.errors import RequestError
from sam_video.types import BoolMask, MaskFrame
from sam_video.writers.datasets.coco_tracks import CocoTracksWriter
from sam_video.writers.datasets.cvat import CvatWriter
from sam_video.writers.datasets.davis import DavisWriter
from sam_video.writers.datasets.label_studio import LabelStudioWriter
from sam_video.writers.datasets.mot import mot_writer, mots_writer
from sam_video.writers.datasets.outlines import bridged, edge_outlines, pixel_outlines
from sam_video.writers.datasets.yolo import YoloWriter
from tests.mask_frames import HEIGHT, INFO, NOTHING, WIDTH, disc, mask_frame, write_all

DOG = 'dog "big" <1> 🐕'


def frames() -> list[MaskFrame]:
    """Return frames 2 to 7: the dog is hidden on frames 4 and 5, the cat gone from frame 6 on."""
    return [
        mask_frame(
            index,
            {
                DOG: NOTHING if index in (4, 5) else disc(10 + 3 * index, 20),
                "cat": NOTHING if index >= 6 else disc(40, 24, 7) | disc(55, 40, 3),
            },
        )
        for index in range(2, 8)
    ]


def true_mask(index: int, number: int) -> BoolMask:
    return frames()[index - 2].objects[number].mask


def filled(polygons: list[np.ndarray]) -> BoolMask:
    """Fill polygons as trainers do: by OpenCV, on whole pixels."""
    image = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(image, [np.round(p).astype(np.int32) for p in polygons], 1)
    return image.view(np.bool_)


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


# DAVIS


def test_davis_has_one_palette_image_per_frame_with_constant_labels(tmp_path: Path) -> None:
    assert write_all(DavisWriter(tmp_path), frames()) == [tmp_path / "davis.zip"]
    found = members(tmp_path / "davis.zip")
    names = {f"Annotations/video/{index:05d}.png" for index in range(2, 8)}
    assert set(found) == names | {"meta.json", "ImageSets/val.txt"}
    for index in range(2, 8):
        image = Image.open(io.BytesIO(found[f"Annotations/video/{index:05d}.png"]))
        assert image.mode == "P"
        assert image.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]  # type: ignore[index]
        labels = np.asarray(image)
        cat = true_mask(index, 1)
        assert np.array_equal(labels == 2, cat)
        assert np.array_equal(labels == 1, true_mask(index, 0) & ~cat)  # the later one is on top
    objects = json.loads(found["meta.json"])["videos"]["video"]["objects"]
    assert objects == {"1": {"category": DOG}, "2": {"category": "cat"}}
    assert found["ImageSets/val.txt"] == b"video\n"


def test_more_objects_than_a_byte_can_tell_apart_fail(tmp_path: Path) -> None:
    crowd = mask_frame(0, {str(number): NOTHING for number in range(254)})
    with pytest.raises(RequestError, match="export_formats has davis, which holds at most 253"):
        write_all(DavisWriter(tmp_path), [crowd])
    assert list(tmp_path.iterdir()) == []


# COCO


@pytest.mark.parametrize("as_polygons", [False, True])
def test_coco_has_tracks_that_pycocotools_reads(tmp_path: Path, as_polygons: bool) -> None:
    writer = CocoTracksWriter(tmp_path, INFO, as_polygons=as_polygons)
    assert write_all(writer, frames()) == [tmp_path / "coco_tracks.json"]
    coco = COCO(str(tmp_path / "coco_tracks.json"))
    assert [cat["name"] for cat in coco.loadCats(coco.getCatIds())] == [DOG, "cat"]
    images = coco.loadImgs(coco.getImgIds())
    assert [image["frame_id"] for image in images] == [2, 3, 4, 5, 6, 7]
    seen = set()
    for image in images:
        for entry in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])):
            truth = true_mask(image["frame_id"], entry["track_id"] - 1)
            assert np.array_equal(coco.annToMask(entry).view(np.bool_), truth)
            assert entry["iscrowd"] == 0
            assert entry["area"] == truth.sum()
            rows, columns = np.nonzero(truth)
            corner = [columns.min(), rows.min()]
            assert entry["bbox"] == [*corner, np.ptp(columns) + 1, np.ptp(rows) + 1]
            assert image["file_name"] == f"video/{image['frame_id']:05d}.jpg"
            seen.add((image["frame_id"], entry["track_id"]))
    assert seen == {(2, 1), (3, 1), (6, 1), (7, 1), (2, 2), (3, 2), (4, 2), (5, 2)}


def test_a_coco_file_of_no_frame_can_be_read(tmp_path: Path) -> None:
    write_all(CocoTracksWriter(tmp_path, INFO), [])
    assert COCO(str(tmp_path / "coco_tracks.json")).getImgIds() == []


# YOLO


def test_yolo_has_outlines_that_fill_to_the_masks(tmp_path: Path) -> None:
    write_all(YoloWriter(tmp_path, INFO, splits_parts=True), frames())
    found = members(tmp_path / "yolo.zip")
    for index in range(2, 8):
        polygons: dict[int, list[np.ndarray]] = {0: [], 1: []}
        for line in found[f"labels/video_{index:05d}.txt"].decode().splitlines():
            number, *values = line.split()
            numbers = np.array(values, float).reshape(-1, 2)
            assert len(numbers) >= 3
            assert 0 <= numbers.min() <= numbers.max() <= 1
            polygons[int(number)].append(numbers * [WIDTH, HEIGHT])
        for position, parts in polygons.items():
            assert np.array_equal(filled(parts), true_mask(index, position))
    about = yaml.safe_load(found["data.yaml"])
    assert about["names"] == {0: DOG, 1: "cat"}


def test_yolo_joins_parts_by_a_line(tmp_path: Path) -> None:
    write_all(YoloWriter(tmp_path, INFO), frames()[:1])
    lines = members(tmp_path / "yolo.zip")["labels/video_00002.txt"].decode().splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1"]
    cat = filled([np.array(lines[1].split()[1:], float).reshape(-1, 2) * [WIDTH, HEIGHT]])
    extra = cat & ~true_mask(2, 1)
    assert (cat | ~true_mask(2, 1)).all()
    assert 0 < extra.sum() < 15
    assert cv2.connectedComponents(cat.view(np.uint8))[0] == 2


def test_a_part_of_one_pixel_has_an_outline() -> None:
    mask = NOTHING.copy()
    mask[5, 7] = True
    assert np.array_equal(filled(pixel_outlines(mask)), mask)
    (edge,) = edge_outlines(mask)
    assert cv2.contourArea(edge.astype(np.float32)) > 0.2
    assert np.array_equal(bridged([edge]), edge)
    assert pixel_outlines(NOTHING) == []


# MOT and MOTS


def test_mot_has_a_line_per_box_counted_from_one(tmp_path: Path) -> None:
    assert write_all(mot_writer(tmp_path), frames()) == [tmp_path / "mot.txt"]
    lines = [line.split(",") for line in (tmp_path / "mot.txt").read_text().splitlines()]
    assert len(lines) == 8
    for frame, number, x, y, width, height, _, *rest in lines:
        rows, columns = np.nonzero(true_mask(int(frame) - 1, int(number) - 1))
        assert [int(x), int(y)] == [columns.min() + 1, rows.min() + 1]
        assert [int(width), int(height)] == [np.ptp(columns) + 1, np.ptp(rows) + 1]
        assert rest == ["-1", "-1", "-1"]


def test_mots_has_masks_that_do_not_overlap(tmp_path: Path) -> None:
    write_all(mots_writer(tmp_path), frames())
    lines = [line.split(" ") for line in (tmp_path / "mots.txt").read_text().splitlines()]
    assert len(lines) == 8
    for frame, number, category, height, width, counts in lines:
        mask = coco_mask.decode({"size": [int(height), int(width)], "counts": counts})
        dog, cat = (true_mask(int(frame) - 1, position) for position in (0, 1))
        expected = cat if number == "1002" else dog & ~cat
        assert np.array_equal(mask.view(np.bool_), expected)
        assert category == "1"


# CVAT


def test_cvat_has_one_track_per_object_that_ends_and_begins_with_it(tmp_path: Path) -> None:
    write_all(CvatWriter(tmp_path, INFO), frames())
    root = ET.parse(tmp_path / "cvat.xml").getroot()
    assert [label.text for label in root.findall("meta/task/labels/label/name")] == ["cat", DOG]
    dog, cat = root.findall("track")
    assert (dog.get("label"), cat.get("label")) == (DOG, "cat")
    assert shown(dog) == [(2, 0), (3, 0), (4, 1), (6, 0), (7, 0)]
    assert shown(cat) == [(2, 0), (3, 0), (4, 0), (5, 0), (6, 1)]
    for shape in dog.findall("polygon"):
        if shape.get("outside") == "0":
            points = [point.split(",") for point in str(shape.get("points")).split(";")]
            flat = np.array(points, float).ravel().tolist()
            (encoded,) = coco_mask.frPyObjects([flat], HEIGHT, WIDTH)
            truth = true_mask(int(str(shape.get("frame"))), 0)
            assert np.array_equal(coco_mask.decode(encoded).view(np.bool_), truth)


def shown(track: ET.Element) -> list[tuple[int, int]]:
    return [(int(s.get("frame", "")), int(s.get("outside", ""))) for s in track.findall("polygon")]


def test_names_that_xml_cannot_hold_are_replaced(tmp_path: Path) -> None:
    write_all(CvatWriter(tmp_path, INFO), [mask_frame(0, {"a\x00\ud83d&b": disc(9, 9)})])
    track = ET.parse(tmp_path / "cvat.xml").getroot().find("track")
    assert track is not None
    assert track.get("label") == "a\ufffd\ufffd&b"


# Label Studio


def test_label_studio_has_boxes_in_percent_that_end_with_the_object(tmp_path: Path) -> None:
    write_all(LabelStudioWriter(tmp_path, INFO, "clip.mp4"), frames())
    ((task,),) = [json.loads((tmp_path / "label_studio.json").read_text())]
    assert task["data"] == {"video": "clip.mp4"}
    dog, cat = task["predictions"][0]["result"]
    assert dog["value"]["labels"] == [DOG]
    sequence = dog["value"]["sequence"]
    enabled = {keyframe["frame"]: keyframe["enabled"] for keyframe in sequence}
    assert enabled == {3: True, 4: False, 7: True, 8: True}
    assert [keyframe["enabled"] for keyframe in cat["value"]["sequence"]] == [True] * 3 + [False]
    rows, columns = np.nonzero(true_mask(2, 0))
    assert sequence[0]["x"] == pytest.approx(100 * columns.min() / WIDTH, abs=1e-3)
    assert sequence[0]["height"] == pytest.approx(100 * (np.ptp(rows) + 1) / HEIGHT, abs=1e-3)
    assert sequence[0]["time"] == pytest.approx(2 / 25)
