"""Which attention is taken: a special one, as long as it is right."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from sam_video.model import attention, attention_tiles
from sam_video.model.attention import (
    Attention,
    attend,
    checked,
    fastest_attention,
    random_trials,
)
from sam_video.model.attention_tiles import Tile, tile_for
from sam_video.model.load import build_network
from sam_video.model.sam2 import SegmentationModel

CPU, GPU = torch.device("cpu"), torch.device("cuda")
TRIALS = list(random_trials([1, 3], (8, 4, 2), dtype=torch.float32, device=CPU))


def right(
    queries: Tensor, keys: Tensor, values: Tensor, num_valid: Tensor | None = None, /
) -> Tensor:
    return attend(queries, keys, values, num_valid) * 1.001


def wrong(
    queries: Tensor, keys: Tensor, values: Tensor, num_valid: Tensor | None = None, /
) -> Tensor:
    return attend(queries, keys, values, num_valid) * 1.1


def without_the_last_keys(
    queries: Tensor, keys: Tensor, values: Tensor, num_valid: Tensor | None = None, /
) -> Tensor:
    end = keys.shape[1] // 16 * 16
    return attend(queries, keys[:, :end], values[:, :end], num_valid)


def with_all_keys(
    queries: Tensor, keys: Tensor, values: Tensor, _: Tensor | None = None, /
) -> Tensor:
    return attend(queries, keys, values)


def failing(
    queries: Tensor, keys: Tensor, values: Tensor, num_valid: Tensor | None = None, /
) -> Tensor:
    raise RuntimeError("out of resource: shared memory")


@pytest.mark.parametrize(
    ("candidate", "is_taken"),
    [
        (right, True),
        (wrong, False),
        (without_the_last_keys, False),
        (with_all_keys, False),
        (failing, False),
    ],
)
def test_a_special_attention_is_taken_if_it_is_right(candidate: Attention, is_taken: bool) -> None:
    assert checked(candidate, attend, TRIALS) is (candidate if is_taken else attend)


def test_trials_are_the_same_at_each_start() -> None:
    again = random_trials([1, 3], (8, 4, 2), dtype=torch.float32, device=CPU)
    for one, other in zip(TRIALS, again, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one[:3], other[:3], strict=True))


class Kernel:
    """Stands in for the kernel on a GPU that stands in for one.

    Args:
        monkeypatch: Puts it in its place.
        capability: Of the GPU.
        factor: Of its results; 1 is right.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capability: tuple[int, int] = (8, 9),
        factor: float = 1.0,
    ) -> None:
        self.factor = factor
        self.tiles: list[Tile] = []
        monkeypatch.setenv("SAM_VIDEO_GPU_FEATURES", "kernel")
        module = SimpleNamespace(attend_fused=self.attend)
        monkeypatch.setitem(sys.modules, "sam_video.model.fused_attention", module)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
        monkeypatch.setattr(attention, "random_trials", self.trials)

    def attend(self, *inputs: Any, tile: Tile) -> Tensor:
        """Compute what the kernel does."""
        self.tiles.append(tile)
        return attend(*inputs) * self.factor

    @staticmethod
    def trials(counts: list[int], sizes: tuple[int, int, int], **_: Any) -> object:
        """Make the trials on the CPU."""
        return random_trials(counts, sizes, dtype=torch.float32, device=CPU)


def choose(dtype: torch.dtype = torch.bfloat16, device: torch.device = GPU) -> Attention:
    return fastest_attention(16, 32, 8, dtype=dtype, device=device)


def test_a_gpu_takes_the_kernel_with_the_tile_that_the_table_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernel = Kernel(monkeypatch)
    chosen = choose()
    kernel.tiles.clear()
    for trial in TRIALS:
        assert torch.equal(chosen(*trial), attend(*trial))
    assert kernel.tiles == [tile_for((8, 9), len(trial[1])) for trial in TRIALS]


def test_the_kernel_is_not_tried_unless_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch)
    monkeypatch.delenv("SAM_VIDEO_GPU_FEATURES")
    assert choose() is attend
    assert kernel.tiles == []


def test_the_kernel_is_left_where_the_table_names_no_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    tile = Tile(64, 16, 4, 1, 1)
    monkeypatch.setitem(attention_tiles.TILES, (8, 9), {1: None, 3: tile})
    kernel = Kernel(monkeypatch)
    chosen = choose()
    assert set(kernel.tiles) == {tile}
    kernel.tiles.clear()
    assert torch.equal(chosen(*TRIALS[0]), attend(*TRIALS[0]))
    assert kernel.tiles == []


def test_a_kernel_that_is_wrong_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    Kernel(monkeypatch, factor=1.1)
    assert choose() is attend


@pytest.mark.parametrize(
    ("capability", "dtype", "device"),
    [
        ((8, 9), torch.bfloat16, CPU),
        ((8, 9), torch.float32, CPU),
        ((8, 9), torch.float32, GPU),
        ((7, 5), torch.bfloat16, GPU),
    ],
    ids=["a CPU", "a CPU in float32", "float32", "an old GPU"],
)
def test_the_kernel_is_for_bfloat16_on_gpus_that_have_it(
    monkeypatch: pytest.MonkeyPatch,
    capability: tuple[int, int],
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    kernel = Kernel(monkeypatch, capability)
    assert choose(dtype, device) is attend
    assert kernel.tiles == []


def test_a_machine_without_triton_takes_the_attention_of_pytorch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Kernel(monkeypatch)
    monkeypatch.setitem(sys.modules, "sam_video.model.fused_attention", None)
    assert choose() is attend


def test_a_model_keeps_pytorch_from_asking_cudnn_for_attention() -> None:
    torch.backends.cuda.enable_cudnn_sdp(True)
    SegmentationModel(build_network("pocket"), device=CPU)
    assert not torch.backends.cuda.cudnn_sdp_enabled()
