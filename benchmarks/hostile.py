"""What hostile files do to the model behind Cog's real HTTP server.

Every file of a folder is sent as `input_video`, zips and masks as `mask_prompts` too, each followed
by a prediction that must succeed. Run `python -m benchmarks.hostile --help`.
"""

import argparse
import base64
import io
import re
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.clips import draw_clip
from tests.cog_server import CogServer, running_server
from tests.hostile_files import SLOW_VIDEOS, VIDEOS

SHARED = Path(__file__).parents[2] / "shared" / "data" / "bad"
LAST_FRAME = 3
"""Of those that are asked for: a valid file may be long, which is no fault."""
MAX_SECONDS, MAX_MEGABYTES = 20, 2048
"""What is accepted of a prediction."""
CLIP_SIZE, ON_DISC = (854, 480), "[102,144]"
"""The masks of the shared folder are of this size."""
COGS_WORDS = "^(Prediction failed: |Generator iteration error: )+"
"""That stand before every message."""
SAMPLE_SECONDS = 0.05
"""Between two looks at the memory."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one prediction."""

    name: str
    num_bytes: int
    status: str
    """`succeeded` or `failed`, or what else the server says."""
    seconds: float
    peak_megabytes: float
    """Of the server and all its processes together."""
    text: str
    """The message, or how many frames there are."""

    def faults(self, *, patience: float = 1) -> list[str]:
        """Return what is not as it should be; a busy machine may take `patience` times as long."""
        tests = {
            f"status {self.status}": self.status not in ("succeeded", "failed"),
            f"{self.seconds:.1f} seconds": self.seconds > MAX_SECONDS * patience,
            f"{self.peak_megabytes:.0f} MB": self.peak_megabytes > MAX_MEGABYTES,
            "no line": not self.text.isprintable() or not 0 < len(self.text) < 1000,
            "a crash": "crashed" in self.text or "Error: Error" in self.text,
        }
        return [fault for fault, is_there in tests.items() if is_there]


def main() -> None:
    """Send the files and print a table of what came of them."""
    options = parse_options()
    num_faults = 0
    print("| file | bytes | status | seconds | peak MB | message or frames |")
    print("|---|---:|---|---:|---:|---|")
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder)) as server:
        clip = good_clip(Path(folder))
        for path in paths(options.folder, Path(folder)):
            for outcome in outcomes(server, path, clip):
                num_faults += len(outcome.faults())
                print(row(outcome), flush=True)
                good = send(server, "", 0, {"input_video": clip, "click_coordinates": ON_DISC})
                assert good.status == "succeeded", f"after {outcome.name}: {good.text}"
    print(f"\n{num_faults} faults" if num_faults else "\nNothing is at fault.")


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    help_text = (
        "by default the files that the tests make, and the shared folder's where it is there"
    )
    parser.add_argument("folder", type=Path, nargs="?", help=help_text)
    return parser.parse_args()


def paths(folder: Path | None, temporary: Path) -> Iterator[Path]:
    """Yield the files to send; those that are made are made in a temporary folder."""
    if folder is not None or SHARED.exists():
        yield from sorted(path for path in (folder or SHARED).iterdir() if path.is_file())
    if folder is None:
        for name, make in {**VIDEOS, **SLOW_VIDEOS}.items():
            path = temporary / name
            path.write_bytes(make(temporary))
            yield path


def row(outcome: Outcome) -> str:
    """Return an outcome as a row of the table."""
    text = outcome.text.replace("|", "\\|")
    faults = "".join(f" **{fault}**" for fault in outcome.faults())
    return (
        f"| {outcome.name} | {outcome.num_bytes} | {outcome.status} | {outcome.seconds:.1f}"
        f" | {outcome.peak_megabytes:.0f} | {text}{faults} |"
    )


def good_clip(folder: Path) -> bytes:
    """Return a video that nothing is wrong with, with a disc at `ON_DISC`."""
    draw_clip(folder / "good.mp4", num_frames=2, size=CLIP_SIZE)
    return (folder / "good.mp4").read_bytes()


def outcomes(server: CogServer, path: Path, clip: bytes) -> Iterator[Outcome]:
    """Send a file in every way that it may be meant."""
    data = path.read_bytes()
    ways: list[dict[str, Any]] = [{"input_video": data, "click_coordinates": "[0,0]"}]
    if path.suffix in (".zip", ".png"):
        masks = data if path.suffix == ".zip" else zipped(data)
        ways.append({"input_video": clip, "mask_prompts": masks})
    for inputs in ways:
        name = path.name + (" as masks" if "mask_prompts" in inputs else "")
        yield send(server, name, len(data), inputs)


def send(server: CogServer, name: str, num_bytes: int, inputs: dict[str, Any]) -> Outcome:
    """Run a prediction, of whose inputs those that are bytes are files."""
    sent = {key: as_uri(value) for key, value in inputs.items()}
    with watched_memory(server) as memory:
        start = time.monotonic()
        status, answer = server.predict(**({"end_frame": LAST_FRAME} | sent))
        seconds = time.monotonic() - start
    if status == 200 and answer["status"] == "succeeded":
        text = f"{answer['metrics']['frames']:.0f} frames"
        return Outcome(name, num_bytes, "succeeded", seconds, memory.peak_megabytes, text)
    text = re.sub(COGS_WORDS, "", str(answer.get("error", answer)))
    said = answer.get("status", f"HTTP {status}")
    return Outcome(name, num_bytes, said, seconds, memory.peak_megabytes, text)


def as_uri(value: Any) -> Any:
    """Return bytes as the text that Cog takes for a file."""
    if not isinstance(value, bytes):
        return value
    return f"data:application/octet-stream;base64,{base64.b64encode(value).decode()}"


def zipped(mask: bytes) -> bytes:
    """Return a zip that has these bytes as the mask of an object."""
    archived = io.BytesIO()
    with zipfile.ZipFile(archived, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0_object.png", mask)
    return archived.getvalue()


@dataclass(slots=True)
class Memory:
    """What a server's processes took while they were watched."""

    peak_megabytes: float = 0
    has_ended: threading.Event = field(default_factory=threading.Event)


@contextmanager
def watched_memory(server: CogServer) -> Iterator[Memory]:
    """Look at the memory of the server and of all its processes again and again."""
    memory = Memory()

    def watch() -> None:
        has_ended = False
        while not has_ended:
            has_ended = memory.has_ended.wait(SAMPLE_SECONDS)
            taken = sum(map(proportional_megabytes, server.children("")))
            memory.peak_megabytes = max(memory.peak_megabytes, taken)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield memory
    finally:
        memory.has_ended.set()
        thread.join()


def proportional_megabytes(pid: int) -> float:
    """Return a process's memory, what it shares with others in equal parts; 0 if it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0


if __name__ == "__main__":
    main()
