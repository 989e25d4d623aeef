"""What the sinks leave on disk, read back by other libraries than those that wrote it."""

import gc
import json
import re
import tracemalloc
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pycocotools import mask as coco

from sam_video.errors import RequestError
from sam_video.render import highlighted, render
from sam_video.types import BoolMask, Frame, MaskFrame, ObjectMask, VideoInfo
from sam_video.writers import ImageSequenceWriter, MaskVideoWriter, RleWriter, Sink

HEIGHT, WIDTH = 46, 62
INFO = VideoInfo(WIDTH, HEIGHT, Fraction(30000, 1001), num_frames=None)
NOTHING = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)


def disc(x: float, y: float, radius: float = 9) -> BoolMask:
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    mask: BoolMask = (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
    return mask


def picture() -> npt.NDArray[np.uint8]:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([rows * 4, columns * 4, 255 - rows * 2], axis=2).astype(np.uint8)


def mask_frame(index: int, masks: dict[str, BoolMask], iou: float = 0.9) -> MaskFrame:
    objects = tuple(
        ObjectMask(name, object_index, mask, object_score=1.0, predicted_iou=iou)
        for object_index, (name, mask) in enumerate(masks.items())
    )
    return MaskFrame(Frame(index, index / 25, picture()), objects)


def moving_discs(num_frames: int) -> list[MaskFrame]:
    return [
        mask_frame(index, {"dog": disc(10 + 3 * index, 20), "cat": disc(45, 30)})
        for index in range(num_frames)
    ]


def write_all(sink: Sink, frames: Iterable[MaskFrame]) -> list[Path]:
    with sink:
        paths = [path for masks in frames for path in sink.write(masks)]
        return paths + sink.finish()


def images(folder: Path, info: VideoInfo = INFO, **style: Any) -> ImageSequenceWriter:
    defaults = {"mask_type": "binary", "annotation_type": "mask", "image_format": "webp"}
    return ImageSequenceWriter(folder, info, **{**defaults, "quality": 80, **style})


def video(folder: Path, info: VideoInfo = INFO, **style: Any) -> MaskVideoWriter:
    defaults = {"mask_type": "binary", "annotation_type": "mask", "video_fps": 0}
    return MaskVideoWriter(folder, info, **{**defaults, **style})


def rles(folder: Path) -> RleWriter:
    return RleWriter(folder, INFO)


SINKS = pytest.mark.parametrize("make_sink", [images, video, rles])


# Images


@pytest.mark.parametrize("image_format", ["webp", "jpg", "png"])
def test_images_are_named_after_the_index_of_their_frame_in_the_source(
    tmp_path: Path, image_format: str
) -> None:
    masks = {"dog": disc(20, 20)}
    frames = [mask_frame(index, masks) for index in (0, 7, 123456)]
    paths = write_all(images(tmp_path, image_format=image_format), frames)
    names = ["frame_00000", "frame_00007", "frame_123456"]
    assert paths == [tmp_path / f"{name}.{image_format}" for name in names]
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_each_image_is_complete_when_write_returns_it(tmp_path: Path) -> None:
    with images(tmp_path) as sink:
        for masks in moving_discs(3):
            (path,) = sink.write(masks)
            assert Image.open(path).size == (WIDTH, HEIGHT)
        assert sink.finish() == []


@pytest.mark.parametrize("quality", [0, 50, 100])
@pytest.mark.parametrize(("image_format", "mode"), [("webp", "RGB"), ("png", "L")])
def test_binary_images_are_exactly_0_and_255_at_any_quality(
    tmp_path: Path, image_format: str, mode: str, quality: int
) -> None:
    ragged = np.random.default_rng(0).random((HEIGHT, WIDTH)) > 0.5
    frame = mask_frame(0, {"dog": ragged, "cat": disc(20, 20)})
    (path,) = write_all(images(tmp_path, image_format=image_format, quality=quality), [frame])
    expected = np.where(ragged | disc(20, 20), 255, 0)
    image = Image.open(path)
    assert image.mode == mode
    assert np.array_equal(np.asarray(image.convert("L")), expected)
    read = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert read is not None
    assert np.array_equal(read, expected)


def test_binary_jpg_has_one_channel_and_keeps_the_mask_when_thresholded(tmp_path: Path) -> None:
    frame = mask_frame(0, {"dog": disc(20, 20)})
    (path,) = write_all(images(tmp_path, image_format="jpg", quality=90), [frame])
    image = Image.open(path)
    assert image.mode == "L"
    assert np.array_equal(np.asarray(image) > 127, disc(20, 20))


@pytest.mark.parametrize(
    ("mask_type", "annotation_type"),
    [("greenscreen", "mask"), ("highlighted", "mask"), ("highlighted", "both")],
)
def test_colour_png_is_lossless(tmp_path: Path, mask_type: str, annotation_type: str) -> None:
    frame = mask_frame(0, {"dog": disc(20, 20), "cat": disc(28, 25)})
    sink = images(
        tmp_path, mask_type=mask_type, annotation_type=annotation_type, image_format="png"
    )
    (path,) = write_all(sink, [frame])
    drawn = render(frame, mask_type, annotation_type)
    assert np.array_equal(np.asarray(Image.open(path)), drawn)


@pytest.mark.parametrize("image_format", ["webp", "jpg"])
def test_colour_images_at_full_quality_have_the_drawn_colours(
    tmp_path: Path, image_format: str
) -> None:
    frame = mask_frame(0, {"dog": disc(20, 20, radius=14)})
    sink = images(tmp_path, mask_type="highlighted", image_format=image_format, quality=100)
    (path,) = write_all(sink, [frame])
    read = np.asarray(Image.open(path)).astype(int)
    assert read.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(read - highlighted(frame)).mean() < 3


@pytest.mark.parametrize("image_format", ["webp", "jpg"])
def test_every_quality_works_and_more_quality_makes_larger_files(
    tmp_path: Path, image_format: str
) -> None:
    sizes = []
    for quality in (0, 1, 40, 80, 100):
        sink = images(tmp_path, mask_type="greenscreen", image_format=image_format, quality=quality)
        (path,) = write_all(sink, [mask_frame(0, {"dog": ~NOTHING})])
        sizes.append(path.stat().st_size)
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2] < sizes[4]


