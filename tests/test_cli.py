"""The command line: in this process, or as one of its own where that makes a difference."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import av
import pytest
from PIL import Image

from sam_video.cli import main
from tests.clips import draw_clip, draw_frame
from tests.cog_server import wait_for
from tests.hub_server import running_hub
from tests.processes import children, is_running

ROOT = Path(__file__).parents[1]
ON_DISC = "click_coordinates=[11,19]"
"""A click on the disc of the first frame of a drawn clip."""


@pytest.fixture(autouse=True)
def pocket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM_VIDEO_MODEL", "pocket")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    draw_clip(path, num_frames=4)
    return path


def options(*inputs: str) -> list[str]:
    """Put `-i` before every input."""
    return [word for item in inputs for word in ("-i", item)]


def start(*arguments: str | Path, cwd: Path = ROOT) -> "subprocess.Popen[str]":
    """Start the command line as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "sam_video", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def mistake(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Run a command that a mistake ends, and return what it says of it, which is one line."""
    assert main([str(argument) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


def test_a_file_that_is_optional_may_be_blank(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs = options(f"input_video={clip}", "mask_prompts=", "preview=true")
    assert main(["predict", *inputs, "-o", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/preview_00000.png\n"


def test_predict_prints_the_paths_and_keeps_the_rest_out_of_the_way(
    clip: Path, tmp_path: Path
) -> None:
    inputs = options(f"input_video=@{clip}", ON_DISC, "output_rle=true")
    process = start("predict", *inputs, "-o", "out", cwd=tmp_path)
    output, log = process.communicate()
    names = [*(f"frame_{index:05d}.webp" for index in range(4)), "rle.json"]
    assert output.splitlines() == [f"out/{name}" for name in names]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert process.returncode == 0
    assert "100%|" in log
    assert "4 frames, 1 objects" in log


def test_predict_takes_a_file_with_and_without_the_mark(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, value in enumerate((f"@{clip}", str(clip))):
        folder = tmp_path / str(number)
        assert (
            main(["predict", "-i", f"input_video={value}", "-i", ON_DISC, "-o", str(folder)]) == 0
        )
        assert len(capsys.readouterr().out.splitlines()) == 4


def test_predict_takes_options_as_text(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ["output_format=png", "output_frame_interval=2", "track_backward=no", "model=pocket"]
    inputs = options(f"input_video={clip}", ON_DISC, *chosen)
    assert main(["predict", *inputs, "-o", str(tmp_path)]) == 0
    paths = capsys.readouterr().out.splitlines()
    assert paths == [str(tmp_path / name) for name in ("frame_00000.png", "frame_00002.png")]
    assert Image.open(paths[0]).size == (96, 64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["segment"], "invalid choice: 'segment'"),
        (["predict", "--fast"], "unrecognized arguments: --fast"),
        (["predict", "-i", "clip.mp4"], "-i is 'clip.mp4'; expected NAME=VALUE"),
        (["predict", "-i", "video=a.mp4"], "video is not an input; expected one of input_video, "),
        (["predict", "-i", "model=pocket"], "input_video is missing; expected a video or image"),
        (["predict", "-i", "model=tiny", "--model", "small"], "model is given twice"),
        (
            ["predict", *options("input_video=a.mp4", "mask_type=sepia")],
            "mask_type is 'sepia'; expected one of binary, highlighted, greenscreen, alpha",
        ),
        (
            ["predict", *options("input_video=a.mp4", "video_fps=fast")],
            "video_fps is 'fast'; expected a whole number",
        ),
        (
            ["predict", *options("input_video=a.mp4", "text_threshold=high")],
            "text_threshold is 'high'; expected a number",
        ),
        (
            ["predict", *options("input_video=a.mp4", "text_threshold=nan")],
            "text_threshold is nan; expected a number, 0 to 1",
        ),
        (
            ["predict", *options("input_video=a.mp4", "text_interval=-1")],
            "text_interval is -1; expected a whole number, at least 0",
        ),
        (
            ["predict", *options("input_video=a.mp4", "text_model=clip")],
            "text_model is 'clip'; expected one of auto, owlv2_large, owlv2_base, llmdet, sam3, po",
        ),
        (
            ["predict", *options("input_video=a.mp4", "output_video=maybe")],
            "output_video is 'maybe'; expected true or false",
        ),
        (["predict", "-i", "input_video=a.mp4", "-o", " "], "-o is ' '; expected a folder"),
        (
            ["predict", "-i", "input_video=@a.mp4"],
            "input_video ('a.mp4') cannot be read: No such file",
        ),
        (
            ["predict", "-i", "input_video=s3://bucket/a.mp4"],
            "input_video is 's3://bucket/a.mp4'; expected a file, or an http(s) URL where",
        ),
        (["predict", "-i", "input_video="], "input_video names no file; expected a video"),
        (["info", "/"], "'/' is a folder; expected a video or an image"),
        (["predict", "-i", "input_video=@a\nb.mp4"], "a\\nb.mp4"),
        (["info", "a.mp4"], "'a.mp4' cannot be read: No such file"),
        (["download", "huge"], "model is 'huge'; expected one of large, base_plus"),
    ],
)
def test_a_mistake_fails(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in mistake(capsys, *arguments)


def test_a_bad_default_model_fails(
    clip: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAM_VIDEO_MODEL", "huge")
    line = mistake(capsys, "predict", *options(f"input_video={clip}", ON_DISC))
    assert "SAM_VIDEO_MODEL is 'huge'; expected one of large, base_plus" in line


def test_a_click_outside_the_picture_fails_and_leaves_no_folder(clip: Path, tmp_path: Path) -> None:
    inputs = options(f"input_video={clip}", "click_coordinates=[96,1]")
    process = start("predict", *inputs, "-o", tmp_path / "out")
    output, log = process.communicate()
    expected = "expected a point inside the 96x64 picture"
    assert (process.returncode, output) == (2, "")
    assert log == f"error: click_coordinates[0] is [96, 1]; {expected}\n"
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_place_of_the_folder_fails(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    inputs = options(f"input_video={clip}", ON_DISC)
    assert main(["predict", *inputs, "-o", str(tmp_path / "file")]) == 2
    assert (
        "file', which is a file or lies in one; expected a folder (-o)" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("number", "output_video"),
    [(signal.SIGINT, "true"), (signal.SIGTERM, "false"), (signal.SIGHUP, "true")],
)
def test_a_signal_ends_it_with_nothing_half_written(
    tmp_path: Path, number: signal.Signals, output_video: str
) -> None:
    draw_clip(tmp_path / "long.mp4", num_frames=600)
    video = f"input_video={tmp_path / 'long.mp4'}"
    inputs = options(video, ON_DISC, f"output_video={output_video}")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "frame_00000.webp").write_text("earlier")
    process = start("predict", *inputs, "-o", tmp_path / "out")
    is_there = ".sam_video_*/.output*" if output_video == "true" else "frame_00003.webp"
    wait_for(lambda: list(tmp_path.glob(f"out/{is_there}")), "the first output")
    begun = children(process.pid)
    for _ in range(2):  # `timeout` sends it twice, and a terminal to all: ffmpeg gets it too
        os.killpg(process.pid, number)
    _, log = process.communicate()
    assert process.returncode == 128 + number
    assert "Traceback" not in log
    assert log.splitlines()[-1] == f"error: ended by {number.name}"
    assert [path.name for path in tmp_path.glob("out/*")] == ["frame_00000.webp"]
    assert (tmp_path / "out" / "frame_00000.webp").read_text() == "earlier"
    assert begun
    wait_for(lambda: not any(map(is_running, begun)), "the end of its processes")


def test_a_signal_that_is_ignored_from_the_start_stays_ignored(clip: Path) -> None:
    ignoring = (
        "import signal, os, sys\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", ignoring, sys.executable, "-m", "sam_video", "info", clip],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    wait_for(lambda: children(process.pid), "its first process")
    os.kill(process.pid, signal.SIGHUP)
    output, _ = process.communicate()
    assert process.returncode == 0
    assert output


def test_a_second_prediction_into_a_folder_fails_and_the_first_one_succeeds(tmp_path: Path) -> None:
    draw_clip(tmp_path / "long.mp4", num_frames=60)
    inputs = options(f"input_video={tmp_path / 'long.mp4'}", ON_DISC)
    first = start("predict", *inputs, "-o", "out", cwd=tmp_path)
    wait_for(lambda: list(tmp_path.glob("out/*.webp")), "the first file")
    second = start("predict", *inputs, "-o", "out", cwd=tmp_path)
    output, log = second.communicate()
    assert (second.returncode, output) == (2, "")
    message = "the output folder 'out' is in use by another prediction"
    assert log == f"error: {message}; expected a folder of its own (-o)\n"
    output, _ = first.communicate()
    assert first.returncode == 0
    assert sorted(path.name for path in tmp_path.glob("out/*")) == [
        f"frame_{index:05d}.webp" for index in range(60)
    ]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_goes_away_ends_the_printing_and_not_the_prediction(
    tmp_path: Path, stream: str
) -> None:
    draw_clip(tmp_path / "long.mp4", num_frames=60)
    inputs = options(f"input_video={tmp_path / 'long.mp4'}", ON_DISC, "output_rle=1")
    process = start("predict", *inputs, "-o", tmp_path / "out")
    closed, read = process.stdout, process.stderr
    assert closed is not None
    assert read is not None
    if stream == "stderr":
        closed, read = read, closed
    closed.readline()
    closed.close()
    printed = read.read()
    assert process.wait() == 0
    assert "Traceback" not in printed
    assert "Exception ignored" not in printed
    names = sorted(path.name for path in tmp_path.glob("out/*"))
    assert names == [*(f"frame_{index:05d}.webp" for index in range(60)), "rle.json"]


def test_paths_that_cannot_be_printed_fail_and_the_files_stay(clip: Path, tmp_path: Path) -> None:
    inputs = options(f"input_video={clip}", ON_DISC)
    command = [sys.executable, "-m", "sam_video", "predict", *inputs, "-o", str(tmp_path)]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == "error: [Errno 28] No space left on device"
    assert "Traceback" not in ended.stderr
    assert len(list(tmp_path.glob("frame_*.webp"))) == 4


def test_too_little_memory_to_start_fails_in_one_line(clip: Path, tmp_path: Path) -> None:
    words = ["predict", *options(f"input_video={clip}", ON_DISC), "-o", str(tmp_path / "out")]
    limited = ["sh", "-c", 'ulimit -v 700000 && exec "$@"', "sh"]
    command = [*limited, sys.executable, "-m", "sam_video", *words]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    assert re.match(r"error: .*more memory is needed: free some, or raise its limit", line)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), "MemoryError; more memory is needed"),
        (MemoryError("Unable to allocate 2 GiB"), "Unable to allocate 2 GiB; more memory is"),
        (RuntimeError("can't start new thread"), "can't start new thread; more memory is needed"),
        (RuntimeError("could not create a primitive\nat x"), "could not create a primitive; more"),
        (
            ModuleNotFoundError("No module named 'sam2'"),
            "No module named 'sam2'; install sam_video",
        ),
    ],
    ids=str,
)
def test_what_the_machine_lacks_fails_in_one_line(
    clip: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    expected: str,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("sam_video.service.session.Session.predict", fail)
    assert main(["predict", *options(f"input_video={clip}", ON_DISC)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {expected}")


def test_a_fault_of_our_own_keeps_its_traceback(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr("sam_video.service.session.Session.predict", fail)
    with pytest.raises(RuntimeError, match="a fault"):
        main(["predict", *options(f"input_video={clip}", ON_DISC)])


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_streams_may_be_closed(clip: Path, tmp_path: Path, closed: str) -> None:
    words = options(f"input_video={clip}", ON_DISC, "output_video=1", "end_frame=1")
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "sam_video"]
    command += ["predict", *words, "-o", str(tmp_path / "out")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0
    assert "Traceback" not in ended.stderr
    assert [path.name for path in tmp_path.glob("out/*")] == ["output_video.mp4"]


def test_info_says_what_is_known_of_a_video(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(clip)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "kind: video",
        "size: 96x64",
        "pixel_aspect: 1",
        "frames: about 4",
        "frame_rate: 24",
        "duration_seconds: about 0.167",
    ]


def test_info_counts_the_frames_of_a_file_whose_header_states_too_many(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "clip.mp4"
    with av.open(path, "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mjpeg", rate=24)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj420p"
        for index in range(9):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(draw_frame(index)[0])))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    assert main(["info", str(path)]) == 0
    assert "frames: about 9" in capsys.readouterr().out.splitlines()
    assert main(["info", "--count", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[3] in {f"frames: {number}" for number in range(1, 7)}


def test_info_counts_the_frames_that_the_header_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_clip(tmp_path / "clip.webm", num_frames=7)
    assert main(["info", str(tmp_path / "clip.webm")]) == 0
    assert "frames: 7" in capsys.readouterr().out.splitlines()


def test_info_knows_a_still_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "still.jpg")
    assert main(["info", str(tmp_path / "still.jpg")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "kind: still image",
        "size: 40x30",
        "pixel_aspect: 1",
        "frames: 1",
    ]


def test_download_prints_where_a_checkpoint_lies(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "pocket"]) == 0
    path = Path(capsys.readouterr().out.removesuffix("\n"))
    assert path.name == "pocket.safetensors"
    assert path.is_file()


def test_info_without_a_file_lists_the_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAM_VIDEO_WEIGHTS", str(tmp_path))
    own = tmp_path / "sam3"
    own.mkdir()
    for name in ("config.json", "model.safetensors"):
        (own / name).write_bytes(b"")
    assert main(["info"]) == 0
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert [name.split()[0] for name in lines] == ["model"] * 5 + ["text_model"] * 6
    assert lines["model pocket"] == str(ROOT / "weights" / "pocket.safetensors")
    assert lines["text_model sam3"] == str(own)


@pytest.mark.parametrize("name", ["owlv2-base", "owlv2_base"])
def test_a_detector_is_downloaded_under_either_spelling(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAM_VIDEO_WEIGHTS", str(tmp_path))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    files = {name: bytes(2000) for name in ("config.json", "model.safetensors")}
    with running_hub(files) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        assert main(["download", name]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'owlv2_base'}\n"


def test_a_checkpoint_that_cannot_be_had_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAM_VIDEO_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("SAM_VIDEO_DOWNLOAD_URL", "file:///nowhere")
    line = mistake(capsys, "download", "tiny")
    assert "run `sam-video download tiny`" in line
    assert "`--model pocket`" in line


def loaded_by(*arguments: str) -> tuple[str, set[str]]:
    """Run a command in a process of its own; return what it prints, and the packages it loads."""
    code = (
        "import sys\n"
        "from sam_video.cli import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "finally:\n"
        "    print('loaded:', *{name.partition('.')[0] for name in sys.modules})\n"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    printed, _, names = done.stdout.rpartition("loaded: ")
    return printed + done.stderr, set(names.split())


@pytest.mark.parametrize("command", [[], ["predict"], ["info"], ["download"]])
def test_help_is_there_without_loading_torch(command: list[str]) -> None:
    printed, names = loaded_by(*command, "--help")
    assert printed.startswith("usage: sam-video")
    assert not {"torch", "av", "cv2"} & names


def test_info_is_there_without_loading_torch(clip: Path) -> None:
    printed, names = loaded_by("info", str(clip))
    assert printed.startswith("kind: video")
    assert not {"torch", "av", "cv2"} & names


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (["click_coordinates=[96,1]"], "click_coordinates[0] is [96, 1]; expected a point inside"),
        ([ON_DISC, "click_labels=3"], "click_labels[0] is 3; expected 1 (foreground) or 0"),
        ([ON_DISC, "click_frames=99"], "click_frames[0] is 99; expected a frame from 0 to 3"),
        ([ON_DISC, "click_lables=1"], "click_lables is not an input; expected one of"),
        ([ON_DISC, "mask_prompts=masks.zip"], "mask_prompts is 'masks.zip'"),
        ([ON_DISC, "multimask_output=1"], "multimask_output is true for a video; expected a still"),
        ([ON_DISC, "model=tiny"], "run `sam-video download tiny`"),
        ([], "prompt"),
    ],
    ids=["place", "label", "frame", "name", "masks", "candidates", "checkpoint", "nothing"],
)
def test_a_mistake_is_told_without_loading_torch(
    inputs: list[str],
    message: str,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SAM_VIDEO_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("SAM_VIDEO_DOWNLOAD_URL", "file:///nowhere")
    given = options(f"input_video={clip}", *inputs)
    printed, names = loaded_by("predict", *given, "-o", str(tmp_path / "out"))
    assert message in printed
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1
    assert not {"torch", "sam2"} & names


def test_a_file_that_is_missing_is_told_without_loading_torch(tmp_path: Path) -> None:
    given = options(f"input_video={tmp_path / 'none.mp4'}", ON_DISC)
    printed, names = loaded_by("predict", *given, "-o", str(tmp_path / "out"))
    assert printed == "error: input_video ('none.mp4') cannot be read: No such file or directory\n"
    assert not {"torch", "sam2"} & names


def test_the_log_says_how_long_the_start_took(clip: Path, tmp_path: Path) -> None:
    process = start("predict", *options(f"input_video={clip}", ON_DISC), "-o", tmp_path / "out")
    _, log = process.communicate()
    steps = (
        "importing PyTorch",
        "building the network of pocket",
        "opening pocket.safetensors",
        "preparing the model",
    )
    found = [re.search(rf"^INFO: {step} took \d+\.\d s$", log, re.MULTILINE) for step in steps]
    assert all(found), log
