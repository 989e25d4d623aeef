"""A process of its own crashes, hangs and eats memory alone."""

import _thread
import gc
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sam_video.errors import PromptError, RequestError, VideoError
from sam_video.limits import MAX_DECODER_BYTES, MAX_STALL_SECONDS
from sam_video.workers.sandbox import ProcessFailure, Sandbox
from tests.processes import PROC, children, is_running
from tests.worker_threads import Cancelled, cancelled_when, wait_until, worker_threads

pytestmark = [
    pytest.mark.skipif(not PROC.exists(), reason="needs Linux's /proc to see what is left"),
    pytest.mark.usefixtures("nothing_left"),
]

ROOT = Path(__file__).parents[2]
HANGING = ["spin_in_c", "spin_in_python", "work_for_ever"]


@pytest.fixture
def process() -> Iterator[Sandbox]:
    with Sandbox("tests.hostile") as running:
        yield running


def process_id(process: Sandbox) -> int:
    (number,) = process.run("process_id")
    return int(number)


def works(process: Sandbox) -> bool:
    return list(process.run("echo", 1, "a")) == [1, "a"]


def test_a_generator_runs_in_another_process(process: Sandbox) -> None:
    number = process_id(process)
    assert number in children()
    assert list(process.run("echo", 1, None, [2.5, "ä"])) == [1, None, [2.5, "ä"]]


def test_a_generator_goes_no_further_than_it_is_asked_to(process: Sandbox) -> None:
    numbers = process.run("steps", 5)
    assert [next(numbers), next(numbers)] == [0, 1]
    assert list(process.run("steps_made")) == [[0, 1]]


def test_a_generator_that_is_abandoned_is_closed(process: Sandbox) -> None:
    numbers = process.run("steps", 5)
    next(numbers)
    del numbers
    gc.collect()
    assert list(process.run("steps_made")) == [[0, -1]]


def test_several_generators_run_in_turn(process: Sandbox) -> None:
    pairs = zip(process.run("steps", 50), process.run("steps", 50), strict=True)
    assert list(pairs) == [(number, number) for number in range(50)]


