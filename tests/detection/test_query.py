"""What a request looks for by words."""

from typing import Any

import pytest

from sam_video.detection.query import TextQuery
from sam_video.errors import PromptError, RequestError
from tests.detection.scripted import ScriptedDetector


def query(**fields: Any) -> TextQuery:
    """Return a query with a detector that finds nothing."""
    fields = {"concepts": ("person", "red car")} | fields
    return TextQuery(ScriptedDetector(lambda _: (), known=("person", "red car", "dog")), **fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"concepts": ()}, r"concepts is empty; expected at least one"),
        ({"concepts": ("dog", "dog")}, r"names 'dog' twice; expected each once"),
        ({"negative_concepts": ("person",)}, r"names 'person' twice; expected each once"),
        ({"threshold": 1.5}, r"threshold is 1.5; expected 0 to 1"),
        ({"threshold": float("nan")}, r"threshold is nan; expected 0 to 1"),
        ({"interval": -1}, r"interval is -1; expected a whole number from 0 up"),
        ({"interval": 2.5}, r"interval is 2.5; expected a whole number from 0 up"),
        ({"max_objects": -3}, r"max_objects is -3; expected a whole number from 0 up"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_field_that_is_not_accepted_fails(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        query(**fields)


def test_a_word_that_the_detector_does_not_know_fails() -> None:
    with pytest.raises(PromptError, match="'giraffe'"):
        query(negative_concepts=("giraffe",))


def test_a_threshold_of_0_is_the_detectors_own() -> None:
    assert query().keep_threshold == 0.5
    assert query(threshold=0.2).keep_threshold == 0.2


@pytest.mark.parametrize(
    ("name", "concept"),
    [
        ("person_1", "person"),
        ("red car_12", "red car"),
        ("person", None),
        ("person_0", None),
        ("person_01", None),
        ("person_²", None),
        ("person_", None),
        ("cat_1", None),
        ("dog_1", None),
    ],
)
def test_the_names_of_instances_end_in_a_number(name: str, concept: str | None) -> None:
    assert query(negative_concepts=("dog",)).concept_of(name) == concept
