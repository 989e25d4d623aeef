"""The API's schema, made from predict.py's text the way Cog's own parser makes it.

`cog build` writes this schema into the image as `.cog/openapi_schema.json`, where the server finds
it and checks every request by it. Follows pkg/schema/openapi.go of Cog 0.23.
"""

import ast
import json
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

PREDICT = Path(__file__).parents[1] / "predict.py"

_TYPES: dict[str, dict[str, Any]] = {
    "Path": {"type": "string", "format": "uri"},
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
}
_PARSING = Lock()
"""Python 3.11 may fail where several threads parse at a time (python/cpython#106905)."""
_RANGE_KEYS = {"ge": "minimum", "le": "maximum"}


@dataclass(frozen=True, slots=True)
class InputField:
    """One parameter of `predict` as it is written."""

    name: str
    annotation: str
    call: ast.Call
    """Of `Input`."""

    @property
    def options(self) -> dict[str, Any]:
        """The keywords of the call, and their values."""
        return {str(word.arg): ast.literal_eval(word.value) for word in self.call.keywords}


def predict_method(source: str) -> ast.FunctionDef:
    """Find `Predictor.predict` in the text of predict.py."""
    (method,) = (
        item
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == "Predictor"
        for item in node.body
        if isinstance(item, ast.FunctionDef) and item.name == "predict"
    )
    return method


def read_inputs(source: str) -> list[InputField]:
    """Read the parameters of `Predictor.predict` in their order, `self` left out."""
    arguments = predict_method(source).args
    fields = []
    for argument, call in zip(arguments.args[1:], arguments.defaults, strict=True):
        assert argument.annotation is not None
        assert isinstance(call, ast.Call), argument.arg
        fields.append(InputField(argument.arg, ast.unparse(argument.annotation), call))
    return fields


def openapi_schema(source: str) -> dict[str, Any]:
    """Build the part of the schema that describes inputs, output and the request."""
    inputs = read_inputs(source)
    properties = {field.name: _property(field, order) for order, field in enumerate(inputs)}
    schemas: dict[str, Any] = {
        "Input": {
            "title": "Input",
            "type": "object",
            "properties": properties,
            "required": [field.name for field in inputs if "default" not in field.options],
        },
        "Output": {
            "title": "Output",
            "type": "array",
            "items": _TYPES["Path"],
            "x-cog-array-type": "iterator",
        },
        "PredictionRequest": {
            "title": "PredictionRequest",
            "type": "object",
            "properties": {"input": {"$ref": "#/components/schemas/Input"}},
        },
    }
    schemas |= {field.name: _enumeration(field) for field in inputs if "choices" in field.options}
    return {
        "openapi": "3.0.2",
        "info": {"title": "Cog", "version": "0.1.0"},
        "paths": {},
        "components": {"schemas": schemas},
    }


def write_schema(project: Path) -> None:
    """Put the schema of a project's predict.py where Cog's server looks for it."""
    with _PARSING:
        schema = openapi_schema((project / "predict.py").read_text())
    path = project / ".cog" / "openapi_schema.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(schema))


def _property(field: InputField, order: int) -> dict[str, Any]:
    options = field.options
    described: dict[str, Any] = {"description": options["description"], "x-order": order}
    if "default" in options:  # which may be null
        described["default"] = options["default"]
    if "accept" in options:
        described["x-cog-accept"] = options["accept"]
    if "choices" in options:
        return described | {"allOf": [{"$ref": f"#/components/schemas/{field.name}"}]}
    described |= {key: options[name] for name, key in _RANGE_KEYS.items() if name in options}
    return described | {"title": field.name.replace("_", " ").title()} | _TYPES[field.annotation]


def _enumeration(field: InputField) -> dict[str, Any]:
    return {
        "title": field.name,
        "description": "An enumeration.",
        "enum": field.options["choices"],
        **_TYPES[field.annotation],
    }
