"""The machine, its versions, and what it can do at most."""

import os
import platform

import numpy as np
import torch

from benchmarks.gpu.bench import Bench
from sam_video.model.device import default_dtype, device_name


def report_environment(bench: Bench) -> None:
    """Report what everything else depends on."""
    figures = {
        "device": device_name(bench.device),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "cores": os.cpu_count(),
        "dtype": str(default_dtype(bench.device)).removeprefix("torch."),
        **({} if bench.is_rehearsal else _gpu()),
        **_ceilings(bench),
    }
    bench.report.figures["environment"] = figures
    bench.report.info(", ".join(f"{name} {value}" for name, value in figures.items()))
    if not bench.is_rehearsal:
        is_taken = figures["dtype"] == "bfloat16"
        bench.report.check(is_taken, "this GPU multiplies bfloat16 itself, and it is chosen")


def _gpu() -> dict[str, object]:
    found = torch.cuda.get_device_properties(0)
    return {
        "capability": f"{found.major}.{found.minor}",
        "multiprocessors": found.multi_processor_count,
        "memory_gb": round(found.total_memory / 2**30, 1),
        "l2_mb": round(found.L2_cache_size / 2**20),
        "shared_bytes": getattr(found, "shared_memory_per_block_optin", None),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "cudnn_attention": torch.backends.cuda.cudnn_sdp_enabled(),
    }


def _ceilings(bench: Bench) -> dict[str, float]:
    """Return the rate of large products in bfloat16 and of large copies."""
    side, num_bytes = bench.pick((8192, 2**31), (64, 2**20))
    factor = torch.randn(side, side, device=bench.device, dtype=torch.bfloat16)
    product = bench.milliseconds(lambda: factor @ factor).device
    source = torch.empty(num_bytes, dtype=torch.uint8, device=bench.device)
    target = torch.empty_like(source)
    copy = bench.milliseconds(lambda: target.copy_(source)).device
    return {
        "tflop_per_second": round(2 * side**3 / product / 1e9, 1),
        "gb_per_second": round(2 * num_bytes / copy / 1e6),
    }
