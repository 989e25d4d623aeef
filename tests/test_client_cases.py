"""Inputs that real clients of hosted services send, and what each of them counts on.

Those of `meta/sam-2-video` are sent as they are, those of the others as docs/services.md
translates them.

The inputs lie beside the repository and not in it; without them, nothing here runs. What is
expected is kept here, by the `source` that names a case.
"""

import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image, ImageDraw

from sam_video import rle
from sam_video.detection import engines
from sam_video.errors import PromptError
from sam_video.service.words import DetectorKeeper
from sam_video.types import BoolMask
from tests.clips import DISC_COLOUR, RECTANGLE_COLOUR, draw_clip
from tests.detection.coloured import coloured_detector
from tests.openapi import PREDICT, openapi_schema
from tests.predictor import predict, predictor
from tests.test_docs import TRANSLATED

FILE = Path(__file__).parents[2] / "shared" / "data" / "client_cases.jsonl"
NUM_FRAMES = 3
"""Of the clip that a case gets, where its clicks need no more."""


def read_cases(*services: str) -> list[Any]:
    if not FILE.exists():
        reason = f"the clients' inputs, {FILE.name}, are not at hand"
        return [pytest.param({}, marks=pytest.mark.skip(reason=reason), id="none")]
    cases = [json.loads(line) for line in FILE.read_text().splitlines()]
    return [pytest.param(c, id=c["source"]) for c in cases if c["service"] in services]


@dataclass(frozen=True, slots=True)
class Refused:
    """The schema forbids an input, so that the server answers 422."""

    field: str


@dataclass(frozen=True, slots=True)
class Fails:
    """The prediction fails."""

    message: str


@dataclass(frozen=True, slots=True)
class Gives:
    """The prediction succeeds."""

    objects: int
    """How many are tracked."""
    names: tuple[str, ...] = tuple(f"frame_{index:05d}.webp" for index in range(NUM_FRAMES))
    """Of the files, in their order."""
    num_frames: int = NUM_FRAMES
    """Of the video that goes in."""
    check: Callable[[list[Path], Path], None] = lambda paths, source: None
    """What else is expected of the files, given what they were made from."""


def sequence(suffix: str, *indices: int) -> tuple[str, ...]:
    return tuple(f"frame_{index:05d}.{suffix}" for index in indices)


def is_a_mask(paths: list[Path], source: Path) -> None:
    """Each image is black and white, in one channel, and of the source's size."""
    size = Image.open(source).size if source.suffix in {".png", ".jpeg"} else frames_of(source)[1]
    for path in paths:
        image = Image.open(path)
        assert (image.mode, image.size) == ("L", size)
        assert set(np.unique(np.asarray(image))) <= {0, 255}


def fits_the_source(paths: list[Path], source: Path) -> None:
    """The video has the size and the number of frames of the source."""
    assert frames_of(paths[-1]) == frames_of(source)


def frames_of(path: Path) -> tuple[int, tuple[int, int]]:
    with av.open(path) as container:
        frames = list(container.decode(video=0))
    return len(frames), (frames[0].width, frames[0].height)


def covers_the_centre_alone(paths: list[Path], source: Path) -> None:
    is_a_mask(paths, source)
    mask = np.asarray(Image.open(paths[0])) >= 128
    assert mask[150, 200]
    assert not mask[[70, 70, 230, 230], [80, 320, 80, 320]].any()


def plays_at_12_frames_per_second(paths: list[Path], source: Path) -> None:
    fits_the_source(paths, source)
    with av.open(paths[0]) as container:
        assert container.streams.video[0].average_rate == 12


