"""The README and the pages of docs/ tell the truth where a machine can tell."""

import ast
import json
import re
from collections.abc import Callable
from dataclasses import fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import sam_video
from sam_video.checkpoints.catalogue import CHECKPOINTS
from sam_video.checkpoints.detectors import DETECTORS
from sam_video.detection.engines import ENGINES
from sam_video.detection.grounding_dino import GroundingDinoDetector
from sam_video.detection.owlv2 import Owlv2Detector
from sam_video.detection.pocket_words import THRESHOLD
from sam_video.detection.sam3 import Sam3Detector
from sam_video.detection.vocabulary import COLOURS, NOUNS
from sam_video.limits import LIMITS, Limit
from sam_video.prompts import build_concepts
from sam_video.prompts.json_list import parse_prompts, parse_words
from sam_video.prompts.text import parse_clicks
from sam_video.request import Request
from sam_video.service.words import SECONDS_ON_CPU
from sam_video.types import Candidate, MaskFrame, VideoInfo
from sam_video.writers.boxes import BoxWriter
from sam_video.writers.coco import CocoWriter
from sam_video.writers.sink import Sink
from sam_video.writers.start_length import StartLengthWriter
from sam_video.writers.youtube_vis import YouTubeVisWriter
from tests.mask_frames import INFO, NOTHING, disc, mask_frame, write_all
from tests.test_architecture import ROWS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
READMES = [
    ROOT / "README.md",
    *(ROOT / n / "README.md" for n in ("benchmarks", "training", "weights")),
]
PAGES = [*READMES, *sorted(DOCS.glob("*.md"))]
WRITERS: dict[str, Callable[[Path, VideoInfo], Sink]] = {
    "videos": YouTubeVisWriter,
    "order": StartLengthWriter,
    "video": CocoWriter,
    "0": lambda folder, _: BoxWriter(folder),
}
"""What writes the files that the pages show, by their first key."""


def page_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(language: str, path: Path) -> list[str]:
    """Return the fenced blocks of a language, or of none, on a page."""
    return [
        text
        for found, text in re.findall(r"^```(\w*)\n(.*?)^```$", path.read_text(), re.M | re.S)
        if found == language
    ]


def all_blocks(language: str) -> list[str]:
    return [block for path in PAGES for block in blocks(language, path)]


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_what_is_linked_exists(path: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)(.+?)\)", path.read_text()):
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_linked_from_the_readme() -> None:
    links = set(re.findall(r"\]\((docs/.+?\.md)", READMES[0].read_text()))
    assert links == {f"docs/{path.name}" for path in DOCS.glob("*.md")}


def test_the_commands_use_inputs_that_exist() -> None:
    used = re.findall(r"-i (\w+)=", "".join(all_blocks("sh") + all_blocks("")))
    assert used
    assert set(used) <= {field.name for field in fields(Request)}


def test_the_targets_of_make_exist() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    used = [
        name
        for path in PAGES
        for name in re.findall(r"(?:^|`)make ([a-z]+)", path.read_text(), re.M)
    ]
    assert used
    assert set(used) <= set(targets)


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_the_modules_that_are_run_exist_and_have_the_options(path: Path) -> None:
    text = path.read_text().replace("\\\n", " ")
    for module, arguments in re.findall(r"-m ((?:benchmarks|training)(?:\.\w+)+)([^`\n]*)", text):
        spec = find_spec(module)
        assert spec is not None, module
        assert spec.origin is not None, module
        path = Path(spec.origin)
        source = (path.with_name("__main__.py") if path.stem == "__init__" else path).read_text()
        for option in re.findall(r"--[a-z][a-z-]*", arguments):
            assert option == "--help" or f'"{option}"' in source, (module, option)


@pytest.mark.parametrize("example", all_blocks("python"))
def test_the_python_examples_use_names_that_exist(example: str) -> None:
    for node in ast.walk(ast.parse(example)):
        if isinstance(node, ast.ImportFrom) and node.module == "sam_video":
            assert all(hasattr(sam_video, alias.name) for alias in node.names)


# docs/limits-and-security.md


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.variable)
def test_the_table_of_limits_has_every_limit_with_its_default(limit: Limit) -> None:
    page = (DOCS / "limits-and-security.md").read_text()
    assert f"| `{limit.variable}` | {limit.default} | {limit.meaning} |" in page


# docs/outputs.md


def outline(value: Any) -> Any:
    """Return a value with `…` for every text and number; of a list, the first entry that is any."""
    if isinstance(value, dict):
        return {key: outline(member) for key, member in value.items()}
    if isinstance(value, list):
        return [outline(next(item for item in value if item is not None))] if value else []
    return "…"


def written_frames() -> list[MaskFrame]:
    return [mask_frame(0, {"dog": disc(20, 20)}), mask_frame(1, {"dog": NOTHING})]


FILES = [
    json.loads(block)
    for path in (READMES[0], DOCS / "outputs.md")
    for block in blocks("json", path)
]


@pytest.mark.parametrize("shown", FILES, ids=lambda shown: next(iter(shown)))
def test_the_files_that_are_shown_look_like_those_that_are_written(
    shown: dict[str, Any], tmp_path: Path
) -> None:
    sink = WRITERS[next(iter(shown))](tmp_path, INFO)
    (path,) = write_all(sink, written_frames())
    assert outline(shown) == outline(json.loads(path.read_text()))


def test_all_forms_of_data_files_are_shown() -> None:
    assert {next(iter(shown)) for shown in FILES} == set(WRITERS)