def test_several_threads_have_what_they_asked_for(process: Sandbox) -> None:
    results: dict[int, list[int]] = {}

    def read(stop: int) -> None:
        results[stop] = list(process.run("steps", stop))

    threads = [threading.Thread(target=read, args=(stop,)) for stop in range(50, 60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {stop: list(range(stop)) for stop in range(50, 60)}


@pytest.mark.parametrize(
    ("error", "text"),
    [(VideoError, "'ä.mp4' is damaged"), (PromptError, "mask_prompts is damaged")],
)
def test_an_error_of_the_package_keeps_its_type_and_text(
    process: Sandbox, error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as raised:
        list(process.run("fail", error.__name__))
    assert (type(raised.value), str(raised.value)) == (error, text)
    assert works(process)


def test_any_other_error_fails_with_its_traceback(process: Sandbox) -> None:
    with pytest.raises(RuntimeError, match=r"^KeyError: 'nothing'") as raised:
        list(process.run("fail", "KeyError"))
    (note,) = raised.value.__notes__
    assert "tests/hostile.py" in note
    assert works(process)


def test_what_is_logged_there_is_logged_here_and_nothing_is_printed(
    process: Sandbox, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    assert list(process.run("log")) == ["logged"]
    expected = [("sam_video.video.decoder", logging.WARNING, "'a.mp4' is damaged")]
    assert caplog.record_tuples == expected
    assert capfd.readouterr() == ("", "")


def test_a_crash_fails_and_the_next_process_works(process: Sandbox) -> None:
    crashing = process.run("crash")
    assert next(crashing) == "not yet"
    message = r"^crashes what reads it \(SIGSEGV\); expected an undamaged file$"
    with pytest.raises(ProcessFailure, match=message):
        next(crashing)
    with pytest.raises(ProcessFailure, match=message):
        works(process)
    with Sandbox("tests.hostile") as another:
        assert works(another)


@pytest.mark.parametrize("function", ["spin_in_c", "spin_in_python"])
def test_a_step_without_progress_fails(monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    monkeypatch.setenv(MAX_STALL_SECONDS.variable, "1")
    with Sandbox("tests.hostile") as process:
        spinning = process.run(function)
        assert next(spinning) == "not yet"
        with pytest.raises(
            ProcessFailure,
            match=r"^gets no further while it is read; expected progress within 1 \("
            r"SAM_VIDEO_MAX_STALL_SECONDS\) seconds$",
        ):
            next(spinning)


def test_a_long_step_with_progress_and_a_long_time_between_steps_are_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(MAX_STALL_SECONDS.variable, "1")
    with Sandbox("tests.hostile") as process:
        assert list(process.run("pause", 0.2, 7)) == ["done"]
        time.sleep(1.5)
        assert works(process)


def test_too_much_memory_fails_and_the_process_still_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(MAX_DECODER_BYTES.variable, str(100 * 2**20))
    with Sandbox("tests.hostile") as process:
        with pytest.raises(
            ProcessFailure,
            match=r"^takes too much memory to be read; expected at most 104857600 \("
            r"SAM_VIDEO_MAX_DECODER_BYTES\) bytes$",
        ):
            list(process.run("allocate"))
        assert works(process)


def test_too_little_memory_for_an_answer_fails_alike(process: Sandbox) -> None:
    with pytest.raises(ProcessFailure, match=r"^takes too much memory to be read"):
        list(process.run("die_of_hunger"))


def test_a_process_that_ends_by_itself_fails(process: Sandbox) -> None:
    with pytest.raises(RuntimeError, match="ended with status 3"):
        list(process.run("leave"))


def test_a_process_that_cannot_begin_fails(capfd: pytest.CaptureFixture[str]) -> None:
    with (
        Sandbox("tests.missing") as process,
        pytest.raises(RuntimeError, match="ended with status 1"),
    ):
        works(process)
    assert "No module named 'tests.missing'" in capfd.readouterr().err


def test_a_process_that_the_system_refuses_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/missing/python")
    with (
        Sandbox("tests.hostile") as process,
        pytest.raises(RuntimeError, match=r"does not run: .*No such file"),
    ):
        works(process)


def test_a_limit_that_is_no_number_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MAX_DECODER_BYTES.variable, "2 GB")
    with pytest.raises(RequestError, match=r"^SAM_VIDEO_MAX_DECODER_BYTES is '2 GB'"):
        Sandbox("tests.hostile")


def test_no_file_can_be_written(process: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"^OSError: .* File too large"):
        list(process.run("write", str(tmp_path / "a")))


def test_a_process_that_is_left_does_no_more(process: Sandbox) -> None:
    numbers = process.run("steps", 5)
    next(numbers)
    process.__exit__()
    with pytest.raises(RuntimeError, match="is closed"):
        next(numbers)


@pytest.mark.parametrize("function", HANGING)
def test_leaving_kills_what_hangs(function: str) -> None:
    """The thread that waits for it has an error, and is not what leaves."""
    errors: list[Exception] = []
    with Sandbox("tests.hostile") as process:
        hanging = process.run(function)
        next(hanging)

        def wait() -> None:
            try:
                next(hanging)
            except RuntimeError as error:
                errors.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
    thread.join()
    assert [str(error) for error in errors] == ["the process that reads files is closed"]


@pytest.mark.parametrize("function", HANGING)
def test_waiting_for_what_hangs_can_be_cancelled(function: str) -> None:
    has_begun = threading.Event()
    with pytest.raises(Cancelled), Sandbox("tests.hostile") as process:
        hanging = process.run(function)
        next(hanging)
        with cancelled_when(has_begun.is_set):
            has_begun.set()
            next(hanging)


def test_ctrl_c_ends_waiting_and_the_process() -> None:
    timer = threading.Timer(0.3, _thread.interrupt_main)
    with pytest.raises(KeyboardInterrupt), Sandbox("tests.hostile") as process:
        hanging = process.run("spin_in_c")
        next(hanging)
        timer.start()
        next(hanging)
    timer.join()


def test_an_answer_that_nobody_waits_for_any_more_goes_to_nobody_else(
    process: Sandbox,
) -> None:
    has_begun = threading.Event()
    with pytest.raises(Cancelled), cancelled_when(has_begun.is_set):
        has_begun.set()
        list(process.run("pause", 1.0))
    assert works(process)


def test_a_cancellation_at_any_time_leaves_nothing_behind() -> None:
    seconds = random.Random(0)
    for _ in range(15):
        deadline = time.monotonic() + seconds.uniform(0, 0.5)
        with pytest.raises(Cancelled), cancelled_when(lambda: time.monotonic() > deadline):  # noqa: B023
            while True:
                with Sandbox("tests.hostile") as process:
                    numbers = process.run("steps", 1000)
                    next(numbers)
    wait_until(lambda: worker_threads() == [])


def test_a_process_that_is_forgotten_ends() -> None:
    process = Sandbox("tests.hostile")
    process.__enter__()
    number = process_id(process)
    del process
    wait_until(lambda: not is_running(number))
    wait_until(lambda: worker_threads() == [])


def test_a_process_that_is_stopped_from_outside_can_be_left() -> None:
    with Sandbox("tests.hostile") as process:
        os.kill(process_id(process), signal.SIGSTOP)
        has_begun = threading.Event()
        with pytest.raises(Cancelled), cancelled_when(has_begun.is_set):
            has_begun.set()
            works(process)


@pytest.mark.parametrize("function", ["steps", "work_for_ever"])
def test_a_process_ends_with_its_parent(function: str) -> None:
    code = f"""
import os, threading
from sam_video.workers.sandbox import Sandbox
process = Sandbox("tests.hostile").__enter__()
print(*process.run("process_id"), flush=True)
working = process.run({function!r}, *[9][{function!r} != "steps":])
next(working)
threading.Thread(target=next, args=[working], daemon=True).start()
input()
os.kill(os.getpid(), 9)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    number = int(parent.stdout.readline())
    assert is_running(number)
    parent.communicate("\n")
    wait_until(lambda: not is_running(number))