VIDEO = ("output_video.mp4",)
STILL = ("frame_00000.webp",)
EXPECTED: dict[str, Refused | Fails | Gives] = {
    "replicate/replicate-sam-2-clicker app.vue two clicks": Gives(1, VIDEO, check=fits_the_source),
    "id 53199857718 FlowRVS older": Gives(1, VIDEO, check=plays_at_12_frames_per_second),
    "id 46881323906": Gives(1, STILL),
    "id 70245789602": Gives(2, sequence("png", 0), check=is_a_mask),
    "id 15130539896": Refused("mask_type"),
    "id 45410061049 toontune pipeline": Gives(3, VIDEO, check=fits_the_source),
    "toontune guide 45913454422": Refused("annotation_type"),
    "id 46269749170 str(list)[1:-1]": Gives(1, sequence("webp", 0, 5, 10), num_frames=12),
    "id 46073663429 autotrack": Gives(2, sequence("png", 0, 1, 2), check=is_a_mask),
    "id 46639191618": Gives(2, VIDEO, num_frames=31, check=fits_the_source),
    # The clip ends before the surplus frame of this case, which would fail if it counted.
    "id 32385352649 / 32394926273 placeholders": Gives(
        2, VIDEO, num_frames=16, check=fits_the_source
    ),
    "id 59276511449 webm": Gives(1),
    "id 61718103006 motionjson": Refused("input_video"),
    "id 55060168911 car damage lab": Gives(1, sequence("png", 0), check=covers_the_centre_alone),
    "id 55093341517 CLI format": Gives(2),
    "format contract: plain": Gives(2),
    "format contract: JSON.stringify of nested list": Gives(2),
    "format contract: python str(list)": Gives(2),
    "format contract: str(list)[1:-1]": Gives(2),
    "format contract: bare pair": Gives(1),
    "format contract: single pair": Gives(1),
    "format contract: floats": Gives(1),
    "format contract: tuples": Gives(2),
    "format contract: json objects": Gives(1),
    "format contract: newline": Gives(2),
    "format contract: flat list of two points": Gives(2),
    "format contract: spaced comma": Gives(2),
    "format contract: outside the picture": Fails(
        r"click_coordinates\[0\] is \[99999, 99999\]; expected a point inside the \d+x\d+ picture"
    ),
    "format contract: NaN": Fails(
        r"click_coordinates is '\[NaN,1\]': 'NaN' is not a finite number"
    ),
    "length contract: labels: running code cycles": Gives(1),
    "length contract: surplus dropped, click_labels": Gives(3),
    "length contract: surplus dropped, click_object_ids": Gives(4),
    "length contract: label 2: predictor treats 2/3 as box corners - reject": Fails(
        r"click_labels\[0\] is 2; expected 1 \(foreground\) or 0 \(background\)"
    ),
    "length contract: empty frames = all 0": Gives(4),
    "length contract: one object, four clicks": Gives(1),
    "length contract: two objects": Gives(2),
    "length contract: empty labels between commas are a label of their own in the original": Gives(
        3
    ),
    "schema contract: output_format='JPG'": Refused("output_format"),
    "schema contract: output_quality=0": Gives(1),
    "schema contract: video_fps=61": Gives(1),  # rates up to 240 are accepted here
    "schema contract: mask_type='alpha'": Gives(1),  # one of ours, which the original has not
}


SCHEMA = openapi_schema(PREDICT.read_text())
VALIDATOR = Draft202012Validator({**SCHEMA, "$ref": "#/components/schemas/Input"})


def expected_of(case: dict[str, Any]) -> Refused | Fails | Gives:
    """Look a case up; of two with one name, the last input tells which one it is."""
    source = case["source"].partition(" -> ")[0]
    return EXPECTED[source if source in EXPECTED else f"{source}, {list(case['input'])[-1]}"]


def refused_fields(inputs: dict[str, Any]) -> set[str]:
    """Return the inputs that the server would answer 422 for."""
    refused = set()
    for error in VALIDATOR.iter_errors(inputs):
        is_missing = error.validator == "required"
        refused |= set(error.validator_value) - set(inputs) if is_missing else {error.path[0]}
    return refused


def make_source(folder: Path, inputs: dict[str, Any], num_frames: int) -> Path:
    """Draw what stands in a case for its video, large enough for its clicks."""
    numbers = [float(text) for text in re.findall(r"[0-9.]+", inputs["click_coordinates"])]
    points = [(x, y) for x, y in zip(numbers[::2], numbers[1::2], strict=False) if x < 9999]
    width = max(96, *(2 * round(x / 2 + 8) for x, _ in points)) if points else 96
    height = max(64, *(2 * round(y / 2 + 8) for _, y in points)) if points else 64
    asked = inputs["input_video"]
    if asked.startswith("data:image/"):
        path = folder / f"still.{asked.removeprefix('data:image/').partition(';')[0]}"
        draw_still(path, (width, height))
    elif asked.endswith(".webm"):
        path = folder / "live.webm"
        draw_live_webm(path, (width, height))
    else:
        path = folder / "clip.mp4"
        draw_clip(path, num_frames=num_frames, size=(width, height))
    return path


