"""The first minutes on a GPU: what is wrong there, how fast it is, and what would be faster.

Prints `PASS`, `FAIL` and `INFO` lines as it goes, and the `FAIL` lines again at the end; exit
status 1 if there are any. Writes `gpu.json` with all figures and `gpu.md`, a table for the README.
Parts for which no time is left are skipped. It needs no network and no data: the clip is drawn, and
networks whose checkpoint is not at hand get random weights.
"""

import argparse
import logging
import os
import sys
from functools import partial
from pathlib import Path

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.captures import check_captures
from benchmarks.gpu.cold_start import time_start
from benchmarks.gpu.environment import report_environment
from benchmarks.gpu.frames import time_compiled_trunk, time_encoder, time_parts
from benchmarks.gpu.kernel import check_kernel, time_attention
from benchmarks.gpu.parity import check_masks
from benchmarks.gpu.report import Part, Report
from benchmarks.gpu.tracking import (
    check_little_memory,
    check_recordings,
    table,
    time_clips,
    time_compiled,
)
from sam_video.limits import GPU_FEATURES
from sam_video.request import MODEL_NAMES


def parts(bench: Bench) -> list[Part]:
    """Return all parts in order: what is wrong comes first, then what is worth most."""
    return [
        Part("machine", partial(report_environment, bench), 5),
        Part("start of a process", partial(time_start, bench), 30),
        Part("attention is right", partial(check_kernel, bench), 25),
        Part("recording beside other threads", partial(check_captures, bench), 30),
        Part("masks are right", partial(check_masks, bench), 80),
        Part("attention by number of objects", partial(time_attention, bench), 60),
        Part("image encoder", partial(time_encoder, bench), 20),
        Part("parts of a frame", partial(time_parts, bench), 20),
        Part("four predictions in a row", partial(check_recordings, bench), 60),
        Part("clips beside the official predictor", partial(time_clips, bench), 70),
        Part("little memory", partial(check_little_memory, bench), 15),
        Part("compiled trunk", partial(time_compiled_trunk, bench), 60, is_rehearsed=False),
        Part("clips beside vos_optimized", partial(time_compiled, bench), 90, is_rehearsed=False),
    ]


def main() -> int:
    """Run all parts and return the exit status."""
    options = parse_options()
    os.environ["SAM_VIDEO_GPU_FEATURES"] = ",".join(GPU_FEATURES)  # off unless asked for
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    options.out.mkdir(parents=True, exist_ok=True)
    report = Report(options.budget, options.out / "gpu.json", is_rehearsal=options.cpu)
    model_name = options.model or ("pocket" if options.cpu else "large")
    bench = Bench(report, model_name, is_rehearsal=options.cpu)
    for part in parts(bench):
        report.run(part)
    text = table(report.figures)
    (options.out / "gpu.md").write_text(f"{text}\n")
    print(f"\n{text}")
    return report.finish()


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out/gpu"), help="the folder of figures")
    parser.add_argument("--cpu", action="store_true", help="rehearse without a GPU, in a minute")
    parser.add_argument("--model", choices=MODEL_NAMES, help="whose speed matters: large")
    parser.add_argument("--budget", type=float, default=460, help="seconds for everything")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
