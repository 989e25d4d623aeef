"""A thread that works beside its caller, and ends when it is told to."""

import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from queue import SimpleQueue

import pytest

from sam_video.workers.threads import Worker, wait_for
from tests.worker_threads import (
    PATIENCE_SECONDS,
    Cancelled,
    cancelled_when,
    take_too_long,
    wait_until,
)

pytestmark = pytest.mark.usefixtures("no_worker_left")


def ignore(error: BaseException | None) -> None:
    """Have nothing to clean up."""


def test_work_and_its_cleaning_up_run_in_one_other_thread() -> None:
    threads: list[threading.Thread] = []
    worker = Worker(
        lambda: threads.append(threading.current_thread()),
        lambda _: threads.append(threading.current_thread()),
    )
    worker.start()
    wait_until(lambda: len(threads) == 2)
    worker.stop()
    assert threads[0] is threads[1] is not threading.current_thread()
    assert worker.error is None


def test_work_that_looks_is_asked_to_stop_and_not_interrupted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sam_video.workers.threads.POLL_SECONDS", PATIENCE_SECONDS)
    done = []

    def work() -> None:
        wait_until(lambda: worker.is_stopping)
        done.append("work")

    worker = Worker(work, ignore)
    worker.start()
    worker.stop()
    assert done == ["work"]


def test_work_that_does_not_look_is_interrupted() -> None:
    cleaned_up: list[BaseException | None] = []
    worker = Worker(take_too_long, cleaned_up.append)
    worker.start()
    worker.stop()
    assert cleaned_up == [None]
    assert worker.error is None


def test_an_interruption_that_is_swallowed_comes_again() -> None:
    swallowed = []

    def work() -> None:
        try:
            take_too_long()
        except BaseException as error:
            swallowed.append(error)
        take_too_long()

    worker = Worker(work, ignore)
    worker.start()
    worker.stop()
    assert len(swallowed) == 1
    assert worker.error is None


def test_work_that_must_not_be_interrupted_is_not() -> None:
    done = []

    def work() -> None:
        wait_until(lambda: worker.is_stopping)
        for _ in range(60):
            time.sleep(0.005)
        done.append("work")

    worker = Worker(work, ignore, is_interruptible=False)
    worker.start()
    worker.stop()
    assert done == ["work"]


def test_cleaning_up_is_not_interrupted() -> None:
    done = []

    def clean_up(error: BaseException | None) -> None:
        wait_until(lambda: worker.is_stopping)
        for _ in range(60):
            time.sleep(0.005)
        done.append("clean_up")

    worker = Worker(lambda: None, clean_up)
    worker.start()
    worker.stop()
    assert done == ["clean_up"]


def test_an_interruption_never_reaches_the_cleaning_up() -> None:
    """Send interruptions at the very end of the work, when they may come too late."""
    for pause in range(60):
        is_clean: list[bool] = []

        def work(pause: int = pause) -> None:
            for _ in range(pause * 50):
                pass

        def clean_up(_: BaseException | None, is_clean: list[bool] = is_clean) -> None:
            for _step in range(2000):
                pass
            is_clean.append(True)

        worker = Worker(work, clean_up)
        worker.start()
        worker._interrupt()
        worker.stop()
        assert is_clean == [True]
        assert worker.error is None


def test_an_error_of_the_work_is_kept_with_its_traceback() -> None:
    def break_down() -> None:
        raise ValueError("broken")

    cleaned_up: list[BaseException | None] = []
    worker = Worker(break_down, cleaned_up.append)
    worker.start()
    wait_until(lambda: cleaned_up)
    worker.stop()
    assert isinstance(worker.error, ValueError)
    assert cleaned_up == [worker.error]
    assert traceback.extract_tb(worker.error.__traceback__)[-1].name == "break_down"


def test_an_error_of_the_cleaning_up_is_kept_if_there_is_no_other() -> None:
    def break_down(_: BaseException | None) -> None:
        raise OSError("disk full")

    worker = Worker(lambda: None, break_down)
    worker.start()
    wait_until(lambda: worker.error)
    worker.stop()
    assert str(worker.error) == "disk full"


def test_stopping_twice_or_before_the_start_does_nothing() -> None:
    worker = Worker(take_too_long, ignore)
    worker.stop()
    worker = Worker(take_too_long, ignore)
    worker.start()
    worker.stop()
    worker.stop()


def test_stopping_from_within_does_not_wait_for_itself() -> None:
    def work() -> None:
        worker.stop()

    worker = Worker(work, ignore)
    worker.start()
    wait_until(lambda: worker.is_stopping)
    worker.stop()
    assert worker.error is None


def test_a_worker_ends_also_when_waiting_for_it_is_cancelled() -> None:
    may_end, is_clean = threading.Event(), threading.Event()

    def clean_up(_: BaseException | None) -> None:
        may_end.wait(PATIENCE_SECONDS)
        is_clean.set()

    worker = Worker(take_too_long, clean_up)
    worker.start()
    with pytest.raises(Cancelled), cancelled_when(lambda: worker.is_stopping):
        worker.stop()
    may_end.set()
    assert is_clean.wait(PATIENCE_SECONDS)
    worker.stop()
    assert worker.error is None


def test_what_cannot_start_is_cleaned_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    cleaned_up: list[BaseException | None] = []
    worker = Worker(take_too_long, cleaned_up.append)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        worker.start()
    worker.stop()
    assert [str(error) for error in cleaned_up] == ["can't start new thread"]


def test_an_interpreter_exits_that_has_not_stopped_its_workers() -> None:
    code = """
        from sam_video.workers.ahead import ahead
        def numbers():
            try:
                yield from range(10**9)
            finally:
                print("closed")
        kept = ahead(numbers(), 2)
        print(next(kept))
    """
    lines = [line[8:] for line in code.splitlines()]
    ended = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=False,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "0\nclosed\n", "")


def test_waiting_for_a_queue_can_be_cancelled() -> None:
    num_polls = 0

    def is_over() -> bool:
        nonlocal num_polls
        num_polls += 1
        return False

    queue: SimpleQueue[int] = SimpleQueue()
    with pytest.raises(Cancelled), cancelled_when(lambda: num_polls):
        wait_for(queue, is_over)


def test_waiting_for_a_queue_ends_when_it_is_over() -> None:
    queue: SimpleQueue[int] = SimpleQueue()
    queue.put(7)
    assert wait_for(queue) == 7
    assert wait_for(queue, lambda: True) is None
