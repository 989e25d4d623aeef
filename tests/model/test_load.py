"""Networks and their weights."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sam_video.errors import CheckpointError, RequestError
from sam_video.model.device import default_dtype
from sam_video.model.load import build_network, checked_input_size, load_weights

POCKET = Path(__file__).parents[2] / "weights" / "pocket.safetensors"


def test_the_bundled_checkpoint_fills_the_pocket_network() -> None:
    network = build_network("pocket")
    load_weights(network, POCKET)
    filled = network.state_dict()
    for name, stored in load_file(POCKET).items():
        assert torch.equal(filled[name], stored.to(filled[name].dtype)), name


def test_a_published_checkpoint_is_a_pickle_with_the_weights_under_model(tmp_path: Path) -> None:
    published = build_network("tiny")
    torch.save({"model": published.state_dict()}, tmp_path / "sam2.1_hiera_tiny.pt")
    network = build_network("tiny")
    load_weights(network, tmp_path / "sam2.1_hiera_tiny.pt")
    assert all(map(torch.equal, network.state_dict().values(), published.state_dict().values()))


def test_a_checkpoint_of_another_architecture_fails() -> None:
    with pytest.raises(CheckpointError, match=r"^pocket\.safetensors does not fit this model: "):
        load_weights(build_network("tiny"), POCKET)


def test_a_checkpoint_that_lacks_weights_fails(tmp_path: Path) -> None:
    weights = load_file(POCKET)
    weights.pop("no_mem_embed")
    save_file(weights, tmp_path / "part.safetensors")
    with pytest.raises(CheckpointError, match=r"^part\.safetensors does not fit this model: "):
        load_weights(build_network("pocket"), tmp_path / "part.safetensors")


@pytest.mark.parametrize("name", ["broken.pt", "broken.safetensors"])
def test_a_file_that_is_no_checkpoint_fails(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"<html>not found</html>")
    with pytest.raises(CheckpointError, match=rf"^{name} does not fit this model: ") as caught:
        load_weights(build_network("pocket"), tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [
        ("avx2 amx_bf16", torch.bfloat16),
        ("avx512f avx512_bf16", torch.bfloat16),
        ("avx2 avx512f", torch.float32),
    ],
)
def test_bfloat16_is_taken_where_the_cpu_has_it(
    flags: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr(Path, "exists", lambda _: True)
    monkeypatch.setattr(Path, "read_text", lambda _: f"flags : {flags}\n")
    assert default_dtype(torch.device("cpu")) is dtype


def test_the_input_size_is_the_trained_one_unless_another_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SAM_VIDEO_INPUT_SIZE", raising=False)
    assert checked_input_size() == build_network("tiny").image_size == 1024
    monkeypatch.setenv("SAM_VIDEO_INPUT_SIZE", "768")
    assert checked_input_size() == 768
    assert checked_input_size(512) == 512


@pytest.mark.parametrize("text", ["640", "1024.0", "big"])
def test_an_input_size_of_another_kind_fails(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM_VIDEO_INPUT_SIZE", text)
    message = f"SAM_VIDEO_INPUT_SIZE is '{text}'; expected one of 1024, 768, 512"
    with pytest.raises(RequestError, match=message):
        checked_input_size()