@pytest.mark.parametrize("image_format", ["webp", "jpg", "png"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (33, 1), (15, 17)])
def test_images_of_any_small_size_keep_it(
    tmp_path: Path, image_format: str, shape: tuple[int, int]
) -> None:
    item = ObjectMask("dog", 0, np.ones(shape, dtype=np.bool_), 1.0, 1.0)
    frame = MaskFrame(Frame(0, 0.0, np.zeros((*shape, 3), dtype=np.uint8)), (item,))
    for mask_type in ("binary", "highlighted"):
        sink = images(tmp_path, mask_type=mask_type, image_format=image_format)
        (path,) = write_all(sink, [frame])
        assert Image.open(path).size == (shape[1], shape[0])


@pytest.mark.parametrize(("image_format", "width"), [("webp", 16384), ("jpg", 65501)])
def test_a_frame_too_large_for_its_image_format_fails(
    tmp_path: Path, image_format: str, width: int
) -> None:
    info = VideoInfo(width, 2, Fraction(24), num_frames=1)
    message = (
        f"output_format is '{image_format}', which holds at most {width - 1} pixels a side; "
        f"expected png for frames of {width}x2"
    )
    with pytest.raises(RequestError, match=re.escape(message)):
        images(tmp_path, info, image_format=image_format)


@pytest.mark.parametrize(
    ("image_format", "width"), [("webp", 16383), ("jpg", 65500), ("png", 65501)]
)
def test_a_frame_as_large_as_its_image_format_allows_is_written(
    tmp_path: Path, image_format: str, width: int
) -> None:
    frame = MaskFrame(Frame(0, 0.0, np.zeros((2, width, 3), dtype=np.uint8)), ())
    info = VideoInfo(width, 2, Fraction(24), num_frames=1)
    (path,) = write_all(images(tmp_path, info, image_format=image_format), [frame])
    assert Image.open(path).size == (width, 2)


def test_an_image_that_cannot_be_put_in_place_leaves_no_partial_file(tmp_path: Path) -> None:
    in_the_way = tmp_path / "frame_00001.webp"
    in_the_way.mkdir()
    first, second = moving_discs(2)
    with images(tmp_path) as sink:
        (written,) = sink.write(first)
        with pytest.raises(IsADirectoryError):
            sink.write(second)
    assert sorted(tmp_path.iterdir()) == [written, in_the_way]


# Video


