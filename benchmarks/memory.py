"""Peak memory of whole predictions, file in and files out, against the length of the video.

Each prediction runs in a process of its own, since a peak never falls again. Run
`python -m benchmarks.memory --help`.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from contextlib import closing
from fractions import Fraction
from itertools import cycle, islice
from pathlib import Path

from benchmarks.clips import clicked_objects
from examples.sample_clip import FRAME_RATE, HEIGHT, WIDTH, draw_sample
from sam_video.request import MODEL_NAMES, Request
from sam_video.service.session import Session
from sam_video.video.source import open_video
from sam_video.writers.video_encoder import VideoEncoder

EXTRA_OUTPUTS = ("output_boxes", "output_masks", "output_confidences", "output_overlay")
LONG = 1000
"""Frames of the video that is measured where none is given."""


def main() -> None:
    """Measure a video's first frames and the whole of it, and print both."""
    options = parse_options()
    if options.child:
        predict(options)
        return
    with tempfile.TemporaryDirectory() as folder:
        video = options.video or loop_sample(Path(folder) / "long.mp4")
        start = Path(folder) / "start.mp4"
        cut(video, start, options.frames)
        short, whole = (peak_megabytes(path, options) for path in (start, video))
        frames = open_video(video).count_frames(10**9)
    outputs = "every output" if options.everything else "binary masks as a video and RLE"
    print(f"{options.model}, {options.objects} objects, {outputs}")
    print(f"first {options.frames} frames: {short:.0f} MB")
    print(f"all {frames} frames: {whole:.0f} MB ({whole - short:+.0f} MB)")


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    help_text = f"by default the drawn sample clip, repeated to {LONG} frames"
    parser.add_argument("video", type=Path, nargs="?", help=help_text)
    parser.add_argument("--frames", type=int, default=100, help="length of the short run")
    parser.add_argument("--objects", type=int, default=3)
    parser.add_argument("--model", choices=MODEL_NAMES, default="pocket")
    parser.add_argument("--everything", action="store_true", help="write every kind of output")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def loop_sample(path: Path) -> Path:
    """Write the sample clip again and again, as one long video."""
    images = [image for image, _ in draw_sample()]
    rate = Fraction(FRAME_RATE)
    with closing(VideoEncoder(path, width=WIDTH, height=HEIGHT, frame_rate=rate)) as encoder:
        for image in islice(cycle(images), LONG):
            encoder.write(image)
        encoder.finish()
    return path


def cut(video: Path, start: Path, count: int) -> None:
    """Write the first frames of a video as a video."""
    source = open_video(video)
    info = source.info
    encoder = VideoEncoder(start, width=info.width, height=info.height, frame_rate=info.frame_rate)
    with closing(source.frames()) as frames, closing(encoder):
        for frame in islice(frames, count):
            encoder.write(frame.image)
        encoder.finish()


def peak_megabytes(video: Path, options: argparse.Namespace) -> float:
    """Run a prediction in a process of its own and return its peak resident memory."""
    command = [sys.executable, "-m", "benchmarks.memory", str(video), "--child"]
    command += ["--model", options.model, "--objects", str(options.objects)]
    command += ["--everything"] * options.everything
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return float(output)


def predict(options: argparse.Namespace) -> None:
    """Predict, and print this process's peak resident memory in megabytes."""
    info = open_video(options.video).info
    prompts = clicked_objects(info.width, info.height, options.objects)
    clicks = [prompt.clicks[0] for prompt in prompts]
    with tempfile.TemporaryDirectory() as folder:
        request = Request(
            input_video=options.video,
            click_coordinates=",".join(f"[{click.x},{click.y}]" for click in clicks),
            model=options.model,
            output_video=True,
            output_rle=True,
            **dict.fromkeys(EXTRA_OUTPUTS, options.everything),
        )
        for _ in Session().predict(request, Path(folder)):
            pass
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main()
