"""What the parts of the benchmark find, printed at once and kept, within a time."""

import json
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PASS, FAIL, INFO = "PASS", "FAIL", "INFO"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the report."""

    seconds: float
    """Since the start."""
    kind: str
    """`PASS`, `FAIL` or `INFO`."""
    text: str


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the benchmark."""

    name: str
    step: Callable[[], None]
    seconds: float
    """That it takes at most on a GPU; it is skipped where fewer are left."""
    is_rehearsed: bool = True
    """Whether it can run without a GPU."""


class Report:
    """Prints lines, keeps them with all figures, and runs parts as long as there is time.

    Args:
        budget_seconds: Time for everything.
        path: Where the figures are written as JSON after each part, since a run may be cut off.
        is_rehearsal: Whether there is no GPU.
    """

    def __init__(self, budget_seconds: float, path: Path, *, is_rehearsal: bool = False) -> None:
        self._started = time.perf_counter()
        self._budget = budget_seconds
        self._path = path
        self._is_rehearsal = is_rehearsal
        self.lines: list[Line] = []
        self.figures: dict[str, Any] = {}
        """By part and name; values that JSON knows."""

    def seconds(self) -> float:
        """Return the seconds since the start."""
        return time.perf_counter() - self._started

    def seconds_left(self) -> float:
        """Return the seconds of the budget that are left."""
        return self._budget - self.seconds()

    @property
    def failures(self) -> list[str]:
        """What has failed so far."""
        return [line.text for line in self.lines if line.kind == FAIL]

    def say(self, kind: str, text: str) -> None:
        """Print a line and keep it."""
        line = Line(round(self.seconds(), 1), kind, text)
        self.lines.append(line)
        print(f"[{line.seconds:6.1f} s] {kind} {text}", flush=True)

    def info(self, text: str) -> None:
        """Report something that is neither right nor wrong."""
        self.say(INFO, text)

    def check(self, is_good: bool, text: str) -> None:
        """Report whether something is as it should be; `text` says how it is."""
        self.say(PASS if is_good else FAIL, text)

    def run(self, part: Part) -> None:
        """Run a part if there is time for it; its error does not end the others."""
        if self._is_rehearsal and not part.is_rehearsed:
            self.info(f"--- {part.name}: skipped, it needs a GPU")
        elif self.seconds_left() < part.seconds:
            self.info(f"--- {part.name}: skipped, {self.seconds_left():.0f} s are left")
        else:
            self.info(f"--- {part.name}")
            try:
                part.step()
            except Exception as error:
                traceback.print_exc()
                self.check(False, f"{part.name}: {first_line(error)}")
        self.write()

    def write(self) -> None:
        """Write everything so far as JSON."""
        content = {
            "seconds": round(self.seconds(), 1),
            "failed": self.failures,
            "figures": self.figures,
            "lines": [asdict(line) for line in self.lines],
        }
        self._path.write_text(json.dumps(content, indent=1))

    def finish(self) -> int:
        """Print what has failed once more; return the exit status."""
        self.write()
        print(f"\n{self.seconds():.0f} s; {len(self.failures)} failed; figures in {self._path}")
        for text in self.failures:
            print(f"FAIL {text}")
        return 1 if self.failures else 0


def first_line(error: BaseException) -> str:
    """Return an error's type and the first line of its message."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
