"""What happens from a checkpoint's path to its model."""

import os
from pathlib import Path

import pytest

from sam_video.errors import CheckpointError
from sam_video.model import load
from sam_video.service.loading import load_model

POCKET = Path(__file__).parents[2] / "weights" / "pocket.safetensors"


def test_a_checkpoint_is_read_from_the_disk_before_it_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps: list[object] = []

    def advise(descriptor: int, *arguments: int) -> None:
        steps.append((Path(f"/proc/self/fd/{descriptor}").readlink(), *arguments))

    monkeypatch.setattr(os, "posix_fadvise", advise)
    monkeypatch.setattr(load, "load_model", lambda name, **_: steps.append(name))
    load_model("pocket", checkpoint=POCKET)
    assert steps == [(POCKET, 0, 0, os.POSIX_FADV_WILLNEED), "pocket"]


def test_a_checkpoint_that_is_gone_fails(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"pocket\.safetensors"):
        load_model("pocket", checkpoint=tmp_path / "pocket.safetensors")
