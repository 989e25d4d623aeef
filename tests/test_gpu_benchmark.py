"""The benchmark for GPUs, rehearsed on a CPU."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.report import Part, Report
from benchmarks.gpu.tracking import table

ROOT = Path(__file__).parents[1]
ABSENT = ("av", "ffmpeg", "imageio_ffmpeg", "cog", "transformers")
"""What the benchmark must not need: a machine that is borrowed for minutes may lack it."""
PARTS = (
    "environment",
    "start, seconds",
    "attention, milliseconds a layer",
    "encoder, milliseconds an image",
    "parts of a frame, milliseconds",
    "recordings",
    "tracking",
)


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What a rehearsal prints, and its folder."""
    folder = tmp_path_factory.mktemp("rehearsal") / "gpu"
    code = (
        "import runpy, sys\n"
        f"sys.modules |= dict.fromkeys({ABSENT}, None)\n"
        "runpy.run_module('benchmarks.gpu', run_name='__main__', alter_sys=True)\n"
    )
    command = [sys.executable, "-c", code, "--cpu", "--budget", "10000", "--out", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, folder


def test_a_rehearsal_runs_every_part_without_a_failure(rehearsal: tuple[str, Path]) -> None:
    printed, _ = rehearsal
    assert "FAIL" not in printed
    assert printed.count(" PASS ") > 20
    skipped = [line for line in printed.splitlines() if "skipped" in line]
    assert [line.partition("--- ")[2] for line in skipped] == [
        "compiled trunk: skipped, it needs a GPU",
        "clips beside vos_optimized: skipped, it needs a GPU",
    ]


def test_the_figures_of_a_rehearsal_are_there_by_part(rehearsal: tuple[str, Path]) -> None:
    content = json.loads((rehearsal[1] / "gpu.json").read_text())
    assert content["failed"] == []
    assert set(content["figures"]) == set(PARTS)
    assert {line["kind"] for line in content["lines"]} == {"PASS", "INFO"}
    figures = content["figures"]
    assert set(figures["encoder, milliseconds an image"]) == {"1", "2", "4"}
    assert {"importing PyTorch", "in all"} < set(figures["start, seconds"])
    assert figures["recordings"]["since"] == 0
    assert figures["recordings"]["at set-up"] > 0
    for row in figures["tracking"]:
        assert row["fps"] > 0
        assert row["ratio"] > 0


def test_a_rehearsal_gives_the_table_of_the_readme(rehearsal: tuple[str, Path]) -> None:
    lines = (rehearsal[1] / "gpu.md").read_text().splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["1", "2"]


def test_the_table_has_what_was_measured_beside_vos_optimized() -> None:
    row: dict[str, Any] = {"objects": 5, "official_fps": 4.0, "fps": 20.0, "ratio": 5.0}
    row |= {"gpu_gb": 3.5}
    compiled = row | {"official_fps": 9.0}
    found = table({"tracking": [row], "tracking beside vos_optimized": [compiled]})
    assert found.splitlines()[-1] == "| 5 | 4.0 | 9.0 | 20.0 | 5.0 | 3.5 |"


# The report


@pytest.fixture
def report(tmp_path: Path) -> Report:
    return Report(60, tmp_path / "gpu.json")


def test_what_has_failed_is_printed_again_at_the_end(
    report: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    report.check(True, "one")
    report.check(False, "two")
    report.info("three")
    assert report.finish() == 1
    assert capsys.readouterr().out.splitlines()[-1] == "FAIL two"


def test_a_report_without_failures_succeeds(report: Report) -> None:
    report.check(True, "one")
    assert report.finish() == 0


def test_an_error_of_a_part_fails_and_the_next_part_runs(
    report: Report, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def break_down() -> None:
        raise RuntimeError("CUDA error: misaligned address\nCompile with")

    report.run(Part("first", break_down, 1))
    report.run(Part("second", lambda: report.check(True, "right"), 1))
    assert report.failures == ["first: RuntimeError: CUDA error: misaligned address"]
    assert "PASS right" in capsys.readouterr().out
    assert json.loads((tmp_path / "gpu.json").read_text())["failed"] == report.failures


def test_a_part_is_skipped_where_time_lacks_and_that_is_said(report: Report) -> None:
    report.run(Part("long", lambda: report.check(False, "never"), 61))
    report.run(Part("short", lambda: report.check(True, "done"), 1))
    assert [line.text for line in report.lines[:1]] == ["--- long: skipped, 60 s are left"]
    assert report.failures == []
