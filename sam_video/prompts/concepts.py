"""Read the words of a request: the concepts that are to be found, and those that are not.

A detector's own `check` says which concepts it can look for; everything else is checked here.
"""

import json
import logging
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sam_video.errors import PromptError
from sam_video.limits import MAX_CONCEPTS
from sam_video.prompts.enhance import enhanced
from sam_video.prompts.json_list import parse_words
from sam_video.prompts.stated import quoted
from sam_video.request import Request

MAX_CONCEPT_LENGTH = 100
"""Most characters of a concept; detectors read 14 to 30 pieces of words."""
MAX_PHRASE_LENGTH = 1_000
"""Most characters between two commas, of which a concept is taken."""

_SEPARATOR = re.compile("[,;\n\uff0c\u060c\u3001\uff1b]")  # also those of Chinese and Arabic
_DECORATION = ' \t\r\f\v"“”„«»`[](){}'
_EXAMPLE = "words, such as 'person, red car'"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Concepts:
    """The words of a request, each once, as the user wrote them."""

    wanted: tuple[str, ...]
    """At least one."""
    unwanted: tuple[str, ...] = ()
    """What must not be found; none of `wanted`."""


def build_concepts(request: Request) -> Concepts | None:
    """Read all words of a request; None if there are none.

    Concepts of `text_prompt` come first, then those of entries of `prompts`.

    Raises:
        PromptError: A text names no concept, one that is too long, or too many of them; or the
            request names only what must not be found, or one concept as both.
    """
    enhances = request.enhance_prompt
    words = parse_words(request.prompts)
    _check_number("prompts", len(words))
    texts = [("text_prompt", request.text_prompt), *words]
    read = [parse_concepts(field, text, enhances=enhances) for field, text in texts]
    wanted = _distinct(concept for concepts in read for concept in concepts)
    negative = request.negative_prompt
    unwanted = parse_concepts("negative_prompt", negative, enhances=enhances)
    if not wanted and not unwanted:
        return None
    if not wanted:
        raise PromptError(
            f"negative_prompt is {quoted(negative)} without text_prompt;"
            f" expected text_prompt too, with {_EXAMPLE}"
        )
    _check_all(wanted, unwanted)
    return Concepts(wanted, unwanted)


def parse_concepts(field: str, text: str, *, enhances: bool) -> tuple[str, ...]:
    """Split a text at its commas into concepts, each of which comes once.

    Args:
        field: The input, for messages and the log.
        text: Any text, also a JSON list of texts; a blank one has no concepts.
        enhances: Reduce sentences to the concepts that they name.

    Raises:
        PromptError: The text names no concept, or one that is too long or cannot be printed.
    """
    if not text.strip():
        return ()
    phrases = _phrases(field, text)
    if not phrases:
        raise PromptError(f"{field} is {quoted(text)}; expected {_EXAMPLE}")
    concepts = [concept for p in phrases for concept in (enhanced(p) if enhances else [p])]
    for position, concept in enumerate(concepts):
        if len(concept) > MAX_CONCEPT_LENGTH:
            raise PromptError(
                f"{field}[{position}] is {quoted(concept)}, {len(concept)} characters; expected at"
                f" most {MAX_CONCEPT_LENGTH} for one thing, and commas between things"
            )
    distinct = _distinct(concepts)
    _check_number(field, len(distinct))
    if concepts != phrases:
        logger.info("%s is taken as %s", field, ", ".join(map(quoted, distinct)))
    return distinct


def _phrases(field: str, text: str) -> list[str]:
    """Return what stands between the commas, without quotes, brackets and needless spaces."""
    most = MAX_PHRASE_LENGTH * MAX_CONCEPTS.value
    if len(text) > most:
        raise PromptError(
            f"{field} is {quoted(text)} and {len(text)} characters long; expected at most {most},"
            f" for {MAX_CONCEPTS} concepts"
        )
    pieces = (piece.strip(_DECORATION) for piece in _SEPARATOR.split(_joined(text)))
    phrases = [" ".join(piece.split()) for piece in pieces if any(map(str.isalnum, piece))]
    for position, phrase in enumerate(phrases):
        if any(unicodedata.category(character) in {"Cc", "Cs"} for character in phrase):
            raise PromptError(f"{field}[{position}] is {quoted(phrase)}; expected {_EXAMPLE}")
        if len(phrase) > MAX_PHRASE_LENGTH:
            raise PromptError(
                f"{field}[{position}] is {quoted(phrase)}, {len(phrase)} characters; expected at"
                f" most {MAX_PHRASE_LENGTH}, and commas between things"
            )
    return phrases


def _joined(text: str) -> str:
    """Return a JSON list of texts with commas between them, and any other text as it is."""
    try:
        values = json.loads(text) if text.lstrip().startswith("[") else None
    except (ValueError, RecursionError):
        values = None
    is_list = isinstance(values, list) and all(isinstance(value, str) for value in values)
    return ",".join(values) if values and is_list else text


def _distinct(concepts: Iterator[str] | Sequence[str]) -> tuple[str, ...]:
    """Return each concept once, the first of those that differ only in their letters' case."""
    first: dict[str, str] = {}
    for concept in concepts:
        first.setdefault(concept.casefold(), concept)
    return tuple(first.values())


def _check_number(fields: str, num_concepts: int) -> None:
    if num_concepts > MAX_CONCEPTS.value:
        raise PromptError(
            f"{fields} names {num_concepts} concepts; expected at most {MAX_CONCEPTS}"
        )


def _check_all(wanted: Sequence[str], unwanted: Sequence[str]) -> None:
    together = "text_prompt, with prompts and negative_prompt,"
    _check_number(together, len(wanted) + len(unwanted))
    names = {concept.casefold() for concept in wanted}
    for concept in unwanted:
        if concept.casefold() in names:
            raise PromptError(
                f"negative_prompt names {quoted(concept)}, which text_prompt names too;"
                " expected it in one of them"
            )
