"""The command line, `sam-video`: `predict`, `info` and `download`.

Results go to standard output, everything else to standard error. What is slow to import is
imported by the commands that need it, so that `--help` and a user's mistakes are answered at once.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import NoReturn

from sam_video.checkpoints.catalogue import CHECKPOINTS, default_model, resolve_checkpoint
from sam_video.errors import RequestError, SamVideoError, one_line
from sam_video.limits import check_limits
from sam_video.request import Request

_INPUTS = ", ".join(field.name for field in fields(Request))
_FILE_INPUTS = {field.name for field in fields(Request) if field.type in (Path, Path | None)}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The command and its options; by default those of the process.

    Returns:
        The exit status: 0; 2 where the user can mend what is wrong, after one line `error: …` on
        standard error; 1 where the system refuses; 130 after Ctrl-C.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    try:
        arguments = _parser().parse_args(argv)
        check_limits()
        arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_output()
        return 1
    except (SamVideoError, OSError) as error:
        print("error:", one_line(" ".join(str(error).splitlines())), file=sys.stderr)
        return 2 if isinstance(error, SamVideoError) else 1
    except KeyboardInterrupt:
        return 130
    return 0


def _forget_output() -> None:
    """Let nothing be written where nobody reads any more, not even when the interpreter ends."""
    with suppress(OSError):  # there may be no file behind it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Parser(argparse.ArgumentParser):
    """Reports mistakes like every other mistake: in one line, without the usage."""

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
        type=Path,
        default=Path("out"),
        metavar="FOLDER",
        help="where the files go (default: %(default)s)",
    )
    predict.add_argument(
        "--model", help="-i model=MODEL for short (default: $SAM_VIDEO_MODEL, or else large)"
    )
    predict.set_defaults(run=_predict)
    info = commands.add_parser("info", help="say what is known of a video or an image")
    info.add_argument("file", type=Path)
    info.add_argument(
        "--count", action="store_true", help="decode the whole file to count its frames exactly"
    )
    info.set_defaults(run=_info)
    download = commands.add_parser(
        "download", help="download a checkpoint where it is missing, and print its path"
    )
    download.add_argument("name", help=f"one of {', '.join(CHECKPOINTS)}")
    download.set_defaults(run=_download)
    return parser


def _predict(arguments: argparse.Namespace) -> None:
    chosen = [] if arguments.model is None else [f"model={arguments.model}"]
    inputs = _inputs(arguments.inputs + chosen)
    if "model" not in inputs:
        inputs["model"] = default_model()
    request = Request.from_text(inputs)

    from sam_video.service.session import Session  # noqa: PLC0415

    for path in Session().predict(request, arguments.folder):
        sys.stdout.buffer.write(os.fsencode(path) + b"\n")  # a folder's name may be no text
        sys.stdout.buffer.flush()


def _inputs(items: Sequence[str]) -> dict[str, str]:
    """Split `NAME=VALUE`s; the value of a file input may be marked by `@`, as Cog wants it."""
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


def _download(arguments: argparse.Namespace) -> None:
    print(resolve_checkpoint(arguments.name))
