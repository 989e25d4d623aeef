"""Sentences become the concepts that they name, and plain phrases stay as they are."""

import pytest

from sam_video.prompts.enhance import enhanced


@pytest.mark.parametrize(
    ("phrase", "concepts"),
    [
        ("please segment the man's shirt and the two dogs", ["man's shirt", "dog"]),
        ("Can you please find me all of the buses?", ["bus"]),
        ("I'd like to track the people and their dogs please", ["person", "dog"]),
        ("find every red car in this video clip", ["red car"]),
        ("show me the horses", ["horse"]),
        ("Track the red car.", ["red car"]),
        ("please segment the dog in the video and the cat", ["dog", "cat"]),
        ("segment all instances of person", ["person"]),
        ("the product", ["product"]),
        ("a photo of a cat", ["cat"]),
        ("both children", ["child"]),
        ("two pairs of scissors", ["scissors"]),
        ("three boxes of apples", ["box of apples"]),
        ("two dogs on the grass", ["dog on the grass"]),
        ("the two black and white cats", ["black and white cat"]),
        ("dog and cat", ["dog", "cat"]),
        ("red car and blue truck", ["red car", "blue truck"]),
        ("person & a red car or a truck", ["person", "red car", "truck"]),
        ("and bird", ["bird"]),
    ],
)
def test_a_sentence_becomes_what_it_names(phrase: str, concepts: list[str]) -> None:
    assert enhanced(phrase) == concepts


@pytest.mark.parametrize(
    "phrase",
    [
        "person", "red car", "dogs", "the", "please", "Black Cat", "player in white",
        "black and white cat", "big and small dogs", "salt and pepper shaker",
        "man with a hat and a scarf", "track shoes", "mask on the wall", "all terrain vehicle",
        "100 dollar bill", "number one fan", "video game", "der Hund und die Katze", "狗",
    ],
)  # fmt: skip
def test_a_plain_phrase_stays_as_it_is(phrase: str) -> None:
    assert enhanced(phrase) == [phrase]


@pytest.mark.parametrize(
    ("plural", "singular"),
    [
        ("buses", "bus"), ("glass", "glass"), ("boxes", "box"), ("potatoes", "potato"),
        ("shoes", "shoe"), ("cherries", "cherry"), ("houses", "house"), ("women", "woman"),
        ("knives", "knife"), ("sheep", "sheep"), ("jeans", "jeans"), ("lens", "lens"),
        ("witches", "witch"), ("wishes", "wish"), ("Dogs", "Dog"), ("iris", "iris"),
    ],
)  # fmt: skip
def test_what_a_sentence_counts_becomes_a_singular(plural: str, singular: str) -> None:
    assert enhanced(f"segment the {plural}") == [singular]
