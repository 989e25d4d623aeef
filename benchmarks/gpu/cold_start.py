"""How long a process takes until its model is ready, and which step takes how much of that."""

import re
import subprocess
import sys
import time

from benchmarks.gpu.bench import Bench
from sam_video.checkpoints.catalogue import find_checkpoint

MOST_SECONDS = 60
"""In which a server must be ready, its weights read from a disk for the first time."""
CODE = """
import logging, sys
from pathlib import Path
from sam_video.service.loading import load_model
logging.basicConfig(level=logging.INFO, format="%(message)s")
load_model(sys.argv[1], checkpoint=Path(sys.argv[2]))
"""


def time_start(bench: Bench) -> None:
    """Load a checkpoint in a new process, and report its log."""
    names = [name for name in (bench.model_name, "pocket") if find_checkpoint(name)]
    name = names[0]
    command = [sys.executable, "-c", CODE, name, str(find_checkpoint(name))]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    steps = re.findall(r"^(.+) took (\d+\.\d) s$", done.stderr, re.MULTILINE)
    figures = {step: float(taken) for step, taken in steps} | {"in all": round(seconds, 1)}
    bench.report.figures["start, seconds"] = figures
    text = ", ".join(f"{step} {taken} s" for step, taken in figures.items())
    is_good = done.returncode == 0 and (bench.is_rehearsal or seconds < MOST_SECONDS)
    bench.report.check(is_good, f"{name} is ready: {text} {'' if is_good else done.stderr[-300:]}")