def decode(path: Path) -> list[npt.NDArray[np.uint8]]:
    with av.open(path) as container:
        frames = container.decode(video=0)
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in frames]


def test_the_video_holds_every_mask_in_order(tmp_path: Path) -> None:
    frames = moving_discs(8)
    assert write_all(video(tmp_path), frames) == [tmp_path / "output_video.mp4"]
    assert [path.name for path in tmp_path.iterdir()] == ["output_video.mp4"]
    decoded = decode(tmp_path / "output_video.mp4")
    assert len(decoded) == len(frames)
    for image, masks in zip(decoded, frames, strict=True):
        wrong = (image[..., 1] > 127) != render(masks, "binary").astype(bool)
        assert wrong.mean() < 0.01


def test_a_highlighted_video_has_the_drawn_colours(tmp_path: Path) -> None:
    frames = [mask_frame(index, {"dog": disc(30, 22, radius=18)}) for index in range(3)]
    (path,) = write_all(video(tmp_path, mask_type="highlighted"), frames)
    error = np.abs(decode(path)[1].astype(int) - highlighted(frames[1]))
    assert error.mean() < 6


@pytest.mark.parametrize(
    ("video_fps", "expected"), [(0, Fraction(30000, 1001)), (12, Fraction(12))]
)
def test_the_rate_of_the_video_is_video_fps_or_the_rate_of_the_source(
    tmp_path: Path, video_fps: int, expected: Fraction
) -> None:
    (path,) = write_all(video(tmp_path, video_fps=video_fps), moving_discs(5))
    with av.open(path) as container:
        assert container.streams.video[0].average_rate == expected


def test_the_video_carries_the_pixel_aspect_of_the_source(tmp_path: Path) -> None:
    info = VideoInfo(WIDTH, HEIGHT, Fraction(25), None, pixel_aspect=Fraction(16, 15))
    (path,) = write_all(video(tmp_path, info), moving_discs(2))
    with av.open(path) as container:
        stream = container.streams.video[0]
        assert stream.sample_aspect_ratio == Fraction(16, 15)
        assert (stream.width, stream.height) == (WIDTH, HEIGHT)


# RLE


def read_rle(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "rle.json").read_text(encoding="utf-8"))
    return content


