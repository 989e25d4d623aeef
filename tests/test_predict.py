"""predict.py: Cog can read it, it equals the package's own inputs, and it runs without a server."""

import ast
from collections.abc import Generator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import cast

import coglet
import pytest
from cog._adt import OutputKind, PrimitiveType
from cog._inspector import create_predictor
from jsonschema import validate
from PIL import Image

from predict import Predictor
from sam_video import request
from sam_video.errors import PromptError, RequestError, SamVideoError
from sam_video.request import Request
from tests.clips import draw_clip
from tests.openapi import PREDICT, openapi_schema, predict_method, read_inputs
from tests.predictor import predict, predictor, start

SOURCE = PREDICT.read_text()
ANNOTATIONS = {"Path": Path, "str": str, "int": int, "float": float, "bool": bool}
PRIMITIVES = {
    Path: PrimitiveType.PATH,
    str: PrimitiveType.STRING,
    int: PrimitiveType.INTEGER,
    float: PrimitiveType.FLOAT,
    bool: PrimitiveType.BOOL,
}
ON_DISC = "[11,19]"
"""A click on the disc of the first frame of a drawn clip."""


def broken_rules(source: str) -> list[str]:
    """Name what Cog's parser would refuse or, worse, silently leave out of the schema."""
    tree = ast.parse(source)
    broken = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "cog":
            broken += ["an alias" for alias in node.names if alias.asname]
        if isinstance(node, ast.Import) and any(item.name == "cog" for item in node.names):
            broken.append("cog as a module")
    method = predict_method(source)
    if method.returns is None or ast.unparse(method.returns) != "Iterator[Path]":
        broken.append("the return type")
    arguments = method.args
    if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.posonlyargs:
        broken.append("a parameter that is not plain")
    for argument, default in zip(arguments.args[1:], arguments.defaults, strict=True):
        annotation = argument.annotation and ast.unparse(argument.annotation)
        if annotation not in ANNOTATIONS:
            broken.append(f"{argument.arg}: its type")
        broken += [f"{argument.arg}: {rule}" for rule in _broken_by_input(source, default)]
    return broken


def _broken_by_input(source: str, call: ast.expr) -> list[str]:
    if not isinstance(call, ast.Call) or ast.unparse(call.func) != "Input":
        return ["no call of Input"]
    if call.args:
        return ["a positional argument"]
    broken = [
        f"{word.arg} is not plain"
        for word in call.keywords
        if not _is_plain(source, word.value) or not _stands_alone(source, word)
    ]
    return broken + ["no description"] * ("description" not in {word.arg for word in call.keywords})


def _is_plain(source: str, value: ast.expr) -> bool:
    """Say whether the text of a value is one literal that needs no evaluation."""
    text = str(ast.get_source_segment(source, value))
    if isinstance(value, ast.List):
        return all(_is_plain(source, item) for item in value.elts)
    if text == "-1":  # which Cog's parser takes as a number, too
        return True
    if not isinstance(value, ast.Constant):
        return False
    if isinstance(value.value, str):
        return text in (f'"{value.value}"', f"'{value.value}'")
    return text == repr(value.value) and value.value is not None


def _stands_alone(source: str, word: ast.keyword) -> bool:
    """Say whether nothing, such as a parenthesis, is between a keyword and its value."""
    value = ast.get_source_segment(source, word.value)
    return ast.get_source_segment(source, word) == f"{word.arg}={value}"


