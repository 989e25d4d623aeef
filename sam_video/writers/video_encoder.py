"""Encode frames as a video file; the only module that runs the ffmpeg program."""

import os
import re
import select
import shutil
import subprocess
import tempfile
from contextlib import suppress
from fractions import Fraction
from functools import cache, cached_property
from pathlib import Path
from typing import IO, NoReturn

import ffmpeg
import imageio_ffmpeg
import numpy as np
import numpy.typing as npt

from sam_video.errors import VideoError, one_line
from sam_video.limits import MAX_STALL_SECONDS
from sam_video.workers.patience import Patience
from sam_video.workers.threads import POLL_SECONDS, wait_until_ready
from sam_video.writers.atomic_files import partial_path, public_name
from sam_video.writers.video_forms import H264, VideoForm

ENCODERS = ("libx264", "libvpx-vp9", "prores_ks")
"""The encoders that the ffmpeg program must have, by FFmpeg's names."""

PLACEHOLDER = "file:output"
"""Placeholder in a command for the file to write."""

LAST_WORDS_SECONDS = 5
"""Time for a program that has closed its input to write its error and exit."""

MAX_SAR_TERM = 65535
"""H.264 has 16 bits for each term of a pixel's aspect ratio."""

COLOURS = {"color_primaries": "bt709", "color_trc": "bt709", "colorspace": "bt709"}


@cache
def find_ffmpeg() -> str:
    """Return the ffmpeg program: the system's if it has all `ENCODERS`, else imageio-ffmpeg's.

    Raises:
        VideoError: There is none.
    """
    system = shutil.which("ffmpeg")
    if system is not None:
        listing = _encoders_of(system)
        if all(name in listing for name in ENCODERS):
            return system
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:
        raise VideoError(
            f"no ffmpeg program with {', '.join(ENCODERS[:-1])} and {ENCODERS[-1]} is installed;"
            " install ffmpeg or imageio-ffmpeg"
        ) from None


def _encoders_of(program: str) -> str:
    """Return a program's list of encoders; empty if the program does not run, or hangs."""
    with tempfile.TemporaryFile() as output, suppress(OSError, subprocess.TimeoutExpired):
        command = [program, "-hide_banner", "-encoders"]
        silent = subprocess.DEVNULL
        subprocess.run(
            command,
            stdin=silent,
            stdout=output,
            stderr=silent,
            check=False,
            timeout=int(MAX_STALL_SECONDS),
        )
        output.seek(0)
        return output.read().decode(errors="replace")
    return ""