def test_rle_masks_decode_to_the_masks_that_were_written(tmp_path: Path) -> None:
    frames = moving_discs(6)
    assert write_all(rles(tmp_path), frames) == [tmp_path / "rle.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["rle.json"]
    entries = read_rle(tmp_path)["frames"]
    assert [entry["frame_index"] for entry in entries] == [0, 1, 2, 3, 4, 5]
    for entry, masks in zip(entries, frames, strict=True):
        assert [item["object_id"] for item in entry["objects"]] == ["dog", "cat"]
        for item, written in zip(entry["objects"], masks.objects, strict=True):
            assert np.array_equal(coco.decode(item["segmentation"]), written.mask)
            rows, columns = np.nonzero(written.mask)
            corner = [columns.min(), rows.min()]
            size = [np.ptp(columns) + 1, np.ptp(rows) + 1]
            assert item["bbox"] == corner + size
            assert item["area"] == written.mask.sum()


def test_rle_json_has_the_form_of_the_contract(tmp_path: Path) -> None:
    masks = {"dog": disc(10, 10, radius=1), "cat": NOTHING}
    write_all(rles(tmp_path), [mask_frame(4, masks, iou=0.987654)])
    segmentation = {
        "size": [HEIGHT, WIDTH],
        "counts": coco.encode(np.asfortranarray(masks["dog"].astype(np.uint8)))["counts"].decode(),
    }
    dog = {
        "object_id": "dog",
        "segmentation": segmentation,
        "bbox": [9, 9, 3, 3],
        "area": 5,
        "score": 0.9877,
    }
    assert read_rle(tmp_path) == {
        "video": {
            "width": WIDTH,
            "height": HEIGHT,
            "frame_rate": 30000 / 1001,
            "num_frames": 1,
        },
        "objects": [{"object_id": "dog", "index": 1}, {"object_id": "cat", "index": 2}],
        "frames": [{"frame_index": 4, "timestamp": 0.16, "objects": [dog]}],
    }


def test_absent_objects_are_left_out_of_a_frame_but_not_of_the_list(tmp_path: Path) -> None:
    here, late = disc(20, 20), disc(40, 30)
    frames = [
        mask_frame(0, {"dog": NOTHING}),
        mask_frame(1, {"dog": here, "cat": NOTHING}),
        mask_frame(2, {"dog": NOTHING, "cat": late}),
    ]
    write_all(rles(tmp_path), frames)
    content = read_rle(tmp_path)
    named = [[item["object_id"] for item in entry["objects"]] for entry in content["frames"]]
    assert named == [[], ["dog"], ["cat"]]
    assert content["objects"] == [
        {"object_id": "dog", "index": 1},
        {"object_id": "cat", "index": 2},
    ]


def test_objects_are_listed_by_index_whichever_was_seen_first(tmp_path: Path) -> None:
    late = ObjectMask("late", 1, disc(20, 20), 1.0, 0.9)
    early = ObjectMask("early", 0, disc(40, 30), 1.0, 0.9)
    frames = [
        MaskFrame(Frame(0, 0.0, picture()), (late,)),
        MaskFrame(Frame(1, 0.1, picture()), (early, late)),
    ]
    write_all(rles(tmp_path), frames)
    listed = [(item["object_id"], item["index"]) for item in read_rle(tmp_path)["objects"]]
    assert listed == [("early", 1), ("late", 2)]


@pytest.mark.parametrize(
    "object_id",
    [
        "",
        " ",
        '"',
        "a\nb\r\n\t",
        "\\",
        "狗 🐕",
        "\x00\x1f\x7f\u2028",
        "\ud83d",
        "</script>",
        "null",
    ],
    ids=ascii,
)
def test_any_text_is_a_name_that_comes_back(tmp_path: Path, object_id: str) -> None:
    write_all(rles(tmp_path), [mask_frame(0, {object_id: disc(20, 20)})])
    content = read_rle(tmp_path)
    assert content["objects"] == [{"object_id": object_id, "index": 1}]
    assert content["frames"][0]["objects"][0]["object_id"] == object_id


def test_names_are_written_as_they_read(tmp_path: Path) -> None:
    write_all(rles(tmp_path), [mask_frame(0, {"狗 🐕": disc(20, 20)})])
    assert "狗 🐕".encode() in (tmp_path / "rle.json").read_bytes()


def test_rle_json_without_frames_is_valid(tmp_path: Path) -> None:
    write_all(rles(tmp_path), [])
    content = read_rle(tmp_path)
    assert content["video"]["num_frames"] == 0
    assert content["frames"] == content["objects"] == []


# All sinks


@SINKS
def test_leaving_without_finish_removes_what_is_not_complete(
    tmp_path: Path, make_sink: Callable[[Path], Sink]
) -> None:
    completed = []
    with make_sink(tmp_path) as sink:
        for masks in moving_discs(3):
            completed += sink.write(masks)
    assert sorted(tmp_path.iterdir()) == sorted(completed)


@SINKS
def test_an_exception_in_the_middle_leaves_no_partial_file(
    tmp_path: Path, make_sink: Callable[[Path], Sink]
) -> None:
    completed = []
    with pytest.raises(KeyboardInterrupt), make_sink(tmp_path) as sink:
        for masks in moving_discs(3):
            completed += sink.write(masks)
        raise KeyboardInterrupt
    assert sorted(tmp_path.iterdir()) == sorted(completed)


@SINKS
def test_a_file_of_an_earlier_run_is_replaced(
    tmp_path: Path, make_sink: Callable[[Path], Sink]
) -> None:
    first = write_all(make_sink(tmp_path), moving_discs(2))
    for path in first:
        path.write_bytes(b"stale")
    assert write_all(make_sink(tmp_path), moving_discs(2)) == first
    assert all(path.stat().st_size > len(b"stale") for path in first)


@SINKS
def test_memory_does_not_grow_with_the_number_of_frames(
    tmp_path: Path, make_sink: Callable[[Path], Sink]
) -> None:
    masks = {f"object {index}": disc(6 * index, 20) for index in range(10)}
    with make_sink(tmp_path) as sink:
        for index in range(100):
            sink.write(mask_frame(index, masks))
        gc.collect()
        tracemalloc.start()
        for index in range(100, 1100):
            sink.write(mask_frame(index, masks))
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
        sink.finish()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    # A thousand pictures would be 8 MB, their run lengths as JSON 1.7 MB.
    assert held < 50_000
    assert peak < 800_000