def draw_still(path: Path, size: tuple[int, int]) -> None:
    """Draw an ellipse in the middle of a picture, half as wide and high as it."""
    image = Image.new("RGB", size, (60, 90, 60))
    width, height = size
    corners = (width // 4, height // 4, 3 * width // 4, 3 * height // 4)
    ImageDraw.Draw(image).ellipse(corners, fill=(230, 60, 50))
    image.save(path)


def draw_live_webm(path: Path, size: tuple[int, int]) -> None:
    """Draw a clip as a browser records it: neither its duration nor its frames are stated."""
    whole, live = path.with_stem("whole"), BytesIO()
    draw_clip(whole, num_frames=NUM_FRAMES, size=size)
    sink = SimpleNamespace(write=live.write)  # which cannot seek back to complete the header
    with av.open(whole) as source, av.open(sink, "w", format="webm") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    path.write_bytes(live.getvalue())
    with av.open(path) as written:
        assert (written.duration, written.streams.video[0].frames) == (None, 0)


@pytest.mark.parametrize("case", read_cases("meta/sam-2-video"))
def test_a_client_gets_what_it_counts_on(case: dict[str, Any], tmp_path: Path) -> None:
    expected = expected_of(case)
    inputs = case["input"]
    refused = refused_fields(inputs)
    if isinstance(expected, Refused):
        assert refused == {expected.field}
        return
    assert refused == set()
    source = make_source(tmp_path, inputs, getattr(expected, "num_frames", NUM_FRAMES))
    if isinstance(expected, Fails):
        with pytest.raises(PromptError, match=expected.message):
            predict(**(inputs | {"input_video": source}))
        return
    paths = predict(**(inputs | {"input_video": source}))
    assert tuple(path.name for path in paths) == expected.names
    assert predictor().session.metrics.objects == expected.objects
    expected.check(paths, source)


def draw_source(folder: Path, prompts: list[dict[str, Any]]) -> Path:
    """Draw a clip that is large enough for the points of JSON prompts."""
    points = [point for prompt in prompts for point in prompt.get("points", [])]
    points += [[prompt["x"], prompt["y"]] for prompt in prompts if "x" in prompt]
    width, height = (2 * round(max(values) / 2 + 8) for values in zip(*points, strict=True))
    draw_clip(folder / "clip.mp4", num_frames=NUM_FRAMES, size=(max(96, width), max(64, height)))
    return folder / "clip.mp4"


@pytest.mark.parametrize("case", read_cases("sieve/sam2"))
def test_a_client_of_sieve_finds_masks_and_confidences_in_zips(
    case: dict[str, Any], tmp_path: Path
) -> None:
    asked = case["input"]
    source = draw_source(tmp_path, asked["prompts"])
    paths = predict(
        input_video=source,
        prompts=json.dumps(asked["prompts"]),
        multimask_output=asked.get("multimask_output", False),
        start_frame=asked.get("start_frame", -1),
        end_frame=asked.get("end_frame", -1),
        frame_interval=asked.get("frame_interval", 1),
        preview=asked.get("preview", False),
        output_masks=True,
        output_boxes=asked.get("bbox_tracking", False),
        output_confidences=asked.get("pixel_confidences", False),
        output_overlay=asked.get("debug_masks", False),
    )
    zips = [path for path in paths if path.suffix == ".zip"]
    has_confidences = asked.get("pixel_confidences", False)
    assert [path.name for path in zips] == ["masks.zip", "confidences.zip"][: 1 + has_confidences]
    for path in zips:
        with zipfile.ZipFile(path) as archive:
            names = sorted(archive.namelist(), key=lambda name: int(name.split("_")[0]))
            assert names == [f"{index}_1.png" for index in range(NUM_FRAMES)]
            levels = np.asarray(Image.open(BytesIO(archive.read(names[0]))))
    assert (len(np.unique(levels)) > 2) == has_confidences  # confidences are the last one


@pytest.mark.parametrize("case", read_cases("fal-ai/sam2/video"))
def test_a_client_of_fal_gets_one_video_of_one_object(case: dict[str, Any], tmp_path: Path) -> None:
    asked = case["input"]
    source = draw_source(tmp_path, asked["prompts"])
    (path,) = predict(
        input_video=source,
        prompts=json.dumps(asked["prompts"]),
        mask_type="highlighted" if asked["apply_mask"] else "binary",
        output_video=True,
        output_boxes=asked["boundingbox_zip"],
    )
    assert path.name == "output_video.mp4"
    assert predictor().session.metrics.objects == 1
    fits_the_source([path], source)


def find_by_colour(monkeypatch: pytest.MonkeyPatch, *concepts: str) -> None:
    """Have the first concept found where the disc is, the second at the rectangle, others nowhere.

    The detectors of services have other weights than are at hand.
    """
    colours = chain([DISC_COLOUR, RECTANGLE_COLOUR], repeat((0, 255, 0)))
    detector = coloured_detector(dict(zip(concepts, colours, strict=False)))
    monkeypatch.setattr(engines, "load_detector", lambda name, device=None: detector)
    monkeypatch.setattr(predictor().session, "_detectors", DetectorKeeper())


@pytest.mark.parametrize("case", read_cases("fal-ai/sam-3/video-rle"))
def test_a_client_of_run_lengths_gets_a_text_per_frame(
    case: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = case["input"]["prompt"]
    find_by_colour(monkeypatch, words)
    masks = draw_clip(tmp_path / "clip.mp4", num_frames=NUM_FRAMES, size=(192, 128))
    paths = predict(
        input_video=tmp_path / "clip.mp4",
        text_prompt=words,
        output_rle=True,
        rle_format="start_length",
    )
    document = json.loads(paths[-1].read_text())
    assert (document["order"], document["base"]) == ("row", 0)
    assert [item["object_id"] for item in document["objects"]] == [f"{words}_1"]
    assert document["rle"] == document["objects"][0]["rle"]
    for text, truth in zip(document["rle"], masks, strict=True):
        found = decoded(text, truth["disc"].shape, base=0)
        assert (found & truth["disc"]).sum() > 0.8 * (found | truth["disc"]).sum()


WITH_WORDS = {name: here for name, here in TRANSLATED.items() if "text_prompt" in here}


@pytest.mark.parametrize("here", WITH_WORDS.values(), ids=WITH_WORDS.keys())
def test_requests_of_other_services_with_words_find_what_these_name(
    here: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = json.loads(here.replace('"input_video": U', '"input_video": ""'))
    wanted = [word.strip() for word in inputs["text_prompt"].split(",")]
    unwanted = [word for word in [inputs.get("negative_prompt")] if word]
    find_by_colour(monkeypatch, *wanted, *unwanted)
    source = tmp_path / "clip.mp4"
    draw_clip(source, num_frames=NUM_FRAMES, size=(288, 384))
    paths = predict(**(inputs | {"input_video": source}))
    num_prompted = len(json.loads(inputs.get("prompts", "[]")))
    assert predictor().session.metrics.objects == len(wanted) + num_prompted
    if inputs.get("output_video"):
        assert [path.name for path in paths] == ["output_video.mp4"]
        fits_the_source(paths, source)
    else:
        assert paths[-1].name == "rle.json"


def decoded(text: str, hw: tuple[int, ...], *, base: int) -> BoolMask:
    """Return the mask of a text of starts and lengths."""
    numbers = [int(number) for number in text.split()]
    mask = np.zeros(hw, np.bool_)
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        mask.reshape(-1)[start - base : start - base + length] = True
    return mask


@pytest.mark.parametrize("case", read_cases("rle"))
def test_run_lengths_are_those_that_clients_decode(case: dict[str, Any]) -> None:
    given = case["input"]
    text, base = given.get("rle"), 1
    if text is None:
        text, base = given["rle_row_major_base0"], 0
    numbers = [int(number) for number in text.split()]
    ours = rle.start_length(decoded(text, (given["height"], given["width"]), base=base))
    expected = [number - base * (place % 2 == 0) for place, number in enumerate(numbers)]
    assert [int(number) for number in ours.split()] == expected
