"""Recording beside other threads that use the GPU, in a process that may be unfit for more.

`python -m benchmarks.gpu.captures [--cpu]` prints one line for each finding: `PASS` or `FAIL`, and
what it is.
"""

import argparse
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.bench import Bench, ComputedAgain
from benchmarks.gpu.report import FAIL, PASS, first_line
from sam_video.model.cuda_graphs import CudaRecorder, Recorder, is_recording_off, record_all

MOST_SECONDS = 90
WAIT_SECONDS = 20


def check_captures(bench: Bench) -> None:
    """Run the checks in their process, and report what it prints."""
    command = [sys.executable, "-m", "benchmarks.gpu.captures", *["--cpu"] * bench.is_rehearsal]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=MOST_SECONDS, check=False
    )
    for line in done.stdout.splitlines():
        kind, _, text = line.partition(" ")
        if kind in {PASS, FAIL}:
            bench.report.say(kind, text)
    reason = (done.stderr.splitlines() or [""])[-1] if done.returncode else ""
    bench.report.check(done.returncode == 0, f"its process ended with {done.returncode} {reason}")


class Captures:
    """Records on a device while other threads use it.

    Args:
        device: The GPU; a CPU rehearses.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._is_on_gpu = device.type == "cuda"
        side = 1024 if self._is_on_gpu else 16
        self.numbers = torch.randn(side, side, device=device)
        self._recorder: Recorder = (
            CudaRecorder(torch.cuda.Stream(device)) if self._is_on_gpu else ComputedAgain()
        )

    def record(self, call: Callable[[], tuple[Tensor, ...]]) -> tuple[bool, Tensor | None]:
        """Record a call as set-up does; return whether that succeeded, and a replay's result."""
        found: list[Tensor] = []

        def step() -> None:
            _, outputs, replay = self._recorder(call)
            replay()
            found.append(outputs[0].clone())

        is_recorded = record_all([step])
        return is_recorded, found[0] if found else None

    def beside(self, name: str, other: Callable[[], object]) -> None:
        """Check a recording during which another thread does something, and that thread."""
        inside, may_end = threading.Event(), threading.Event()
        calls: list[None] = []
        errors: list[str] = []

        def call() -> tuple[Tensor, ...]:
            product = self.numbers @ self.numbers
            calls.append(None)
            if len(calls) == 2:  # the first call is not captured
                inside.set()
                may_end.wait(WAIT_SECONDS)
            return (product.relu(),)

        def act() -> None:
            inside.wait(WAIT_SECONDS)
            try:
                other()
            except Exception as error:
                errors.append(first_line(error))
            may_end.set()

        thread = threading.Thread(target=act)
        thread.start()
        is_recorded, result = self.record(call)
        inside.set()
        thread.join()
        expected = (self.numbers @ self.numbers).relu()
        is_right = result is not None and torch.allclose(result, expected, rtol=1e-2, atol=1.0)
        if is_recorded and not is_right:
            errors.append("the replay is wrong")
        text = f"while one thread records, another {name} {'; '.join(errors)}"
        say(is_recorded and not errors, text)

    def actions(self) -> dict[str, Callable[[], object]]:
        """Return what the package's other threads do meanwhile."""
        x = self.numbers
        actions: dict[str, Callable[[], object]] = {
            "starts kernels": lambda: [(x @ x).relu_() for _ in range(10)],
            "fetches a tensor": lambda: x.relu().cpu(),
        }
        if self._is_on_gpu:
            actions |= {
                "uploads from pinned memory": self._upload,
                "allocates 1 GB anew": partial(
                    torch.empty, 2**30, dtype=torch.uint8, device=self._device
                ),
                "waits for an event": self._wait_for_event,
                "waits for its stream": lambda: torch.cuda.current_stream().synchronize(),
            }
        return actions

    def _upload(self) -> None:
        images = torch.zeros(4, 1024, 1024, 3, dtype=torch.uint8).pin_memory()
        images.to(self._device, non_blocking=True).float().sum().item()

    def _wait_for_event(self) -> None:
        event = torch.cuda.Event(blocking=True)
        (self.numbers @ self.numbers).relu_()
        event.record()
        event.synchronize()

    def record_in_two_threads(self) -> None:
        """Check that recordings of two threads come one after the other."""
        succeeded: list[bool] = []

        def record() -> None:
            succeeded.append(self.record(lambda: (self.numbers @ self.numbers,))[0])

        threads = [threading.Thread(target=record) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        say(succeeded == [True, True], f"two threads record at the same time: {succeeded}")

    def fail(self) -> None:
        """Record what cannot be, and check that the process is as fit as before."""
        stream = torch.cuda.current_stream() if self._is_on_gpu else None

        def forbidden() -> tuple[Tensor, ...]:
            total = self.numbers.sum()
            if not self._is_on_gpu:
                raise RuntimeError("in a rehearsal")
            total.item()
            return (total,)

        is_recorded, _ = self.record(forbidden)
        say(not is_recorded, "a recording that waits for the GPU fails")
        say(is_recording_off(), "after that, nothing is recorded in this process")
        with suppress(RuntimeError):
            self._recorder(forbidden)
        if self._is_on_gpu:
            is_back = torch.cuda.current_stream() == stream
            say(is_back, "a thread whose recording failed is on the stream that it was on")
            torch.cuda.empty_cache()
        product = self.numbers @ torch.eye(len(self.numbers), device=self._device)
        say(torch.allclose(product, self.numbers, atol=1e-2), "the device computes as before")


def say(is_good: bool, text: str) -> None:
    """Print a finding."""
    print(PASS if is_good else FAIL, text.strip(), flush=True)


def main() -> None:
    """Run the checks; those that may break the process come last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cpu", action="store_true", help="rehearse without a GPU")
    options: Any = parser.parse_args()
    captures = Captures(torch.device("cpu" if options.cpu else "cuda"))
    for name, action in captures.actions().items():
        captures.beside(name, action)
    captures.record_in_two_threads()
    captures.fail()


if __name__ == "__main__":
    main()
