"""Tiny detectors that the tests of one run share."""

from pathlib import Path

import pytest

from tests.detection.tiny_models import save_grounding_dino, save_owlv2


@pytest.fixture(scope="session")
def owlv2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny OWLv2."""
    return save_owlv2(tmp_path_factory.mktemp("detectors") / "owlv2")


@pytest.fixture(scope="session")
def llmdet_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny LLMDet, with a head of its own for each layer."""
    return save_grounding_dino(tmp_path_factory.mktemp("detectors") / "llmdet")
