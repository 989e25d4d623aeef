"""Choose the device and the number type of a model, and report GPU failures in one line."""

import os
import platform
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import clear_frames

import torch

from sam_video.errors import DeviceError
from sam_video.model.cuda_graphs import free_cached_memory

GPU_FILES = "nvidia[0-9]*"
"""In `/dev`, one for each GPU that this machine or container has been given."""

_OF_THE_GPU = re.compile("cuda|cudnn|cublas", re.IGNORECASE)
"""Marks the errors of CUDA and its libraries, which PyTorch all raises as `RuntimeError`."""

_TO_THE_CPU = "or set CUDA_VISIBLE_DEVICES to nothing to run on the CPU"


def default_device(devices: Path = Path("/dev")) -> torch.device:
    """Return the GPU if there is one, else the CPU.

    Args:
        devices: The folder of device files.

    Raises:
        DeviceError: There is a GPU that PyTorch cannot use, mostly because of an old driver.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is an error below
        if torch.cuda.is_available():
            return torch.device("cuda")
    is_hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    if torch.version.cuda and not is_hidden and any(devices.glob(GPU_FILES)):
        raise DeviceError(
            f"the GPU cannot be used: {_why_cuda_fails()}; update the NVIDIA driver to one for"
            f" CUDA {torch.version.cuda}, {_TO_THE_CPU}"
        )
    return torch.device("cpu")


def _why_cuda_fails() -> str:
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return _first_line(error)
    return "CUDA finds none"


def device_name(device: torch.device) -> str:
    """Return what a device is called in messages."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"


def default_dtype(device: torch.device) -> torch.dtype:
    """Return bfloat16 if the hardware multiplies its matrices faster, else float32."""
    if device.type == "cuda":  # older GPUs emulate it, slowly
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_bf16 = _cpu_has_bf16()
    return torch.bfloat16 if has_bf16 else torch.float32


def _cpu_has_bf16() -> bool:
    """Tell whether the CPU multiplies bfloat16 faster: Intel's AMX, or AVX-512 as AMD's has too."""
    cpuinfo = Path("/proc/cpuinfo")
    if platform.system() != "Linux" or not cpuinfo.exists():
        return False
    flags = set(cpuinfo.read_text().split())
    return not flags.isdisjoint({"amx_bf16", "avx512_bf16"})


@contextmanager
def device_errors() -> Iterator[None]:
    """Turn failures of the GPU into errors of one line that say what to do.

    Raises:
        DeviceError: Its memory does not suffice, or it fails.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        clear_frames(error.__traceback__)  # which hold tensors
        free_cached_memory()
        raise DeviceError(
            f"the GPU's memory does not suffice: {_first_line(error)}; choose a smaller model,"
            " fewer objects or a smaller video"
        ) from None
    except RuntimeError as error:
        if not _OF_THE_GPU.search(str(error)):
            raise
        raise DeviceError(
            f"the GPU fails: {_first_line(error)}; start again, and if that does not help, update"
            f" the NVIDIA driver, {_TO_THE_CPU}"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
