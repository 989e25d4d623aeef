"""Requests with words: what a session does with them, and that others do not pay for them."""

import gc
import json
import logging
import subprocess
import sys
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from sam_video.detection import engines
from sam_video.detection.interface import Detector
from sam_video.detection.query import TextQuery
from sam_video.errors import CheckpointError, PromptError
from sam_video.request import Request
from sam_video.service.pipeline import segment_video
from sam_video.service.session import Session
from tests.clips import draw_clip, draw_frame
from tests.detection.coloured import coloured_detector
from tests.detection.scripted import ScriptedDetector
from tests.fake_model import FakeModel

SIZE = (192, 128)
NUM_FRAMES = 6


class Loaded:
    """Stands in for the loading of detectors; keeps what was loaded."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.detectors: list[weakref.ref[ScriptedDetector]] = []

    def __call__(self, name: str, *, device: torch.device | None = None) -> Detector:
        detector = coloured_detector()
        self.names.append(name)
        self.detectors.append(weakref.ref(detector))
        return detector


@pytest.fixture(autouse=True)
def loaded(monkeypatch: pytest.MonkeyPatch) -> Loaded:
    stand_in = Loaded()
    monkeypatch.setattr(engines, "load_detector", stand_in)
    return stand_in


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setattr(Session, "_load", lambda self, name: FakeModel())
    return Session()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.png"  # lossless, for a model of exact colours
    draw_clip(path, num_frames=NUM_FRAMES, size=SIZE)
    return path


def predict(session: Session, video: Path, folder: Path, **inputs: Any) -> list[str]:
    request = Request(input_video=video, **{"model": "pocket", **inputs})
    return [path.name for path in session.predict(request, folder)]


@pytest.fixture
def run(session: Session, clip: Path, tmp_path: Path) -> Callable[..., list[str]]:
    return partial(predict, session, clip, tmp_path)


def objects(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "rle.json").read_text())["objects"]
    return found


def test_words_alone_find_objects_that_are_tracked(
    session: Session, clip: Path, tmp_path: Path, loaded: Loaded
) -> None:
    names = predict(
        session, clip, tmp_path, text_prompt="the disc, rectangle", output_rle=True,
        output_boxes=True,
    )  # fmt: skip
    assert names == [*(f"frame_{i:05d}.webp" for i in range(NUM_FRAMES)), "rle.json", "boxes.json"]
    assert loaded.names == ["pocket"]
    assert objects(tmp_path) == [
        {"object_id": "disc_1", "index": 1, "concept": "disc", "detection_score": 0.9},
        {"object_id": "rectangle_1", "index": 2, "concept": "rectangle", "detection_score": 0.9},
    ]
    assert session.metrics.objects == 2
    boxes = json.loads((tmp_path / "boxes.json").read_text())
    assert len(boxes) == NUM_FRAMES
    for entries in boxes.values():
        assert {(entry["object_id"], entry["concept"]) for entry in entries} == {
            ("disc_1", "disc"), ("rectangle_1", "rectangle"),
        }  # fmt: skip


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        pytest.param(
            {"text_prompt": "disc", "click_coordinates": "[150,84]", "click_object_ids": "box"},
            ["box", "disc_1"],
            id="a click on something else",
        ),
        pytest.param(
            {"text_prompt": "disc", "click_coordinates": "[23,38]", "click_object_ids": "disc_1"},
            ["disc_1"],
            id="a click on what is found",
        ),
        pytest.param(
            {"text_prompt": "disc", "click_coordinates": "[23,38]", "click_object_ids": "mine"},
            ["mine"],
            id="a click with another name, never found twice",
        ),
        pytest.param(
            {
                "text_prompt": "disc,rectangle", "click_coordinates": "[23,38]",
                "click_labels": "0", "click_object_ids": "disc",
            },
            ["rectangle_1"],
            id="a negative click named like the concept",
        ),
        pytest.param(
            {
                "text_prompt": "disc,rectangle", "click_coordinates": "[23,38]",
                "click_labels": "0",
            },
            ["rectangle_1"],
            id="a negative click without a name",
        ),
        pytest.param(
            {"text_prompt": "disc", "negative_prompt": "rectangle"}, ["disc_1"], id="negative words"
        ),
        pytest.param({"prompts": '[{"text": "disc"}]'}, ["disc_1"], id="words in JSON"),
        pytest.param({"text_prompt": "disc,rectangle", "max_objects": 1}, ["disc_1"], id="at most"),
        pytest.param({"text_prompt": "nothing"}, [], id="nothing is found"),
    ],
)  # fmt: skip
def test_words_combine_with_other_prompts(
    session: Session,
    clip: Path,
    tmp_path: Path,
    inputs: dict[str, Any],
    expected: list[str],
) -> None:
    predict(session, clip, tmp_path, output_rle=True, **inputs)
    assert [item["object_id"] for item in objects(tmp_path)] == expected
    assert session.metrics.objects == len(expected)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"text_prompt": "disc, giraffe"}, "^text_prompt is 'giraffe'; expected one of"),
        ({"text_prompt": ",,"}, "^text_prompt is ',,'; expected words"),
        ({"negative_prompt": "disc"}, "^negative_prompt is 'disc' without text_prompt"),
    ],
)
def test_a_mistake_in_words_fails_before_anything_is_written(
    session: Session,
    clip: Path,
    tmp_path: Path,
    inputs: dict[str, str],
    message: str,
) -> None:
    with pytest.raises(PromptError, match=message):
        predict(session, clip, tmp_path, **inputs)
    assert list(tmp_path.iterdir()) == []


def test_a_preview_shows_what_words_find_on_the_first_frame(
    session: Session, clip: Path, tmp_path: Path
) -> None:
    prompts = {"click_coordinates": "[150,90]", "click_frames": "3", "click_object_ids": "box"}
    names = predict(
        session, clip, tmp_path, text_prompt="disc", preview=True, output_boxes=True, **prompts
    )
    assert names == ["preview_00000.png", "preview_00003.png", "boxes.json"]
    boxes = json.loads((tmp_path / "boxes.json").read_text())
    found = {index: [e["object_id"] for e in entries] for index, entries in boxes.items()}
    assert found == {"0": ["disc_1"], "3": ["box"]}


def test_a_preview_begins_where_the_prediction_will(
    session: Session, clip: Path, tmp_path: Path
) -> None:
    names = predict(session, clip, tmp_path, text_prompt="disc", preview=True, start_frame=4)
    assert names == ["preview_00004.png"]


def test_what_words_find_in_a_still_image_has_its_candidates_too(
    session: Session, tmp_path: Path
) -> None:
    draw_clip(tmp_path / "still.png", num_frames=1, size=SIZE)
    inputs = {"text_prompt": "disc", "multimask_output": True, "output_masks": True}
    names = predict(session, tmp_path / "still.png", tmp_path / "out", **inputs)
    assert names == [
        "frame_00000.webp",
        *(f"candidate_disc_1_{number}.png" for number in (1, 2, 3)),
        "rle.json",
        "masks.zip",
    ]


def test_a_detector_is_kept_for_the_next_request_and_replaced_by_another(
    session: Session, clip: Path, tmp_path: Path, loaded: Loaded
) -> None:
    inputs = {"text_prompt": "disc", "preview": True}
    predict(session, clip, tmp_path, **inputs)
    predict(session, clip, tmp_path, **inputs, text_model="pocket")
    predict(session, clip, tmp_path, click_coordinates="[23,38]", preview=True)
    assert loaded.names == ["pocket"]
    predict(session, clip, tmp_path, **inputs, text_model="llmdet")
    gc.collect()
    assert loaded.names == ["pocket", "llmdet"]
    assert [detector() is None for detector in loaded.detectors] == [True, False]


def test_a_detector_that_cannot_be_loaded_is_tried_again(
    session: Session, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def fail(name: str, **_: Any) -> Detector:
        tries.append(name)
        raise CheckpointError("no weights")

    monkeypatch.setattr(engines, "load_detector", fail)
    for _ in range(2):
        with pytest.raises(CheckpointError, match="no weights"):
            predict(session, clip, tmp_path, text_prompt="disc")
    assert tries == ["pocket"] * 2


@pytest.mark.parametrize(
    ("inputs", "looks"),
    [
        ({}, "it looks at 3 frames or more, for 27 s"),
        ({"text_interval": 0}, "it looks at the first frame only"),
        ({"preview": True}, "it looks at the first frame only"),
    ],
    ids=["every-second", "first", "preview"],
)
def test_the_log_says_what_a_large_detector_costs_on_a_cpu(
    run: Callable[..., list[str]],
    caplog: pytest.LogCaptureFixture,
    inputs: dict[str, Any],
    looks: str,
) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    inputs = {"text_interval": 2} | inputs
    with caplog.at_level(logging.WARNING):
        run(text_prompt="disc", text_model="owlv2_base", **inputs)
    (message,) = (text for text in caplog.messages if "owlv2_base" in text)
    assert message.startswith(
        f"owlv2_base takes about 9 s an image on a CPU with two cores, and {looks}; a larger"
    )


def test_pockets_own_words_cost_nothing_worth_a_warning(
    session: Session,
    clip: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    predict(session, clip, tmp_path, text_prompt="disc", preview=True)
    assert not [text for text in caplog.messages if "takes about" in text]


def test_words_are_a_text_in_python_too(clip: Path, loaded: Loaded) -> None:
    for masks in segment_video(
        clip, text="the disc, rectangle", model=FakeModel(), text_model="pocket"
    ):
        truth = draw_frame(masks.frame.index, SIZE)[1]
        assert [item.object_id for item in masks.objects] == ["disc_1", "rectangle_1"]
        for item in masks.objects:
            assert (item.mask == truth[str(item.concept)]).all()
    assert loaded.names == ["pocket"]


def test_a_query_of_ones_own_is_accepted_in_python(clip: Path) -> None:
    query = TextQuery(coloured_detector(), ("disc",), interval=0)
    (name,) = {
        o.object_id for m in segment_video(clip, text=query, model=FakeModel()) for o in m.objects
    }
    assert name == "disc_1"


NO_WORDS = """
import sys
from pathlib import Path
from sam_video.request import Request
from sam_video.service.session import Session
request = Request(input_video=Path(sys.argv[1]), click_coordinates="[23,38]", model="pocket")
list(Session("pocket").predict(request, Path(sys.argv[2])))
print(*sys.modules)
"""


def test_a_request_without_words_imports_nothing_for_them(clip: Path, tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", NO_WORDS, str(clip), str(tmp_path)]
    names = subprocess.run(arguments, capture_output=True, check=True, text=True).stdout.split()
    assert "sam_video.service.session" in names
    assert "sam_video.detection.engines" not in names
    assert not {"transformers", "tokenizers", "scipy"} & {name.partition(".")[0] for name in names}
