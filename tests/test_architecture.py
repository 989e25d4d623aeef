"""The shape of the house: imports go one way, and each dependency has one door."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "sam_video").glob("*.py"))

LAYERS = (
    {"errors"},
    {"types", "request"},
    {"prompt_text", "rle", "render", "memory", "frames", "pocket", "metrics", "filetype"},
    {"images", "encoder", "prompts", "fetch", "network", "spool", "segmenter"},
    {"decoder", "model", "checkpoints", "writers"},
    {"video"},
    {"tracker"},
    {"pipeline"},
    {"__init__"},
    {"cli"},
    {"__main__"},
)
"""A module imports only from layers above its own in this list."""

DOORS = {
    "sam2": {"network", "model"},
    "av": {"decoder", "video"},
    "ffmpeg": {"encoder"},
    "imageio_ffmpeg": {"encoder"},
    "pycocotools": {"rle"},
    "cog": set(),
}
"""The modules of the package that may import a dependency; Cog's door is predict.py."""


def imported(path: Path) -> set[str]:
    """Return the dotted names that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            inner = {f"{module}.{alias.name}" for alias in node.names}
            names |= inner if module == "sam_video" else {module}
    return names


def layer(module: str) -> int:
    """Return the number of a module's layer."""
    found = [number for number, modules in enumerate(LAYERS) if module in modules]
    assert found, f"sam_video/{module}.py belongs to no layer"
    return found[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_imports_go_one_way(path: Path) -> None:
    for name in imported(path):
        package, _, rest = name.partition(".")
        module = rest.split(".")[0]
        if package == "sam_video" and (ROOT / "sam_video" / f"{module}.py").exists():
            assert layer(module) < layer(path.stem), f"{path.stem} imports {module}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_each_dependency_has_one_door(path: Path) -> None:
    packages = {name.partition(".")[0] for name in imported(path)}
    for package, doors in DOORS.items():
        assert package not in packages or path.stem in doors, f"{path.stem} imports {package}"


def test_no_file_is_long() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in MODULES}
    assert {name: length for name, length in lengths.items() if length > 330} == {}


def test_no_function_is_long() -> None:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno is not None
                assert node.end_lineno - node.lineno < 50, f"{path.stem}.{node.name}"
