"""Pocket's closed vocabulary: which phrases it knows, and what it says of others."""

import pytest

from sam_video.detection.vocabulary import COLOURS, NOUNS, parse_concept
from sam_video.errors import PromptError


@pytest.mark.parametrize(
    ("concept", "noun", "colour"),
    [
        pytest.param("ball", "ball", None, id="noun"),
        pytest.param("red ball", "ball", "red", id="colour and noun"),
        pytest.param("balls", "ball", None, id="plural"),
        pytest.param("butterflies", "butterfly", None, id="plural in ies"),
        pytest.param("people", "person", None, id="irregular plural"),
        pytest.param("fish", "fish", None, id="plural like the singular"),
        pytest.param("the red ball", "ball", "red", id="definite article"),
        pytest.param("an orange balloon", "balloon", "orange", id="indefinite article"),
        pytest.param("all blue cars", "car", "blue", id="all"),
        pytest.param("  Red   BALL ", "ball", "red", id="capitals and spaces"),
        pytest.param("grey house", "house", "gray", id="British spelling"),
    ],
)
def test_phrase_is_noun_with_or_without_colour(concept: str, noun: str, colour: str | None) -> None:
    expected = NOUNS.index(noun), None if colour is None else COLOURS.index(colour)
    assert parse_concept(concept) == expected


@pytest.mark.parametrize("colour", COLOURS)
def test_every_noun_is_known_in_every_colour(colour: str) -> None:
    for index, noun in enumerate(NOUNS):
        assert parse_concept(f"{colour} {noun}s") == (index, COLOURS.index(colour))


@pytest.mark.parametrize(
    "concept",
    [
        pytest.param("giraffe", id="unknown noun"),
        pytest.param("red", id="colour alone"),
        pytest.param("crimson ball", id="unknown colour"),
        pytest.param("ball red", id="colour behind"),
        pytest.param("red and blue ball", id="two colours"),
        pytest.param("red ball on the left", id="place"),
        pytest.param("the", id="article alone"),
        pytest.param("", id="nothing"),
        pytest.param("a\nball\x1b[31m" * 1000, id="long and unprintable"),
    ],
)
def test_other_phrase_fails_in_one_line_with_all_that_is_known(concept: str) -> None:
    with pytest.raises(PromptError) as raised:
        parse_concept(concept)
    message = str(raised.value)
    assert message.isprintable()
    assert len(message) < 500
    assert message.startswith("text_prompt names '")
    assert f"pocket knows {', '.join(NOUNS)}, each with or without a colour" in message
    assert message.endswith("for other words choose text_model owlv2_base")
