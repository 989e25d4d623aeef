"""Whole clips: frames per second beside the official predictor, memory, and recordings."""

import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.parity import clip_of
from benchmarks.official import official_predictor
from benchmarks.tracking import Timing, by_turns, our_masks, timed
from sam_video.model.cuda_graphs import recordings_made

AIMS = {1: 2.5, 10: 6.0}
"""How many times as fast as the official predictor, by number of objects."""
TRACKING, COMPILED = "tracking", "tracking beside vos_optimized"
FREE_BYTES = 1.2 * 2**30
"""Memory that is left for a prediction where there is little."""


def check_recordings(bench: Bench) -> None:
    """Check that predictions record nothing, whatever their objects do; report their speed."""
    model, count = bench.model, bench.pick(60, 4)
    before = recordings_made()
    for num_objects in bench.pick((1, 5, 16), (2,)):
        for number in range(4):
            clip = clip_of(bench, count, num_objects, late=number)
            timing = timed(partial(our_masks, model, clip.images, clip.prompts))
            made = recordings_made() - before
            bench.report.check(
                made == 0,
                f"{num_objects} objects, prediction {number + 1}: {count / timing.seconds:.1f}"
                f" frames per second, {made} recordings since set-up",
            )
    bench.report.figures["recordings"] = {"at set-up": before, "since": recordings_made() - before}


def time_clips(bench: Bench) -> None:
    """Time clips beside the official predictor, by turns."""
    model, network = bench.model, bench.network
    predictor = official_predictor(bench.model_name, network).to(bench.device)
    rows = bench.report.figures.setdefault(TRACKING, [])
    for num_objects in bench.pick((1, 5, 10), (1, 2)):
        clip = clip_of(bench, bench.pick(60, 3), num_objects)
        if not bench.is_rehearsal:
            by_turns(predictor, model, clip.images[:8], clip.prompts, rounds=1)
        timings = by_turns(predictor, model, clip.images, clip.prompts, rounds=1)
        rows.append(row_of(num_objects, len(clip.images), *timings))
        bench.report.info(sentence(rows[-1]))
        if (aim := AIMS.get(num_objects)) and not bench.is_rehearsal:
            verb = "reached" if rows[-1]["ratio"] >= aim else "missed"
            bench.report.info(f"{num_objects} objects: the aim of {aim} times is {verb}")


def row_of(num_objects: int, num_frames: int, official: Timing, ours: Timing) -> dict[str, Any]:
    """Return a row of the table."""
    return {
        "objects": num_objects,
        "frames": num_frames,
        "official_fps": round(num_frames / official.seconds, 2),
        "fps": round(num_frames / ours.seconds, 2),
        "ratio": round(official.seconds / ours.seconds, 2),
        "first_mask_seconds": round(ours.first_mask_seconds, 3),
        "gpu_gb": round(ours.peak_gpu_megabytes / 1024, 1),
    }


def sentence(row: dict[str, Any]) -> str:
    """Say what a row says."""
    return (
        f"{row['objects']} objects: {row['fps']} frames per second, official"
        f" {row['official_fps']}: {row['ratio']} times; first mask after"
        f" {row['first_mask_seconds']} s; {row['gpu_gb']} GB reserved"
    )


def time_compiled(bench: Bench) -> None:
    """Time clips beside `vos_optimized`, whose compilation takes minutes, in a process of its own.

    What it has measured when the time is over counts.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speed.json"
        words = ["--model", bench.model_name, "--compiled", "--no-files", "--frames", "60"]
        command = [sys.executable, "-m", "benchmarks.speed", *words, "--json", str(path)]
        seconds = max(1.0, bench.report.seconds_left())
        try:
            subprocess.run(command, capture_output=True, timeout=seconds, check=True)
        except subprocess.TimeoutExpired:
            bench.report.info(f"vos_optimized: ended after {seconds:.0f} s")
        except subprocess.CalledProcessError as error:
            lines = error.stderr.decode(errors="replace").splitlines() or [""]
            bench.report.info(f"vos_optimized fails: {lines[-1]}")
        found = json.loads(path.read_text())["rows"] if path.exists() else []
    rows = [
        row_of(one["objects"], one["frames"], Timing(**one["official"]), Timing(**one["ours"]))
        for one in found
    ]
    bench.report.figures[COMPILED] = rows
    for row in rows:
        bench.report.info(f"vos_optimized as the official one: {sentence(row)}")


def check_little_memory(bench: Bench) -> None:
    """Check that 16 objects are tracked where memory does not suffice for them at a time."""
    model, clip = bench.model, clip_of(bench, bench.pick(12, 3), bench.pick(16, 3))
    if not bench.is_rehearsal:
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(
            (torch.cuda.memory_reserved() + FREE_BYTES) / total
        )
    try:
        found = sum(1 for _ in our_masks(model, clip.images, clip.prompts))
    finally:
        if not bench.is_rehearsal:
            torch.cuda.set_per_process_memory_fraction(1.0)
    text = f"{found} frames of {len(clip.prompts)} objects with 1.2 GB more than the model has"
    bench.report.check(found == len(clip.images), text)


def table(figures: dict[str, Any]) -> str:
    """Return the speed as a table for the README."""
    compiled = {row["objects"]: row for row in figures.get(COMPILED, ())}
    lines = [
        "| objects | official | `vos_optimized` | ours | ratio | GPU memory, GB |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for row in figures.get(TRACKING, ()):
        other = compiled.get(row["objects"], {}).get("official_fps", "")
        lines.append(
            f"| {row['objects']} | {row['official_fps']} | {other} | {row['fps']} | {row['ratio']}"
            f" | {row['gpu_gb']} |"
        )
    return "\n".join(lines)