def test_cog_can_read_every_input() -> None:
    assert broken_rules(SOURCE) == []


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        ('x: str = Input(default=NAME, description="d")', "default is not plain"),
        ('x: str = Input(default="a" "b", description="d")', "default is not plain"),
        ('x: str = Input(default=("a"), description="d")', "default is not plain"),
        ('x: str = Input(default="", description=f"d")', "description is not plain"),
        ('x: str = Input(default="", description="d\\n")', "description is not plain"),
        (
            'x: str = Input(default="", description="""a\nb""")',
            "description is not plain",
        ),
        ('x: int = Input(default=2 * 5, description="d")', "default is not plain"),
        ('x: int = Input(default=1, le=LIMIT, description="d")', "le is not plain"),
        ('x: str = Input(choices=("a", "b"), description="d")', "choices is not plain"),
        ('x: str = Input(choices=["a", B], description="d")', "choices is not plain"),
        ('x: str = Input(default=None, description="d")', "default is not plain"),
        ('x: str = Input("a", description="d")', "a positional argument"),
        ('x: str = cog.Input(description="d")', "no call of Input"),
        ('x: "str" = Input(default="")', "its type"),
        ('x: str = Input(default="")', "no description"),
        ('x: str = "a"', "no call of Input"),
    ],
)
def test_what_cog_cannot_read_is_found(written: str, rule: str) -> None:
    lines = ["class Predictor:", "    def predict(self,", written, "    ) -> Iterator[Path]: ..."]
    assert f"x: {rule}" in broken_rules("\n".join(lines))


def test_cog_is_imported_by_its_three_names() -> None:
    imports = [node for node in ast.parse(SOURCE).body if isinstance(node, ast.ImportFrom)]
    names = [alias.name for node in imports if node.module == "cog" for alias in node.names]
    assert names == ["BasePredictor", "Input", "Path"]


def test_predict_py_is_thin() -> None:
    tree = ast.parse(SOURCE)
    assert len(SOURCE.splitlines()) < 150
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.While | ast.AsyncFor)]
    roots = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert {root.partition(".")[0] for root in roots} <= {
        "collections", "cog", "logging", "sam_video", "tempfile", "traceback"
    }  # fmt: skip


def test_the_inputs_are_those_of_a_request() -> None:
    inputs = read_inputs(SOURCE)
    assert [(field.name, ANNOTATIONS[field.annotation]) for field in inputs] == [
        (field.name, Path if field.type == Path | None else field.type) for field in fields(Request)
    ]
    # The schema's default of a file that is not given is a text, which a client may send back.
    assert {field.name: field.options.get("default", MISSING) for field in inputs} == {
        field.name: "" if field.default is None else field.default for field in fields(Request)
    }


def test_choices_and_ranges_are_those_of_a_request() -> None:
    options = {field.name: field.options for field in read_inputs(SOURCE)}
    choices = {name: found["choices"] for name, found in options.items() if "choices" in found}
    ranges = {
        name: (found["ge"], found.get("le"))
        for name, found in options.items()
        if "ge" in found or "le" in found
    }
    assert choices == {name: list(accepted) for name, accepted in request._CHOICES.items()}
    assert ranges == request._RANGES


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
def test_cog_sees_at_run_time_what_it_reads_in_the_text() -> None:
    info = create_predictor("predict", "Predictor")
    assert (info.output.kind, info.output.type) == (OutputKind.ITERATOR, PrimitiveType.PATH)
    assert list(info.inputs) == [field.name for field in fields(Request)]
    for field in read_inputs(SOURCE):
        seen = info.inputs[field.name]
        assert seen.type.primitive is PRIMITIVES[ANNOTATIONS[field.annotation]]
        assert seen.description == field.options["description"]
        for name in ("choices", "ge", "le"):
            assert getattr(seen, name) == field.options.get(name), (field.name, name)
        default = field.options.get("default")  # of which Cog makes a path, where it is for a file
        assert seen.default == (Path() if field.name == "mask_prompts" else default), field.name


def test_the_schema_lists_the_inputs_in_their_order() -> None:
    schemas = openapi_schema(SOURCE)["components"]["schemas"]
    properties = schemas["Input"]["properties"]
    assert schemas["Input"]["required"] == ["input_video"]
    assert [item["x-order"] for item in properties.values()] == list(range(len(fields(Request))))
    assert properties["video_fps"]["maximum"] == 240
    assert properties["input_video"]["x-cog-accept"] == "video/*,image/*"
    assert properties["mask_type"]["allOf"] == [{"$ref": "#/components/schemas/mask_type"}]
    assert schemas["mask_type"]["enum"] == list(request.MASK_TYPES)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    draw_clip(path, num_frames=3)
    return path