class VideoEncoder:
    """Writes a video file of constant frame rate that browsers play.

    The file appears under its name when `finish` returns. Encoding runs in a child process, in
    parallel; the process starts with the first frame, and `close` ends it. Colours are BT.709, and
    tagged so. Where 4:2:0 needs even sizes, an odd width or height repeats the last column or row,
    as a transparent copy if the video has alpha.

    Args:
        path: The file to write; an existing one is replaced. Its folder exists.
        width: Width of the images in pixels.
        height: Height of the images in pixels.
        frame_rate: Frames per second.
        pixel_aspect: Width of a pixel divided by its height; players stretch by it.
        form: Codec and container, and whether images have an alpha channel.

    Raises:
        VideoError: The images are too large for the format, or there is no ffmpeg program.
    """

    def __init__(
        self,
        path: Path,
        *,
        width: int,
        height: int,
        frame_rate: Fraction,
        pixel_aspect: Fraction = Fraction(1),
        form: VideoForm = H264,
    ) -> None:
        self._name = public_name(path)
        self._form = form
        limit = form.max_side_px
        if max(width, height) > limit:
            raise VideoError(
                f"{self._name!r} holds at most {limit} pixels a side, and frames have"
                f" {width}x{height}; expected smaller ones, or images in png"
            )
        self._program = find_ffmpeg()
        self._path = path
        self._partial = partial_path(path)
        self._shape = (height, width, 4 if form.has_alpha else 3)
        self._frame_rate = frame_rate
        self._pixel_aspect = pixel_aspect.limit_denominator(MAX_SAR_TERM)
        self._is_finished = False

    def _start(self) -> "subprocess.Popen[bytes]":
        command = self._command()
        # A file, because an unread pipe would fill up and block the program.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (close does)
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            bufsize=0,
        )
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        return process

    def close(self) -> None:
        """Kill the program and remove its file, unless the video is finished."""
        if "_process" not in vars(self):  # it was not started
            return
        if not self._is_finished:
            self._process.kill()
            self._process.wait()
            self._partial.unlink(missing_ok=True)
        self._pipe.close()
        self._log.close()

    def write(self, image: npt.NDArray[np.uint8]) -> None:
        """Add a frame, `(height, width, 3)` uint8 RGB, or `(height, width, 4)` with alpha.

        Raises:
            VideoError: The program ended, for example because the disk is full.
        """
        assert image.shape == self._shape and image.dtype == np.uint8, (image.shape, image.dtype)
        padded = _pad_to_even(image) if self._form.needs_even_sizes else image
        rest = np.ascontiguousarray(padded).data.cast("B")
        patience = Patience(self._process.pid, self._partial)
        while rest:
            if not wait_until_ready(self._pipe.fileno(), select.POLLOUT, patience.is_over):
                self._fail_stalled()
            try:
                rest = rest[os.write(self._pipe.fileno(), rest) :]
                patience.restart()
            except BlockingIOError:
                continue
            except BrokenPipeError:
                self._fail()

    def finish(self) -> None:
        """Complete the video and rename the file.

        Raises:
            VideoError: The program failed, for example because the disk is full.
        """
        self._pipe.close()
        patience = Patience(self._process.pid, self._partial)
        while not self._has_ended_within(POLL_SECONDS):
            if patience.is_over():
                self._fail_stalled()
        if self._process.returncode != 0:
            self._fail()
        self._partial.replace(self._path)
        self._is_finished = True

    @cached_property
    def _process(self) -> "subprocess.Popen[bytes]":
        """The running program; it starts on first use."""
        return self._start()

    @property
    def _pipe(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    def _command(self) -> list[str]:
        height, width, num_channels = self._shape
        step = 2 if self._form.needs_even_sizes else 1
        images = ffmpeg.input(
            "pipe:0",
            format="rawvideo",
            pix_fmt="rgba" if num_channels == 4 else "rgb24",
            video_size=(width + width % step, height + height % step),
            framerate=str(self._frame_rate),
        )
        # Without accurate_rnd and full_chroma_int, pure colours are off by a few levels.
        converted = (
            images.filter(
                "scale",
                out_color_matrix="bt709",
                out_range="tv",
                flags="bicubic+accurate_rnd+full_chroma_int+full_chroma_inp",
            )
            .filter("setsar", sar=str(self._pixel_aspect), max=MAX_SAR_TERM)
            .filter("setparams", range="tv", **COLOURS)
        )
        output = converted.output(
            PLACEHOLDER,
            color_range="tv",
            **COLOURS,
            **self._form.options,
        ).global_args("-hide_banner", "-loglevel", "error")
        command: list[str] = output.compile(cmd=self._program, overwrite_output=True)
        # Inserted last, since ffmpeg-python accepts only names of valid Unicode.
        return [f"file:{self._partial}" if word == PLACEHOLDER else word for word in command]

    def _has_ended_within(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _fail_stalled(self) -> NoReturn:
        self._process.kill()
        self._process.wait()
        raise VideoError(
            f"{self._name!r} cannot be encoded: ffmpeg gets no further;"
            f" expected progress within {MAX_STALL_SECONDS} seconds"
        )

    def _fail(self) -> NoReturn:
        if not self._has_ended_within(LAST_WORDS_SECONDS):
            self._process.kill()
            self._process.wait()
        self._log.seek(0)
        # The first line is the cause; the others are its effects on other parts of ffmpeg.
        cause = re.sub(r"^(\[[^]]*\] )+", "", self._log.readline().decode(errors="replace").strip())
        cause = cause.replace(f"file:{self._partial}", self._name)
        reason = cause or f"ffmpeg ended with status {self._process.returncode}"
        raise VideoError(f"{self._name!r} cannot be encoded: {one_line(reason)}") from None


def _pad_to_even(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    height, width, num_channels = image.shape
    if height % 2 == 0 and width % 2 == 0:
        return image
    padded = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    if num_channels == 4:
        padded[height:, :, 3] = padded[:, width:, 3] = 0
    return padded
