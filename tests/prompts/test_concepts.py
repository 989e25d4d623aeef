"""The words of a request are split, cleaned and bounded, and every mistake is told by its place."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from sam_video.errors import PromptError
from sam_video.limits import MAX_CONCEPTS
from sam_video.prompts.concepts import (
    MAX_CONCEPT_LENGTH,
    MAX_PHRASE_LENGTH,
    Concepts,
    build_concepts,
    parse_concepts,
)
from sam_video.request import Request


def parse(text: str, *, enhances: bool = True) -> tuple[str, ...]:
    return parse_concepts("text_prompt", text, enhances=enhances)


def build(**fields: Any) -> Concepts | None:
    return build_concepts(Request(input_video=Path("clip.mp4"), **fields))


@pytest.mark.parametrize(
    ("text", "concepts"),
    [
        pytest.param("", (), id="nothing"),
        pytest.param(" \n ", (), id="blank"),
        pytest.param("dog", ("dog",), id="one"),
        pytest.param("person, red car", ("person", "red car"), id="two"),
        pytest.param("  red \t car ,, person ,", ("red car", "person"), id="spaces and commas"),
        pytest.param("dog\ncat; bird", ("dog", "cat", "bird"), id="lines and semicolons"),
        pytest.param("狗\uff0c猫、鸟", ("狗", "猫", "鸟"), id="wide commas"),
        pytest.param("dog, Dog,DOG , cat", ("dog", "cat"), id="duplicates"),
        pytest.param('"dog", “cat”', ("dog", "cat"), id="quotes"),
        pytest.param('["person", "red car"]', ("person", "red car"), id="a JSON list"),
        pytest.param("[person, red car]", ("person", "red car"), id="brackets"),
        pytest.param("dog, !, cat", ("dog", "cat"), id="a sign between"),
        pytest.param("dog, cat, and the birds", ("dog", "cat", "bird"), id="a sentence"),
        pytest.param("men's shirt", ("men's shirt",), id="an apostrophe"),
    ],
)
def test_words_are_split_at_commas(text: str, concepts: tuple[str, ...]) -> None:
    assert parse(text) == concepts


def test_a_sentence_stays_as_it_is_where_that_is_asked_for() -> None:
    text = "please segment the two dogs"
    assert parse(text, enhances=False) == (text,)
    assert build(text_prompt=text, enhance_prompt=False) == Concepts((text,))


def test_the_log_says_what_is_taken_from_a_sentence(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        parse("red car")
        assert caplog.messages == []
        parse("please segment the man's shirt and the two dogs")
    assert caplog.messages == ["""text_prompt is taken as "man's shirt", 'dog'"""]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(" ,, ", "text_prompt is ' ,, '; expected words, such as", id="commas alone"),
        pytest.param("!?", "text_prompt is '!?'; expected words", id="no letter"),
        pytest.param("cat,do\0g", r"text_prompt[1] is 'do\x00g'; expected words", id="control"),
        pytest.param("\ud800a", r"text_prompt[0] is '\ud800a'; expected words", id="surrogate"),
        pytest.param(
            "cat, " + "x " * MAX_CONCEPT_LENGTH,
            f"text_prompt[1] is '{'x ' * 39}x…', 199 characters; expected at most 100 for one",
            id="a long concept",
        ),
        pytest.param(
            "x" * (MAX_PHRASE_LENGTH + 1),
            f"text_prompt[0] is '{'x' * 79}…', 1001 characters; expected at most 1000",
            id="a long phrase",
        ),
        pytest.param(
            "dog," * 20_000,
            f"text_prompt is '{'dog,' * 19}dog…' and 80000 characters long; expected at most 50000",
            id="a long text",
        ),
    ],
)
def test_words_that_cannot_be_used_fail(text: str, message: str) -> None:
    with pytest.raises(PromptError) as caught:
        parse(text)
    assert str(caught.value).startswith(message)


def test_a_long_sentence_with_short_concepts_is_read() -> None:
    wish = "please segment " + " and ".join(f"the car number {n}" for n in range(8))
    assert len(wish) > MAX_CONCEPT_LENGTH
    assert parse(wish) == tuple(f"car number {n}" for n in range(8))


def test_words_of_all_fields_come_together() -> None:
    prompts = json.dumps(
        [{"text": "red car, Person"}, {"x": 1, "y": 2}, {"prompt": "the two dogs"}]
    )
    found = build(text_prompt="person", negative_prompt="statue,shadow", prompts=prompts)
    assert found == Concepts(("person", "red car", "dog"), ("statue", "shadow"))
    assert build(click_coordinates="[1,2]") is None


def test_a_negative_prompt_alone_fails() -> None:
    message = "^negative_prompt is 'statue' without text_prompt; expected text_prompt too"
    with pytest.raises(PromptError, match=message):
        build(negative_prompt="statue", click_coordinates="[1,2]")


def test_a_concept_that_is_wanted_and_not_wanted_fails() -> None:
    message = "^negative_prompt names 'Dog', which text_prompt names too; expected it in one"
    with pytest.raises(PromptError, match=message):
        build(text_prompt="dog", negative_prompt="cat,Dog")


def test_too_many_concepts_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MAX_CONCEPTS.variable, "3")
    fields = {"text_prompt": "a1,a2", "negative_prompt": "a3"}
    assert build(**fields) is not None
    for more, number in (
        ({"prompts": '[{"text": "a4"}]'}, "with prompts and negative_prompt, names 4"),
        ({"prompts": json.dumps([{"text": "a1"}] * 4)}, "^prompts names 4"),
        ({"text_prompt": "a1,a2,a4,a5"}, "^text_prompt names 4"),
    ):
        message = rf"{number} concepts; expected at most 3 \(SAM_VIDEO_MAX_CONCEPTS\)$"
        with pytest.raises(PromptError, match=message):
            build(**fields | more)