def test_every_frame_becomes_an_image_of_its_size(clip: Path) -> None:
    paths = predict(input_video=clip, click_coordinates=ON_DISC, output_format="png")
    assert [path.name for path in paths] == [f"frame_{index:05d}.png" for index in range(3)]
    assert {Image.open(path).size for path in paths} == {(96, 64)}


def test_a_path_may_come_as_text(clip: Path) -> None:
    assert len(predict(input_video=str(clip), click_coordinates=ON_DISC)) == 3


def test_every_default_is_one_that_the_schema_accepts() -> None:
    schema = openapi_schema(SOURCE)
    defaults = {
        name: item["default"]
        for name, item in schema["components"]["schemas"]["Input"]["properties"].items()
        if "default" in item
    }
    validate(defaults | {"input_video": "a"}, {**schema, "$ref": "#/components/schemas/Input"})
    assert len(defaults) == len(fields(Request)) - 1


@pytest.mark.parametrize("text", ["", "missing.mp4", "file:///missing.mp4", "/"])
def test_a_text_that_is_no_video_fails(text: str) -> None:
    message = r"^input_video (\(.*\) cannot be read|is a folder|is 'file://|names no file)"
    with pytest.raises(SamVideoError, match=message):
        predict(input_video=text, click_coordinates=ON_DISC)


@pytest.mark.parametrize("nothing", ["", Path(), None], ids=repr)
def test_a_default_for_a_zip_of_masks_is_none(clip: Path, nothing: Path | str | None) -> None:
    (path,) = predict(input_video=clip, mask_prompts=nothing, preview=True)
    assert path.name == "preview_00000.png"


def test_files_stay_until_the_next_prediction_starts(clip: Path) -> None:
    first = predict(input_video=clip, click_coordinates=ON_DISC)
    assert all(path.exists() for path in first)
    second = predict(input_video=clip, click_coordinates=ON_DISC)
    assert not any(path.parent.exists() for path in first)
    assert all(path.exists() for path in second)


def test_an_abandoned_prediction_leaves_no_file(clip: Path) -> None:
    files = cast(Generator[Path], start(input_video=clip, click_coordinates=ON_DISC))
    path = next(files)
    assert path.exists()
    files.close()
    assert not path.parent.exists()


def test_a_cancelled_prediction_leaves_no_file(clip: Path) -> None:
    files = cast(Generator[Path], start(input_video=clip, click_coordinates=ON_DISC))
    path = next(files)
    with pytest.raises(coglet.CancelationException):
        files.throw(coglet.CancelationException())
    assert not path.parent.exists()


def test_a_mistake_of_the_users_prints_no_traceback(
    clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(PromptError, match="expected a point inside the 96x64 picture"):
        predict(input_video=clip, click_coordinates="[96,10]")
    assert "Traceback" not in capsys.readouterr().err


def test_an_unexpected_error_prints_its_traceback(
    clip: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor(), "session", None)
    with pytest.raises(AttributeError, match="predict"):
        predict(input_video=clip, click_coordinates=ON_DISC)
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_the_metrics_are_recorded_after_the_last_file(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded: dict[str, float] = {}
    monkeypatch.setattr(predictor(), "record_metric", recorded.__setitem__)
    predict(input_video=clip, click_coordinates=ON_DISC)
    assert (recorded["frames"], recorded["objects"]) == (3, 1)
    assert all(value > 0 for name, value in recorded.items() if "gpu" not in name)


def test_a_limit_that_is_no_number_fails_at_setup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM_VIDEO_MAX_FRAMES", "many")
    with pytest.raises(RequestError, match="SAM_VIDEO_MAX_FRAMES is 'many'"):
        Predictor().setup()


def test_setup_logs_how_long_its_steps_take(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SAM_VIDEO_MODEL", "pocket")
    with caplog.at_level("INFO"):
        Predictor().setup()
    steps = [message.partition(" took ")[0] for message in caplog.messages if " took " in message]
    assert steps == [
        "importing PyTorch",
        "building the network of pocket",
        "opening pocket.safetensors",
        "preparing the model",
    ]
