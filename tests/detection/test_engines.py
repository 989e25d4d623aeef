"""Detectors by name: what `auto` is, where weights come from, and what is missing is one line."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sam_video.checkpoints.catalogue import CHECKPOINTS
from sam_video.detection import engines, loading
from sam_video.detection.engines import ENGINES, engine_for, load_detector
from sam_video.detection.grounding_dino import GroundingDinoDetector
from sam_video.detection.owlv2 import Owlv2Detector
from sam_video.errors import CheckpointError, RequestError
from tests.detection.tiny_models import save_grounding_dino, save_owlv2

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
WITH_WEIGHTS = [name for name in ENGINES if name != "pocket"]


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that `SAM_VIDEO_WEIGHTS` names; there is no other."""
    monkeypatch.setattr("sam_video.checkpoints.detectors.search_folders", lambda: [tmp_path])
    return tmp_path


@pytest.mark.parametrize(
    ("text_model", "model", "device", "engine"),
    [
        ("auto", "large", "cuda", "owlv2_large"),
        ("auto", "tiny", "cpu", "owlv2_base"),
        ("auto", "pocket", "cuda", "pocket"),
        ("auto", "pocket", "cpu", "pocket"),
        ("sam3", "pocket", "cpu", "sam3"),
    ],
)
def test_auto_is_the_best_that_the_machine_bears(
    text_model: str, model: str, device: str, engine: str
) -> None:
    assert engine_for(text_model, model=model, device=torch.device(device)) == engine


def test_an_unknown_name_fails() -> None:
    expected = "expected one of owlv2_large, owlv2_base, llmdet, sam3, pocket"
    with pytest.raises(RequestError, match=f"^text_model is 'yolo'; {expected}$"):
        load_detector("yolo")


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_an_engine_without_weights_is_one_line_with_licence_and_command_fails(
    weights: Path, name: str
) -> None:
    with pytest.raises(CheckpointError, match=r"(Apache-2\.0|SAM License)") as error:
        load_detector(name, device=CPU)
    assert "run `sam-video download " in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", WITH_WEIGHTS)
def test_without_the_extra_it_is_one_line_fails(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "find_spec", lambda _: None)
    line = f"text_model {name} needs the package transformers; pip install 'sam_video[text]'"
    with pytest.raises(RequestError) as error:
        load_detector(name, device=CPU)
    assert str(error.value) == line


@pytest.mark.parametrize("version", ["4.57.1", "5.0.0", "5.20.2", "5.9", "nonsense"])
def test_a_version_that_ties_the_heads_of_llmdet_fails(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "version", lambda _: version)
    with pytest.raises(
        RequestError, match=rf"^text_model llmdet needs transformers 5\.21 or newer, and {version}"
    ):
        load_detector("llmdet", device=CPU)


@pytest.mark.parametrize("version", ["5.21.0", "5.24.0", "6.0", "5.21rc1.dev0"])
def test_a_newer_version_is_accepted(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "version", lambda _: version)
    loading.check_transformers("llmdet")


def test_a_folder_in_weights_is_loaded_under_its_name(weights: Path) -> None:
    save_owlv2(weights / "owlv2_base")
    detector = load_detector("owlv2_base", device=CPU)
    assert isinstance(detector, Owlv2Detector)
    assert detector.threshold == 0.2


def test_the_largest_llmdet_that_is_there_is_taken(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in ("tiny", "base"):
        folder = weights / f"llmdet_{size}"
        folder.mkdir()
        for name in ("config.json", "model.safetensors"):
            (folder / name).write_bytes(b"")
    assert engines._resolved("llmdet", None) == weights / "llmdet_base"


def test_a_folder_of_the_callers_own_goes_first(weights: Path, tmp_path: Path) -> None:
    own = save_grounding_dino(tmp_path / "own")
    detector = load_detector("llmdet", device=CPU, folder=own)
    assert isinstance(detector, GroundingDinoDetector)
    assert detector.threshold == 0.3


def test_sam3_gets_its_folder_and_device(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (weights / "sam3").mkdir()
    for name in ("config.json", "model.safetensors"):
        (weights / "sam3" / name).write_bytes(b"")
    module = SimpleNamespace(Sam3Detector=lambda *given: given)
    monkeypatch.setitem(sys.modules, "sam_video.detection.sam3", module)
    loaded: Any = load_detector("sam3", device=CPU)
    assert loaded == (weights / "sam3", CPU)


def test_pocket_gets_its_file_and_device(monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(PocketWords=lambda *given: given, WEIGHTS=CHECKPOINTS["pocket"])
    monkeypatch.setitem(sys.modules, "sam_video.detection.pocket_words", module)
    loaded: Any = load_detector("pocket", device=CPU)
    assert loaded == (ROOT / "weights" / "pocket.safetensors", CPU)


def test_the_engines_are_known_without_transformers() -> None:
    code = (
        "import sys\n"
        "import sam_video.detection.engines, sam_video.detection.owlv2\n"
        "import sam_video.detection.grounding_dino\n"
        "assert not {'transformers', 'torchvision', 'scipy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
