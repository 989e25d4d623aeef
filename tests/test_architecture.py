"""The shape of the house: imports go one way, and each dependency has one door."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "sam_video").rglob("*.py"))

LAYERS = (
    {"errors", "worker", "progress", "stall_timer", "headroom"},
    {"limits", "device", "heap"},
    {"types", "request", "crew"},
    {"read_ahead"},
    {"prompts.named_prompt", "writers.sink", "partial_file", "writers.filenames"},
    {"prompts.text", "prompts.json_list", "prompts.mask_zip", "prompts.names"},
    {"prompts.build"},
    {"prompts"},
    {"rle", "render", "memory", "frames", "pocket", "metrics", "filetype", "timeline"},
    {"attention", "fused_attention", "cuda_graphs", "bits", "resampling"},
    {"images", "encoder", "fetch", "network", "spool", "segmenter", "selection", "prompt_marks"},
    {"attention_choice"},
    {"memory_attention", "memory_encoder", "mask_decoder", "image_encoder", "batches"},
    {"fetch_process"},
    {"decoder", "model", "checkpoints", "tracked_object", "messages"},
    {"video", "audio", "tracker", "guard", "guarded"},
    {"reading", "file_reader"},
    {"writers.columns", "writers.coco", "writers.stored_zip", "writers.pictures"},
    {"writers.youtube_vis", "writers.start_length", "writers.boxes", "writers.zips"},
    {"writers.images", "writers.videos", "writers.run_lengths"},
    {"writers.overlays", "writers.previews", "writers.candidates"},
    {"writers"},
    {"outputs", "write_behind"},
    {"loading"},
    {"pipeline"},
    {"session"},
    {"health"},
    {"__init__"},
    {"cli"},
    {"__main__"},
)
"""A module imports only from layers above its own in this list."""

DOORS = {
    "sam2": {"network", "model"},
    "av": {"decoder", "video", "audio"},
    "ffmpeg": {"encoder"},
    "imageio_ffmpeg": {"encoder"},
    "pycocotools": {"rle"},
    "triton": {"fused_attention"},
    "cog": set(),
}
"""The modules of the package that may import a dependency; Cog's door is predict.py."""


def name_of(path: Path) -> str:
    """Return a module's name within the package; a package's own is its folder's."""
    parts = path.relative_to(ROOT / "sam_video").with_suffix("").parts
    return ".".join(parts[:-1] if parts[1:] and parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in MODULES}


def imported(path: Path) -> set[str]:
    """Return the dotted names that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names |= {f"{module}.{alias.name}" for alias in node.names} | {module}
    return names


def layer(module: str) -> int:
    """Return the number of a module's layer."""
    found = [number for number, modules in enumerate(LAYERS) if module in modules]
    assert found, f"sam_video/{module} belongs to no layer"
    return found[0]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_one_way(path: Path) -> None:
    for name in imported(path):
        package, _, module = name.partition(".")
        if package == "sam_video" and module in NAMES:
            assert layer(module) < layer(name_of(path)), f"{name_of(path)} imports {module}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_each_dependency_has_one_door(path: Path) -> None:
    packages = {name.partition(".")[0] for name in imported(path)}
    for package, doors in DOORS.items():
        assert package not in packages or name_of(path) in doors, f"{path.stem} imports {package}"


def test_no_file_is_long() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in MODULES}
    assert {name: length for name, length in lengths.items() if length > 330} == {}


def test_no_function_is_long() -> None:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno is not None
                assert node.end_lineno - node.lineno < 50, f"{path.stem}.{node.name}"
