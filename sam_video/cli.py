"""The command line, `sam-video`: `predict`, `info` and `download`.

Results go to standard output, everything else to standard error. Commands import slow modules
themselves, so that `--help` and errors in the arguments are answered at once.
"""

import argparse
import logging
import os
import re
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import NoReturn

from sam_video.checkpoints import catalogue, detectors
from sam_video.checkpoints.catalogue import CHECKPOINTS, default_model, resolve_checkpoint
from sam_video.checkpoints.detectors import DETECTORS, resolve_detector
from sam_video.console import EndedBySignal, ending_by_signals, open_streams, print_error, write
from sam_video.errors import RequestError, SamVideoError, one_line
from sam_video.limits import check_limits
from sam_video.request import Request

_INPUTS = ", ".join(field.name for field in fields(Request))
_FILE_INPUTS = {field.name for field in fields(Request) if field.type in (Path, Path | None)}
_DOWNLOADS = [*CHECKPOINTS, *(name.replace("_", "-") for name in DETECTORS)]
_SHORTAGE = re.compile(
    "start new thread|allocate memory|not enough memory|create a primitive|failed to map"
)
"""Messages of PyTorch and its libraries when memory has run out and they raise no `MemoryError`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The command and its options; by default those of the process.

    Returns:
        The exit status. 0 is success, even if nothing reads the printed paths of the files. The
        others follow one line `error: …` on standard error: 2 is an error that the user can fix,
        1 is a failure of the system, and 128 + N is an end by signal N (130 is Ctrl-C).
    """
    open_streams()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    try:
        with ending_by_signals():
            status = _run(argv)
    except EndedBySignal as end:
        print_error(str(end))
        status = end.status
    write(sys.stderr)
    return status


def _run(argv: Sequence[str] | None) -> int:
    try:
        arguments = _parser().parse_args(argv)
        check_limits()
        arguments.run(arguments)
        if (failure := write(sys.stdout)) is not None:
            raise failure
    except BrokenPipeError:
        return 1
    except (SamVideoError, OSError) as error:
        print_error(one_line(" ".join(str(error).splitlines())))
        return 2 if isinstance(error, SamVideoError) else 1
    except (ImportError, MemoryError, RuntimeError) as error:
        if (remedy := _remedy(error)) is None:
            raise
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        print_error(f"{one_line(first_line)}; {remedy}")
        return 1
    return 0


def _remedy(error: Exception) -> str | None:
    """Return advice for an error of the machine or the installation; None for a bug of ours."""
    if isinstance(error, MemoryError) or _SHORTAGE.search(str(error)):
        return "more memory is needed: free some, or raise its limit (`ulimit -v`)"
    if isinstance(error, ImportError):
        return "install sam_video again with its dependencies"
    return None


class _Parser(argparse.ArgumentParser):
    """Reports an error in one line, like all other errors, without the usage."""

    def error(self, message: str) -> NoReturn:
        raise RequestError(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="sam-video", description="Find objects in videos and follow them.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    predict = commands.add_parser(
        "predict",
        help="segment a video or an image, write the result and print the files' paths",
        epilog=f"inputs: {_INPUTS}",
    )
    predict.add_argument(
        "-i",
        dest="inputs",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an input, such as input_video=@clip.mp4 or click_coordinates='[391,239]'; repeatable",
    )
    predict.add_argument(
        "-o",
        dest="folder",
        default="out",
        metavar="FOLDER",
        help="the output folder (default: %(default)s)",
    )
    predict.add_argument(
        "--model", help="-i model=MODEL for short (default: $SAM_VIDEO_MODEL, or else large)"
    )
    predict.set_defaults(run=_predict)
    info = commands.add_parser(
        "info",
        help="show the size, rate and length of a video or an image; without a file, the weights",
    )
    info.add_argument("file", type=Path, nargs="?")
    info.add_argument(
        "--count", action="store_true", help="decode the whole file to count its frames exactly"
    )
    info.set_defaults(run=_info)
    download = commands.add_parser(
        "download", help="download the weights of a model if they are missing, and print their path"
    )
    download.add_argument("name", help=f"one of {', '.join(_DOWNLOADS)}")
    download.set_defaults(run=_download)
    return parser


def _predict(arguments: argparse.Namespace) -> None:
    chosen = [] if arguments.model is None else [f"model={arguments.model}"]
    inputs = _inputs(arguments.inputs + chosen)
    if not arguments.folder.strip():
        raise RequestError(f"-o is {arguments.folder!r}; expected a folder")
    if "model" not in inputs:
        inputs["model"] = default_model()
    request = Request.from_text(inputs)

    from sam_video.service.session import Session  # noqa: PLC0415

    failure: OSError | None = None
    with closing(Session().predict(request, Path(arguments.folder))) as paths:
        for path in paths:
            if failure is None:
                failure = write(sys.stdout, os.fsencode(path) + b"\n")  # may be no valid text
    # The files are the result; they are complete even if nothing reads their paths.
    if failure is not None and not isinstance(failure, BrokenPipeError):
        raise failure


def _inputs(items: Sequence[str]) -> dict[str, str]:
    """Split items `NAME=VALUE`; the value of a file input may start with `@`, as for Cog."""
    inputs: dict[str, str] = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals:
            raise RequestError(f"-i is {item!r}; expected NAME=VALUE")
        if name in inputs:
            raise RequestError(f"{name} is given twice; expected one value")
        inputs[name] = value.removeprefix("@") if name in _FILE_INPUTS else value
    return inputs


def _info(arguments: argparse.Namespace) -> None:
    if arguments.file is None:
        _list_weights()
        return

    from sam_video.service.file_reader import FileReader  # noqa: PLC0415

    with FileReader() as reader:
        source = reader.open_video(arguments.file)
        info, num_frames, about = source.info, source.info.num_frames, "about "
        if num_frames is None or info.is_still or arguments.count:
            num_frames, about = source.count_exactly(), ""
    print(f"kind: {'still image' if info.is_still else 'video'}")
    print(f"size: {info.width}x{info.height}")
    print(f"pixel_aspect: {info.pixel_aspect}")
    print(f"frames: {about}{num_frames}")
    if not info.is_still:
        print(f"frame_rate: {info.frame_rate}")
        print(f"duration_seconds: {about}{float(num_frames / info.frame_rate):.3f}")


def _list_weights() -> None:
    """Print where the weights of each model and detector lie, or how to get them."""
    for name in CHECKPOINTS:
        here = catalogue.lies_here(name)
        print(f"model {name}: {here or f'missing; run `sam-video download {name}`'}")
    for name, weights in DETECTORS.items():
        here = detectors.lies_here(name)
        print(f"text_model {name}: {here or f'missing; {weights.remedy}'}")


def _download(arguments: argparse.Namespace) -> None:
    name = arguments.name.replace("-", "_")
    if name in DETECTORS:
        print(resolve_detector(name, download=True))
    elif name in CHECKPOINTS:
        print(resolve_checkpoint(name))
    else:
        accepted = f"expected one of {', '.join(_DOWNLOADS)}"
        raise RequestError(f"model is {arguments.name!r}; {accepted}")
