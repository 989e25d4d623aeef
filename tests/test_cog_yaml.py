"""cog.yaml, requirements.txt and .dockerignore: Cog accepts them, and they fit the package."""

import re
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from jsonschema import ValidationError, validate
from packaging.requirements import Requirement

from sam_video.checkpoints.catalogue import CHECKPOINTS
from sam_video.checkpoints.detectors import DETECTORS
from sam_video.checkpoints.hub import NEEDED
from sam_video.detection.engines import engine_for

ROOT = Path(__file__).parents[1]
COG = yaml.safe_load((ROOT / "cog.yaml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

STRINGS = {"type": "array", "items": {"type": "string"}}
# After pkg/config/data/config_schema_v1.0.json of Cog 0.23, without what it deprecates. Cog itself
# ignores keys that it does not know.
SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["build", "predict"],
    "properties": {
        "build": {
            "type": "object",
            "additionalProperties": False,
            "required": ["python_version"],
            "properties": {
                "gpu": {"type": "boolean"},
                "cuda": {"type": "string"},
                "cudnn": {"type": "string"},
                "python_version": {"enum": ["3.10", "3.11", "3.12", "3.13"]},
                "python_requirements": {"type": "string"},
                "sdk_version": {"type": "string"},
                "system_packages": STRINGS,
                "run": STRINGS,
            },
        },
        "image": {"type": "string"},
        "predict": {"pattern": r"^[\w/]+\.py:\w+$"},
        "environment": {"type": "array", "items": {"pattern": r"^\w+=\S*$"}},
    },
}
# After pkg/config/env.go: variables that a model may not set.
# fmt: off
REFUSED_VARIABLES = (
    "PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "PYTHONUNBUFFERED", "LIBRARY_PATH",
    "R8_*", "REPLICATE_*", "CUDA_*", "NVIDIA_*", "NV_*", "PGET_*", "KUBERNETES_*", "HF_ENDPOINT",
    "HF_HUB_ENABLE_HF_TRANSFER",
)
# fmt: on
# After pkg/config/data/torch_compatibility.json: CUDA versions of the newest torch that is in it.
CUDA_VERSIONS = {"torch==2.11.0": {"12.6", "12.8", "12.9", "13.0"}}


def requirement_lines() -> list[str]:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def pinned_versions() -> dict[str, str]:
    return dict(line.split("==") for line in requirement_lines())


def test_cog_yaml_has_only_what_cog_knows() -> None:
    validate(COG, SCHEMA)


@pytest.mark.parametrize(
    "extra",
    [{"tests": []}, {"build": {"python_version": "3.12", "foo": 1}}, {"predict": "Predictor"}],
    ids=["top-level", "build", "reference"],
)
def test_what_cog_would_ignore_fails(extra: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        validate(COG | extra, SCHEMA)


def test_the_predictor_is_there() -> None:
    file, _, name = COG["predict"].partition(":")
    assert f"class {name}(" in (ROOT / file).read_text()


def test_no_variable_is_one_that_cog_refuses() -> None:
    names = [item.partition("=")[0] for item in COG["environment"]]
    assert not [
        name for name in names for refused in REFUSED_VARIABLES if fnmatchcase(name, refused)
    ]


def test_every_command_is_one_line() -> None:
    assert not [command for command in COG["build"]["run"] if "\n" in command]


def test_every_requirement_is_pinned() -> None:
    for line in requirement_lines():
        assert re.fullmatch(r"[a-z0-9-]+==[0-9.]+", line), line


def test_cog_itself_is_no_requirement() -> None:
    assert not {"cog", "coglet"} & set(pinned_versions())


def test_the_image_has_what_the_package_needs() -> None:
    pinned = pinned_versions()
    for text in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["text"]]:
        needed = Requirement(text)
        assert needed.specifier.contains(pinned[needed.name]), text


def test_the_image_has_a_torch_that_cog_knows_for_its_cuda() -> None:
    torch = f"torch=={pinned_versions()['torch']}"
    assert COG["build"]["cuda"] in CUDA_VERSIONS[torch]


def test_the_image_has_the_same_sam2_as_the_makefile() -> None:
    pin = re.compile(r"sam2==([0-9.]+)")
    installed = pin.findall("\n".join(COG["build"]["run"]))
    assert installed == pin.findall((ROOT / "Makefile").read_text())


def test_packages_can_be_installed_into_a_python_that_is_externally_managed() -> None:
    commands = [command for command in COG["build"]["run"] if "pip install" in command]
    assert commands
    assert all("--break-system-packages" in command for command in commands)


def test_the_image_has_the_cog_that_the_tests_run() -> None:
    assert f"cog=={COG['build']['sdk_version']}" in PROJECT["optional-dependencies"]["dev"]


def test_the_image_has_the_default_checkpoint_where_it_is_looked_for() -> None:
    (command,) = [line for line in COG["build"]["run"] if "curl" in line]
    checkpoint = CHECKPOINTS["large"]
    assert f" {checkpoint.url} " in command
    assert f'"{checkpoint.sha256}  {checkpoint.file_name}" | sha256sum --check' in command
    (folder,) = re.findall(r"cd (\S+)", command)
    assert f"SAM_VIDEO_WEIGHTS={folder}" in COG["environment"]


def test_the_image_has_the_detector_of_a_gpu_where_it_is_looked_for() -> None:
    (command,) = [line for line in COG["build"]["run"] if "hf download" in line]
    weights = DETECTORS[engine_for("auto", model="large", device=torch.device("cuda"))]
    assert f" {weights.hub_id} --revision {weights.revision} " in command
    assert all(f'"{name}"' in command or name.endswith(".json") for name in NEEDED)
    (folder,) = re.findall(r"--local-dir (\S+)", command)
    assert f"SAM_VIDEO_WEIGHTS={folder.removesuffix('/' + weights.name)}" in COG["environment"]


@pytest.mark.parametrize(
    ("path", "is_ignored"),
    [
        ("predict.py", False),
        ("sam_video/service/pipeline.py", False),
        ("sam_video/model/configs/pocket.yaml", False),
        ("weights/pocket.safetensors", False),
        ("weights/pocket_words.safetensors", False),
        ("weights/sam2.1_hiera_large.pt", True),
        (".cog/tmp/build/requirements.txt", False),  # Cog's own, which the build copies
        ("tests/test_predict.py", True),
        (".venv/bin/python", True),
        (".hypothesis/examples/0/1", True),
        ("out/frame_00000.webp", True),
        ("sam_video/__pycache__/cli.pyc", True),
    ],
)
def test_the_image_has_the_source_alone(path: str, is_ignored: bool) -> None:
    ignored = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line.startswith("#") and matches(path, line.removeprefix("!")):
            ignored = not line.startswith("!")
    assert ignored == is_ignored


def matches(path: str, pattern: str) -> bool:
    """Match a path or one of its folders, as Docker does for the kinds of pattern that are used."""
    pattern = pattern.rstrip("/")
    parts = path.split("/")
    if pattern.startswith("**/"):
        return any(fnmatchcase(part, pattern.removeprefix("**/")) for part in parts)
    starts = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
    depth = pattern.count("/")
    return any(fnmatchcase(start, pattern) for start in starts if start.count("/") == depth)