def test_candidates_have_the_members_that_are_stated(tmp_path: Path) -> None:
    page = (DOCS / "outputs.md").read_text()
    stated = re.search(r"`candidates`: a list .*?, each\nwith (.*?), in the order", page, re.DOTALL)
    assert stated is not None
    (masks,) = written_frames()[:1]
    (dog,) = masks.objects
    given = replace(masks, objects=(replace(dog, candidates=(Candidate(dog.mask, 0.9),)),))
    (path,) = write_all(CocoWriter(tmp_path, INFO), [given])
    (frame,) = json.loads(path.read_text())["frames"]
    (candidate,) = frame["objects"][0]["candidates"]
    assert re.findall(r"`(\w+)`", stated[1]) == list(candidate)


# docs/services.md


SERVICES = dict(
    re.findall(r"^\| (.+?) \| `.+` \| (.+) \|$", (DOCS / "services.md").read_text(), re.MULTILINE)
)
"""Each service, and a request to it in our words, or a reference to another row."""
TRANSLATED = {name: text.strip("`") for name, text in SERVICES.items() if text.startswith("`{")}


def test_the_services_that_the_readme_names_are_there() -> None:
    named = re.search(r"other services \((.*?)\)", READMES[0].read_text())
    assert named is not None
    assert len(TRANSLATED) == 11
    for name in named[1].split(", "):
        assert any(name in service for service in SERVICES), name


@pytest.mark.parametrize("here", TRANSLATED.values(), ids=TRANSLATED.keys())
def test_the_translated_requests_of_other_services_are_accepted(here: str) -> None:
    inputs = json.loads(here.replace('"input_video": U', '"input_video": "clip.mp4"'))
    request = Request(**inputs)
    clicks = parse_clicks(
        click_coordinates=request.click_coordinates,
        click_labels=request.click_labels,
        click_frames=request.click_frames,
        click_object_ids=request.click_object_ids,
    )
    assert [*clicks, *parse_prompts(request.prompts)] or build_concepts(request)


def test_the_forms_of_json_prompts_are_accepted() -> None:
    (example,) = blocks("json", DOCS / "services.md")
    assert {prompt.object_id for prompt in parse_prompts(example)} == {"1", "bird"}
    assert parse_words(example) == (("prompts[3].text", "person, red car"),)


# docs/words.md


def test_the_page_on_words_has_every_detector_and_its_threshold_and_cost() -> None:
    page = (DOCS / "words.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| .+ \| (.+) \|$", page, re.MULTILINE)
    assert [name for name, _ in rows] == ["text_model", *ENGINES]
    for name, seconds in SECONDS_ON_CPU.items():
        assert dict(rows)[name].partition(" ")[0] == str(seconds)
    for thresholds in re.findall(r"own threshold: (.+)\. Scores", page):
        assert thresholds == (
            f"{THRESHOLD} for `pocket`, {Sam3Detector.threshold} for `sam3`,"
            f" {Owlv2Detector.threshold} for OWLv2,"
            f" {GroundingDinoDetector.threshold} for LLMDet"
        )


def test_the_page_on_words_lists_the_vocabulary_of_pocket() -> None:
    page = " ".join((DOCS / "words.md").read_text().split())
    assert f"knows {len(NOUNS)} nouns ({', '.join(NOUNS)})" in page
    assert f"one of {len(COLOURS)} colours" in page


def test_the_weights_of_detectors_are_downloaded_by_names_that_exist() -> None:
    pages = " ".join(path.read_text() for path in PAGES)
    names = {name.replace("-", "_") for name in re.findall(r"sam-video download ([\w-]+)", pages)}
    assert names - {"NAME", "large"} <= {*DETECTORS, *CHECKPOINTS}


# docs/architecture.md


def tree() -> dict[str, str]:
    """Return the paths of the tree, relative to the project, and what is said of each."""
    text = next(b for b in blocks("", DOCS / "architecture.md") if "sam_video/" in b)
    folders: list[str] = []
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, _, words = line.strip().partition(" ")
        del folders[(len(line) - len(line.lstrip())) // 2 :]
        found["".join([*folders, name])] = words.strip()
        if name.endswith("/"):
            folders.append(name)
    return found


def test_the_tree_has_every_module_and_no_other() -> None:
    modules = {
        page_id(path)
        for path in [*ROOT.glob("sam_video/**/*.py"), *ROOT.glob("sam_video/**/*.yaml")]
        if path.name != "__init__.py" or path.read_text()
    }
    stated = {name for name in tree() if name.startswith("sam_video/") and not name.endswith("/")}
    assert stated == modules


@pytest.mark.parametrize(("name", "words"), tree().items(), ids=tree().keys())
def test_the_tree_says_something_of_all_that_is_there(name: str, words: str) -> None:
    assert (ROOT / name).exists()
    assert words


def test_the_direction_of_imports_is_the_one_that_is_tested() -> None:
    text = next(b for b in blocks("", DOCS / "architecture.md") if "→ {tracking, detection} →" in b)
    stated = [re.findall(r"[\w.]+", part) for part in text.split("→")]
    assert [set(names) - {"predict.py"} for names in stated] == [
        set(rooms) - {"__init__"} for rooms in ROWS[:-1]
    ]


def test_the_files_that_a_change_goes_to_exist() -> None:
    page = (DOCS / "architecture.md").read_text()
    rows = re.findall(r"^\| (a .+?) \| (.+) \|$", page, re.MULTILINE)
    assert len(rows) == 11
    names = {name.partition("/")[2] or name for name in tree()} | {
        p.name for p in map(Path, tree())
    }
    for change, where in rows:
        for name in re.findall(r"`([\w/]+(?:\.py|/))`", where):
            assert name in names, (change, name)
