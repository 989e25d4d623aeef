"""Which processor is taken, and what is said where a GPU does not serve.

There is no GPU here: what CUDA would say stands in its place, as PyTorch words it.
"""

import gc
import logging
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sam_video.errors import DeviceError
from sam_video.model.device import default_device, default_dtype, device_errors
from sam_video.model.interface import ImageFeatures, MemoryBatch
from sam_video.model.load import build_network, load_model, load_weights
from sam_video.model.sam2 import SegmentationModel
from sam_video.request import Request
from sam_video.service.pipeline import segment_video
from sam_video.service.session import Session
from sam_video.types import Click, ObjectPrompt
from tests.clips import draw_clip

WEIGHTS = Path(__file__).parents[2] / "weights"
OLD_DRIVER = (
    "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU"
    " driver by downloading and installing a new version\nfrom the URL: http://www.nvidia.com"
)
NO_KERNEL = (
    "CUDA error: no kernel image is available for execution on the device\n"
    "CUDA kernel errors might be asynchronously reported at some other API call."
)
NO_CUDNN = (
    "cuDNN Frontend error: [cudnn_frontend] Error: No execution plans support the graph.\n"
    "Exception raised from run"
)
NO_CUBLAS = "cublasLt ran into an error!"
NO_MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8 GiB."


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files of one GPU, and a PyTorch for CUDA 13.0 that cannot use it."""
    for name in ("nvidia0", "nvidiactl"):
        (tmp_path / name).touch()

    def init() -> None:
        raise RuntimeError(OLD_DRIVER)

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "init", init)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return tmp_path


def test_the_gpu_is_taken_where_it_can_be(devices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert default_device(devices) == torch.device("cuda")


def test_a_machine_without_a_gpu_runs_on_the_cpu(devices: Path) -> None:
    (devices / "nvidia0").unlink()
    assert default_device(devices) == torch.device("cpu")


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_a_gpu_that_is_hidden_is_left_alone(
    devices: Path, hidden: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert default_device(devices) == torch.device("cpu")


def test_a_pytorch_without_cuda_runs_on_the_cpu(
    devices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    assert default_device(devices) == torch.device("cpu")


def test_an_old_driver_fails_with_what_to_do(devices: Path) -> None:
    with pytest.raises(DeviceError) as caught:
        default_device(devices)
    message = str(caught.value)
    assert message.startswith("the GPU cannot be used: The NVIDIA driver on your system is too old")
    assert "update the NVIDIA driver to one for CUDA 13.0" in message
    assert "CUDA_VISIBLE_DEVICES" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError(NO_KERNEL), "the GPU fails: CUDA error: no kernel image is available for"),
        (torch.AcceleratorError(NO_KERNEL), "the GPU fails: CUDA error: no kernel image"),
        (RuntimeError(NO_CUDNN), "the GPU fails: cuDNN Frontend error: .* support the graph; "),
        (RuntimeError(NO_CUBLAS), "the GPU fails: cublasLt ran into an error!; start again"),
        (torch.OutOfMemoryError(NO_MEMORY), "memory does not suffice: CUDA out of memory. Tried"),
    ],
    ids=["runtime", "accelerator", "cudnn", "cublas", "memory"],
)
def test_what_a_gpu_refuses_fails_in_one_line(error: Exception, expected: str) -> None:
    with pytest.raises(DeviceError, match=expected) as caught, device_errors():
        raise error
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("has_units", "dtype"), [(True, torch.bfloat16), (False, torch.float32)], ids=["L40S", "T4"]
)
def test_bfloat16_is_taken_where_the_gpu_need_not_emulate_it(
    has_units: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_supported(including_emulation: bool = True) -> bool:
        return has_units or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
    assert default_dtype(torch.device("cuda")) is dtype


def test_errors_of_other_kinds_pass() -> None:
    with pytest.raises(RuntimeError, match="size mismatch"), device_errors():
        raise RuntimeError("size mismatch")


def test_a_large_model_without_a_gpu_says_what_to_expect(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "tiny.pt"
    torch.save({"model": build_network("tiny").state_dict()}, path)
    with caplog.at_level(logging.WARNING):
        load_model("tiny", checkpoint=path)
        load_model("pocket")
    (record,) = caplog.records
    assert record.getMessage().startswith("tiny runs on the CPU, where a frame takes seconds")


# Memory of a GPU that does not suffice


class SmallModel(SegmentationModel):
    """The pocket checkpoint, as if memory sufficed for a number of objects only."""

    most = 1

    def with_memory(self, image: ImageFeatures, memory: MemoryBatch, span: int) -> Tensor:
        informed = super().with_memory(image, memory, span)
        if len(informed) > self.most:
            raise torch.OutOfMemoryError(NO_MEMORY)
        return informed


@pytest.fixture(scope="module")
def small_model() -> SmallModel:
    network = build_network("pocket")
    load_weights(network, WEIGHTS / "pocket.safetensors")
    return SmallModel(network)


def clicks() -> list[ObjectPrompt]:
    places = {"disc": (12, 19), "rectangle": (75, 40), "ground": (40, 50)}
    return [ObjectPrompt(name, 0, (Click(x, y),)) for name, (x, y) in places.items()]


def test_real_masks_are_the_same_where_memory_suffices_for_one_object_at_a_time(
    small_model: SmallModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_clip(tmp_path / "clip.mp4", num_frames=5)
    runs = []
    for most in (3, 1):
        monkeypatch.setattr(SmallModel, "most", most)
        runs.append(list(segment_video(tmp_path / "clip.mp4", clicks(), model=small_model)))
    for whole, single in zip(*runs, strict=True):
        for one, other in zip(whole.objects, single.objects, strict=True):
            assert (one.mask != other.mask).mean() < 0.001


def test_a_prediction_after_one_without_memory_runs_and_nothing_is_held(
    small_model: SmallModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_clip(tmp_path / "clip.mp4", num_frames=5)
    session = Session("pocket")
    session._model = small_model
    request = Request(
        input_video=tmp_path / "clip.mp4", click_coordinates="[12,19],[75,40]", model="pocket"
    )
    num_tensors = live_tensors()
    monkeypatch.setattr(SmallModel, "most", 0)
    with pytest.raises(DeviceError, match="choose a smaller model, fewer objects"):
        list(session.predict(request, tmp_path / "out"))
    assert live_tensors() == num_tensors
    assert list((tmp_path / "out").iterdir()) == []
    monkeypatch.setattr(SmallModel, "most", 1)
    assert len(list(session.predict(request, tmp_path / "out"))) == 5


def live_tensors() -> int:
    gc.collect()
    return sum(issubclass(type(item), Tensor) for item in gc.get_objects())
