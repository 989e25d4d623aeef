"""Tiny detectors that the tests of one run share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sam_video.detection.sam3_video import Sam3
from tests.detection.tiny_models import save_grounding_dino, save_owlv2
from tests.detection.tiny_sam3 import one_core, save_sam3


@pytest.fixture(scope="session")
def owlv2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny OWLv2."""
    return save_owlv2(tmp_path_factory.mktemp("detectors") / "owlv2")


@pytest.fixture(scope="session")
def llmdet_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny LLMDet, with a head of its own for each layer."""
    return save_grounding_dino(tmp_path_factory.mktemp("detectors") / "llmdet")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sam3]:
    """SAM 3's video network, tiny and with random weights."""
    with one_core():
        folder = save_sam3(tmp_path_factory.mktemp("sam3"))
        yield Sam3(folder, torch.device("cpu"), torch.float32)


@pytest.fixture
def sam3(loaded: Sam3, monkeypatch: pytest.MonkeyPatch) -> Sam3:
    """A network in which a detection that touches a track of its concept is that track's."""
    for name in ("assoc_iou_thresh", "trk_assoc_iou_thresh"):
        monkeypatch.setattr(loaded.network, name, 1e-6)
    return loaded
