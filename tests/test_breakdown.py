"""Where the time of a frame goes, as `benchmarks.speed --profile` tells it."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks.breakdown import PARTS, Clock, print_breakdown
from sam_video.model.load import build_network
from sam_video.model.sam2 import SegmentationModel
from sam_video.types import Click, ObjectPrompt
from tests.clips import draw_clip


def test_every_part_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_clip(tmp_path / "clip.mp4", num_frames=3)
    network = build_network("pocket", image_size=128)
    model = SegmentationModel(network, device=torch.device("cpu"), dtype=torch.float32)
    prompts = [ObjectPrompt("disc", 0, (Click(12, 19),))]
    print_breakdown(model, tmp_path / "clip.mp4", prompts, 3)
    title, *lines = capsys.readouterr().out.splitlines()
    assert title.startswith("1 objects: ")
    parts = {line[2:44].strip() for line in lines}
    assert parts == {*PARTS.values(), "writing the video", "all else, decoding among it"}


def test_the_clock_waits_for_the_stream_of_its_thread_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[str] = []
    stream = SimpleNamespace(synchronize=lambda: waits.append("stream"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: stream)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: waits.append("GPU"))
    assert Clock(torch.device("cuda")).watch("part", lambda: 3)() == 3
    assert waits == ["stream", "stream"]
