"""The shape of the house: imports go one way, and each dependency has one door."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "sam_video"
MODULES = sorted(PACKAGE.rglob("*.py"))

ROWS = (
    ("errors", "disk_spool", "progress"),
    ("types",),
    ("limits", "export_formats", "cleaning", "rle"),
    ("request",),
    ("workers",),
    ("prompts", "video", "checkpoints"),
    ("model", "writers"),
    ("tracking", "detection"),
    ("service",),
    ("__init__", "console"),
    ("cli",),
    ("__main__",),
)
"""Rooms of the house, the ground first: a room imports from those in rows above its own alone."""

DOORS = {
    "av": {"video", "writers"},
    "cog": set(),
    "ffmpeg": {"writers"},
    "imageio_ffmpeg": {"writers"},
    "pycocotools": {"rle"},
    "sam2": {"model"},
    "tqdm": {"progress"},
    "torch": {"model", "tracking", "detection", "service"},
    "torchvision": set(),
    "transformers": {"detection"},
    "triton": {"model"},
}
"""The rooms that may import a dependency; Cog's door is predict.py."""

FILLED = {"sam_video", "prompts", "writers"}
"""The packages whose `__init__` is not empty, so that importing one module brings in no other."""


def name_of(path: Path) -> str:
    """Return a module's path within the package."""
    return str(path.relative_to(PACKAGE))


def room(path: Path) -> str:
    """Return the package that a module is in, or the module where it is in none."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


ROOMS = {room(path) for path in MODULES}


def row(name: str) -> int:
    """Return the number of a room's row."""
    found = [number for number, rooms in enumerate(ROWS) if name in rooms]
    assert found, f"sam_video/{name} stands in no row"
    return found[0]


def imported(path: Path) -> set[str]:
    """Return the dotted names that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_one_way(path: Path) -> None:
    own = row(room(path))
    for name in imported(path):
        package, _, rest = name.partition(".")
        other = rest.partition(".")[0]
        if package == "sam_video" and other in ROOMS - {room(path)}:
            assert row(other) < own, f"{name_of(path)} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_each_dependency_has_one_door(path: Path) -> None:
    packages = {name.partition(".")[0] for name in imported(path)}
    for package, doors in DOORS.items():
        assert package not in packages or room(path) in doors, f"{name_of(path)} imports {package}"


def test_a_package_brings_in_nothing_but_what_is_asked_for() -> None:
    for path in MODULES:
        if path.name == "__init__.py" and path.parent.name not in FILLED:
            assert path.read_text() == "", name_of(path)


def test_no_file_is_long() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: length for name, length in lengths.items() if length > 330} == {}


def test_no_function_is_long() -> None:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno is not None
                assert node.end_lineno - node.lineno < 50, f"{name_of(path)}: {node.name}"
