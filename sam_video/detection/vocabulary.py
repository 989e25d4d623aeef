"""The closed vocabulary of pocket's own words: nouns and colours, and phrases made of them."""

import reprlib

from sam_video.errors import PromptError

NOUNS = (
    "ball",
    "balloon",
    "bird",
    "boat",
    "butterfly",
    "car",
    "cup",
    "fish",
    "flower",
    "heart",
    "house",
    "kite",
    "mushroom",
    "person",
    "star",
    "sun",
    "tree",
    "umbrella",
)
COLOURS = (
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "purple",
    "pink",
    "brown",
    "black",
    "white",
    "gray",
)

_ARTICLES = {"a", "an", "the", "all", "every"}
_IRREGULAR = {"butterflies": "butterfly", "fishes": "fish", "people": "person"}
_NOUN_INDEX = {
    **{noun: index for index, noun in enumerate(NOUNS)},
    **{f"{noun}s": index for index, noun in enumerate(NOUNS)},
    **{plural: NOUNS.index(noun) for plural, noun in _IRREGULAR.items()},
}
_COLOUR_INDEX = {**{colour: index for index, colour in enumerate(COLOURS)}, "grey": 10}


def parse_concept(concept: str) -> tuple[int, int | None]:
    """Read a phrase like `red balls` or `the ball`.

    Returns:
        Index into `NOUNS`, and index into `COLOURS` where a colour is named.

    Raises:
        PromptError: The phrase is not a noun of the vocabulary with or without a colour.
    """
    words = concept.casefold().split()
    if words and words[0] in _ARTICLES:
        words = words[1:]
    match words:
        case [noun] if noun in _NOUN_INDEX:
            return _NOUN_INDEX[noun], None
        case [colour, noun] if colour in _COLOUR_INDEX and noun in _NOUN_INDEX:
            return _NOUN_INDEX[noun], _COLOUR_INDEX[colour]
        case _:
            raise PromptError(
                f"text_prompt names {reprlib.repr(concept)}; pocket knows {', '.join(NOUNS)}, each"
                f" with or without a colour ({', '.join(COLOURS)}); for other words choose"
                " text_model owlv2_base"
            )
