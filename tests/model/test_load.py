"""Networks and their weights."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sam_video.errors import CheckpointError, RequestError
from sam_video.limits import check_limits, checked_input_size
from sam_video.model.device import default_dtype
from sam_video.model.load import build_network, load_model, load_weights
from sam_video.model.sam2 import SegmentationModel
from sam_video.types import Click, ObjectPrompt

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


@pytest.mark.parametrize("name", ["pocket", "tiny"])
def test_a_network_built_without_weights_equals_one_built_with_random_ones(
    name: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    built = build_network(name)
    torch.save({"model": built.state_dict()}, tmp_path / "built.pt")
    model = load_model(name, checkpoint=tmp_path / "built.pt")
    known = SegmentationModel(built)
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    click = ObjectPrompt("a", 0, (Click(20, 20),))
    results = []
    for one in (model, known):
        (image,) = one.encode_images([noise])
        found = one.decode(image, one.without_memory(image), [click], (40, 60))
        memories = one.encode_memory(image, found, is_prompted=True)
        results.append((image.features, found.mask_logits, found.pointers, *memories))
    assert all(map(torch.equal, *results))


def test_weights_stay_in_the_file_that_is_mapped(tmp_path: Path) -> None:
    path = tmp_path / "tiny.pt"
    torch.save({"model": build_network("tiny").state_dict()}, path)
    network = build_network("tiny")
    load_weights(network, path)
    addresses = [weight.data_ptr() for weight in network.parameters()]
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    mapped = [range(*(int(x, 16) for x in line[0].split("-"))) for line in lines
              if line[-1] == str(path)]  # fmt: skip
    assert all(any(address in part for part in mapped) for address in addresses)


def test_a_checkpoint_of_an_old_format_loads_without_being_mapped(tmp_path: Path) -> None:
    published = build_network("tiny")
    path = tmp_path / "tiny.pt"
    content = {"model": published.state_dict()}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    network = build_network("tiny")
    load_weights(network, path)
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
@pytest.mark.parametrize("step", [checked_input_size, check_limits, partial(load_model, "pocket")])
def test_an_input_size_of_another_kind_fails(
    step: Callable[[], object], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAM_VIDEO_INPUT_SIZE", text)
    message = f"SAM_VIDEO_INPUT_SIZE is '{text}'; expected one of 1024, 768, 512"
    with pytest.raises(RequestError, match=message):
        step()
