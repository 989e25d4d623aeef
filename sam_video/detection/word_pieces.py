"""Concepts in the word pieces that a network's tokenizer makes of them."""

from collections.abc import Callable, Sequence

from sam_video.errors import PromptError

MAX_CHARACTERS = 1000
"""Of a concept: a longer one is too long for every network, and is not tokenized at all."""


def check_lengths(
    concepts: Sequence[str], count: Callable[[str], int], limit: int, engine: str
) -> None:
    """Accept concepts of which something is left for the network, and not too much.

    Args:
        concepts: The texts.
        count: Returns the number of word pieces of a text.
        limit: How many the network can read.
        engine: The name in messages.

    Raises:
        PromptError: A concept has no word piece, or too many.
    """
    expected = f"expected 1 to {limit} word pieces a concept with {engine}"
    for concept in concepts:
        if len(concept) > MAX_CHARACTERS:
            number, unit = len(concept), "characters"
        else:
            number, unit = count(concept), "word pieces"
        if unit == "characters" or not 1 <= number <= limit:
            shown = repr(concept if len(concept) <= 60 else f"{concept[:60]}…")
            raise PromptError(f"text_prompt has {shown} of {number} {unit}; {expected}")
