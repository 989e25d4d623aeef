"""Progress that Replicate's clients find in the logs."""

import os
import pty
import re
import subprocess
import sys
import termios
from io import StringIO

import pytest

from sam_video.progress import frame_progress

PATTERN = re.compile(r"^\s*(\d+)%\s*\|.+?\|\s*(\d+)\/(\d+)")
"""What the clients of Replicate look for, the last line that has it first."""


def write_states(total: int | None, num_frames: int = 4) -> None:
    with frame_progress(total) as progress:
        progress.mininterval = 0
        for _ in range(num_frames):
            progress.update()


def test_every_state_is_a_line_that_clients_parse(capsys: pytest.CaptureFixture[str]) -> None:
    write_states(total=4)
    found = [PATTERN.match(line) for line in capsys.readouterr().err.splitlines()]
    states = [match.groups() for match in found if match]
    assert len(states) == len(found)
    assert states[0] == ("0", "0", "4")
    assert states[-1] == ("100", "4", "4")
    assert ("50", "2", "4") in states


def test_what_is_logged_meanwhile_has_a_line_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with frame_progress(2) as progress:
        progress.mininterval = 0
        progress.update()
        print("WARNING: a frame is damaged", file=sys.stderr)
        progress.update()
    assert "\nWARNING: a frame is damaged\n" in capsys.readouterr().err


def test_an_unknown_number_of_frames_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    write_states(total=None)
    assert capsys.readouterr().err.splitlines()[-1].startswith("4frame ")


def test_a_stream_that_says_nothing_of_its_encoding_gets_plain_characters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    write_states(total=4)
    assert "100%|##########| 4/4" in log.getvalue()


def test_a_terminal_keeps_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = pty.openpty()
    termios.tcsetwinsize(writer, (24, 80))
    with os.fdopen(writer, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        write_states(total=4)
        monkeypatch.undo()
        printed = b""
        while b"\n" not in printed:
            printed += os.read(reader, 4096)
    os.close(reader)
    assert printed.count(b"\r") > 3
    assert printed.endswith(b"\r\n")


@pytest.mark.parametrize("text", ["abc", "", "-1"])
def test_variables_of_tqdm_change_nothing(text: str) -> None:
    code = "from sam_video.progress import frame_progress; frame_progress(4).close()"
    environment = os.environ | {
        f"TQDM_{name}": text for name in ("MININTERVAL", "DISABLE", "NCOLS", "ASCII", "TOTAL")
    }
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr[:3]) == (0, "0%|")
