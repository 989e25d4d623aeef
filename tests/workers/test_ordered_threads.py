"""Threads that each run their own queue of calls, in order."""

import threading
from functools import partial

import pytest

from sam_video.workers.threads import OrderedThreads
from tests.worker_threads import take_too_long, wait_until, worker_threads

pytestmark = pytest.mark.usefixtures("no_worker_left")


def test_calls_run_in_other_threads_and_give_their_values() -> None:
    with OrderedThreads(2) as threads:
        calls = [threads.submit(number % 2, partial(pow, number, 2)) for number in range(10)]
        ident = threads.submit(1, threading.get_ident)
        assert [call.result() for call in calls] == [number**2 for number in range(10)]
        assert ident.result() != threading.get_ident()


def test_calls_run_side_by_side() -> None:
    meeting = threading.Barrier(3, timeout=60)
    with OrderedThreads(3) as threads:
        calls = [threads.submit(number, meeting.wait) for number in range(3)]
        assert sorted(call.result() for call in calls) == [0, 1, 2]


def test_a_thread_makes_its_calls_in_the_order_in_which_they_come() -> None:
    made: list[int] = []
    with OrderedThreads(2) as threads:
        held = threading.Event()
        waiting = threads.submit(0, partial(held.wait, 60))
        calls = [threads.submit(0, partial(made.append, number)) for number in range(20)]
        threads.submit(1, lambda: None).result()  # the other thread is free, and takes none of them
        assert made == []
        held.set()
        assert waiting.result()
        for call in calls:
            call.result()
    assert made == list(range(20))


def test_an_error_comes_with_the_result_and_the_thread_goes_on() -> None:
    with OrderedThreads(1) as threads:
        failing, fine = threads.submit(0, partial(int, "?")), threads.submit(0, partial(int, "7"))
        with pytest.raises(ValueError, match="invalid literal"):
            failing.result()
        assert fine.result() == 7


def test_threads_that_are_forgotten_end() -> None:
    threads = OrderedThreads(2)
    threads.__enter__()
    assert threads.submit(1, partial(int, "7")).result() == 7
    del threads
    wait_until(lambda: worker_threads() == [])


def test_threads_are_prepared_before_their_first_call() -> None:
    prepared: set[int] = set()
    with OrderedThreads(2, lambda: prepared.add(threading.get_ident())) as threads:
        idents = {threads.submit(n % 2, threading.get_ident).result() for n in range(8)}
    assert idents == prepared


def test_leaving_ends_a_call_that_takes_too_long_and_drops_the_rest() -> None:
    begun = threading.Event()
    made: list[str] = []
    with OrderedThreads(1) as threads:
        threads.submit(0, begun.set)
        threads.submit(0, take_too_long)
        threads.submit(0, partial(made.append, "late"))
        wait_until(begun.is_set)
    assert made == []
