"""Many predictions one after another in one server: nothing grows, and nothing is left over."""

import base64
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.clips import draw_clip, draw_frame
from tests.cog_server import CogServer, running_server, wait_for
from tests.sound_clips import draw_flash_clip

BAD = Path(__file__).parents[2] / "shared" / "data" / "bad"
BAD_FILES = (
    "mdat_cut_early.mp4",
    "no_moov.mp4",
    "jpeg_truncated.jpg",
    "unknown_codec_fourcc.mp4",
    "pngbomb_30000x30000.png",
    "pixelbomb_16000x12000_1frame.mp4",
    "ftyp_then_random.mp4",
    "zero_bytes.mp4",
)
MOST_GROWTH = 1.05
"""Of the worker's memory, from the tenth prediction to the last."""


@dataclass(frozen=True, slots=True)
class Case:
    """Inputs, and what becomes of them."""

    inputs: dict[str, Any]
    status: str = "succeeded"


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """What is asked for, in turn; the first ten need the most memory."""
    folder = tmp_path_factory.mktemp("soak")
    return [*good_cases(folder), *failing_cases(folder)]


def good_cases(folder: Path) -> list[Case]:
    draw_clip(folder / "small.mp4", num_frames=8)
    draw_clip(folder / "odd.webm", num_frames=6, size=(161, 121))
    draw_clip(folder / "medium.mp4", num_frames=6, size=(640, 360))
    draw_clip(folder / "large.mp4", num_frames=3, size=(1920, 1080))
    draw_clip(folder / "still.png", num_frames=1, size=(300, 200))
    draw_clip(folder / "loop.gif", num_frames=5)
    times = [index / 24 for index in range(24)]
    draw_flash_clip(folder / "sound.mp4", times=times, events=[0.2], sound=(0, 1))
    masks = {"disc": draw_frame(0)[1]["disc"], "rectangle": draw_frame(0)[1]["rectangle"]}
    return [
        Case(clicked(folder / "small.mp4")),
        Case(
            clicked(folder / "large.mp4", 1920, 1080)
            | {"output_video": True, "mask_type": "highlighted", "output_masks": True}
        ),
        Case(
            clicked(folder / "odd.webm", 161, 121)
            | {"output_video": True, "mask_type": "alpha", "output_rle": True}
        ),
        Case(
            clicked(folder / "medium.mp4", 640, 360)
            | {"output_confidences": True, "output_boxes": True, "mask_type": "greenscreen"}
        ),
        Case(clicked(folder / "still.png", 300, 200) | {"multimask_output": True}),
        Case(clicked(folder / "sound.mp4", 64, 48) | {"output_overlay": True}),
        Case(clicked(folder / "medium.mp4", 640, 360) | {"preview": True}),
        Case(clicked(folder / "small.mp4") | {"click_frames": "5", "output_rle": True}),
        Case({"input_video": uri(folder / "loop.gif"), "mask_prompts": zip_uri(masks)}),
        Case(
            {"input_video": uri(folder / "small.mp4"), "box_coordinates": "[2,8,22,30]"}
            | {"output_rle": True, "rle_format": "youtube_vis", "frame_interval": 2}
        ),
    ]


def failing_cases(folder: Path) -> list[Case]:
    small = uri(folder / "small.mp4")
    bad = [BAD / name for name in BAD_FILES if (BAD / name).exists()]
    return [
        Case({"input_video": small, "click_coordinates": "[500,500]"}, "failed"),
        Case(clicked(folder / "small.mp4") | {"output_video": True}, "canceled"),
        Case({"input_video": small, "mask_prompts": uri(folder / "still.png")}, "failed"),
        Case(clicked(folder / "large.mp4", 1920, 1080) | {"output_masks": True}, "canceled"),
        *(Case({"input_video": uri(path), "click_coordinates": "[5,5]"}, "failed") for path in bad),
    ]


def clicked(path: Path, width: int = 96, height: int = 64) -> dict[str, Any]:
    """A click on the disc of a drawn clip."""
    place = f"[{round(0.12 * width)},{round(0.3 * height)}]"
    return {"input_video": uri(path), "click_coordinates": place}


def uri(path: Path) -> str:
    return f"data:video/{path.suffix[1:]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def zip_uri(masks: dict[str, Any]) -> str:
    content = BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, mask in masks.items():
            picture = BytesIO()
            Image.fromarray(mask).save(picture, "png")
            archive.writestr(f"0_{name}.png", picture.getvalue())
    return f"data:application/zip;base64,{base64.b64encode(content.getvalue()).decode()}"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CogServer]:
    pytest.importorskip("coglet", reason="Cog is not installed; it comes with the extra `dev`")
    with running_server(tmp_path) as running:
        yield running


@pytest.mark.parametrize(
    "count", [pytest.param(200, marks=pytest.mark.soak, id="200"), pytest.param(12, id="12")]
)
def test_nothing_grows_and_nothing_is_left_after_many_predictions(
    server: CogServer, cases: list[Case], count: int
) -> None:
    chosen = cases if count > len(cases) else [*cases[:10:2], *cases[10:14], *cases[-3:]]
    first = run(server, chosen[0])
    idle = state(server)
    memories = [resident_megabytes(server)]
    for case in islice(cycle(chosen), 1, count):
        run(server, case)
        memories.append(resident_megabytes(server))
    print(" ".join(f"{memory:.0f}" for memory in memories))
    assert run(server, chosen[0]) == first
    wait_for(lambda: state(server) == idle, f"{idle}, which is {state(server)}")
    # A prediction that fails keeps nothing; Cog itself leaves nothing either.
    run(server, Case({"input_video": "missing.mp4"}, "failed"))
    assert list(server.temporary.rglob("*")) == []
    if count > 20:
        assert memories[-1] < MOST_GROWTH * memories[9]


def run(server: CogServer, case: Case) -> list[str]:
    """Run a prediction to its end and return its files."""
    if case.status == "canceled":
        before = server.written_files()
        with server.running(**case.inputs) as prediction:
            wait_for(
                lambda: prediction.answer.done() or server.written_files() - before, "an output"
            )
            prediction.cancel()
            return []
    status, answer = server.predict(**case.inputs)
    assert (status, answer["status"]) == (200, case.status), answer
    return list(answer.get("output") or [])


def state(server: CogServer) -> tuple[set[int], int, int]:
    """Return the processes, and how many threads and open files the worker has."""
    return server.processes, server.num_threads(), server.num_open_files()


def resident_megabytes(server: CogServer) -> float:
    status = Path(f"/proc/{server.worker}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1024
