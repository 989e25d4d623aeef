"""Reduce a sentence such as "please segment the two dogs" to the concepts that it names.

Small, deterministic, and for English only. What is not recognised stays as it is.
"""

from collections.abc import Iterator

Words = list[str]


def _phrases(text: str) -> list[Words]:
    """Split a table of phrases at its commas, the longest phrases first."""
    return sorted((phrase.split() for phrase in text.split(",")), key=len, reverse=True)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_POLITE = _phrases(
    "please, kindly, can you, could you, would you, will you, can you please, could you please,"
    "i want to, i want you to, i need to, i need you to, i would like to, i would like you to,"
    "i'd like to, i'd like you to, let's, let us, help me, help me to, and, or, also, then, to"
)
_COMMANDS = _phrases(
    "segment, segment out, detect, identify, locate, extract, isolate, select, highlight, find,"
    "find me, show me, give me, get me, cut out, pick out, single out, mask out, look for,"
    "search for"
)
_NOUNS_TOO = _phrases("track, mask, mark, follow, outline, cut, label, show, get")
"""Commands that begin plain phrases too, such as "track shoes"."""
_DETERMINERS = _phrases(
    "the, a, an, this, that, every, each, any, my, your, our, their, his, her, its, every single,"
    "every instance of, each instance of, each of, a picture of, a photo of, an image of"
)
_ARTICLES = {phrase[0] for phrase in _DETERMINERS if len(phrase) == 1}
_PLURAL = _phrases(
    "all, all of, both, both of, several, some, some of, many, few, a few, a couple of, a pair of,"
    "pair of, pairs of, a lot of, lots of, these, those, a number of, one, two, three, four, five,"
    "six, seven, eight, nine, ten, eleven, twelve, a dozen, instances of, all instances of"
)
"""Words before a plural. In plain phrases they stay before others: "all terrain vehicle"."""
_ENDINGS = _phrases("please, for me, for us, too, as well, thanks, thank you")
_MEDIA = _words("video clip footage scene image picture photo frame frames recording")
_AROUND_MEDIA = _words(
    "in on from throughout across within the this that my all every each entire whole of video"
)
_INTO_MEDIA = _words("in on from throughout across within")

_ADJECTIVES = _words(
    "black white grey gray red green blue yellow orange purple violet pink brown beige gold golden "
    "silver turquoise cyan magenta navy dark light bright pale big small large little tiny huge "
    "tall short long wide narrow thin thick old young new round square flat striped spotted wooden "
    "metal plastic wet dry hot cold sweet sour hard soft male female left right"
)
"""Words that "and" joins to one concept, as in "black and white cat"."""
_OWNERS_OF_AND = _words("with without wearing holding carrying between of")
_AFTER_HEAD = _OWNERS_OF_AND | _words(
    "in on at near behind under over above below beside by from to next who that which inside "
    "outside along across riding"
)

_MOST_WORDS = 20
"""Of a concept that is looked at; a longer one is refused later."""

_SINGULARS = {
    "people": "person", "persons": "person", "men": "man", "women": "woman", "children": "child",
    "mice": "mouse", "geese": "goose", "feet": "foot", "teeth": "tooth", "knives": "knife",
    "leaves": "leaf", "wolves": "wolf", "shelves": "shelf", "loaves": "loaf", "calves": "calf",
    "scarves": "scarf", "buses": "bus", "shoes": "shoe", "toes": "toe", "canoes": "canoe",
    "lenses": "lens", "gases": "gas", "canvases": "canvas", "movies": "movie",
    "cookies": "cookie", "pies": "pie", "ties": "tie", "zombies": "zombie",
}  # fmt: skip
_SAME_IN_BOTH = _words("sheep fish deer moose bison salmon aircraft series species")
_WITHOUT_SINGULAR = _words(
    "scissors glasses sunglasses jeans pants trousers shorts clothes binoculars pliers headphones "
    "goggles stairs"
)
_SINGULAR_IN_S = _words("lens gas canvas atlas news pancreas christmas")
_ENDINGS_OF_PLURALS = (
    ("sses", "ss"), ("xes", "x"), ("ches", "ch"), ("shes", "sh"), ("zzes", "zz"), ("oes", "o"),
    ("ies", "y"), ("ss", "ss"), ("us", "us"), ("is", "is"), ("s", ""),
)  # fmt: skip


def enhanced(phrase: str) -> list[str]:
    """Return the concepts that a phrase names, at least one; a plain phrase is its own concept."""
    concepts = [phrase]
    while (reduced := [part for concept in concepts for part in _reduced(concept)]) != concepts:
        concepts = reduced
    return concepts


def _reduced(phrase: str) -> list[str]:
    words, is_command = _without_command(phrase.rstrip(" .!?:").split())
    parts = [_without_end(part) for part in _split_at_and(words)]
    named = [_without_determiners(part, is_command=is_command) for part in parts if part]
    if not named or [phrase] == [" ".join(part) for part in named]:
        return [phrase]
    return [" ".join(_in_singular(part)) for part in named]


def _starts(words: Words, phrases: list[Words]) -> int:
    """Return how many words the longest of the phrases has that the words start with."""
    lower = [word.strip(",:").lower().replace("\u2019", "'") for word in words[:4]]
    return next((len(phrase) for phrase in phrases if lower[: len(phrase)] == phrase), 0)


def _ends(words: Words, phrases: list[Words]) -> int:
    lower = [word.lower() for word in words]
    return next((len(phrase) for phrase in phrases if lower[-len(phrase) :] == phrase), 0)


def _without_command(words: Words) -> tuple[Words, bool]:
    """Drop polite words and a verb from the start; tell whether there were any."""
    is_command = False
    while count := _starts(words, _POLITE) or _command_length(words, is_command=is_command):
        words, is_command = words[count:], True
    return words, is_command


def _command_length(words: Words, *, is_command: bool) -> int:
    count = _starts(words, _COMMANDS)
    if not count and (noun := _starts(words, _NOUNS_TOO)):
        rest = words[noun:]
        is_verb = is_command or _starts(rest, _DETERMINERS) or _counts(rest)
        count = noun if is_verb else 0
    return count


def _counts(words: Words) -> int:
    """Return the length of the number or quantifier that the words start with."""
    is_number = bool(words) and words[0].isascii() and words[0].isdigit() and len(words[0]) < 4
    return int(is_number) or _starts(words, _PLURAL)


def _without_end(words: Words) -> Words:
    """Drop "in the video", "please" and their like from the end."""
    while words and (count := _ends(words, _ENDINGS) or _media_length(words)):
        words = words[:-count]
    return words


def _media_length(words: Words) -> int:
    """Return how many words at the end say no more than "in the video"."""
    if words[-1].lower() not in _MEDIA:
        return 0
    around = 0
    for position in range(len(words) - 2, -1, -1):
        if words[position].lower() not in _AROUND_MEDIA:
            break
        if words[position].lower() in _INTO_MEDIA:
            around = len(words) - position
    return around


def _split_at_and(words: Words) -> Iterator[Words]:
    """Split where "and" joins things, not where it joins words for one thing."""
    start = 0
    joins = [i for i, word in enumerate(words) if word.lower() in {"and", "&", "or"}]
    for position, end in zip(joins, [*joins[1:], len(words)], strict=False):
        left = words[start:position]
        if len(left) <= _MOST_WORDS and _are_two_things(left, words[position + 1 : end]):
            yield words[start:position]
            start = position + 1
    yield words[start:]


def _are_two_things(left: Words, right: Words) -> bool:
    before, after = [w.lower() for w in left], [w.lower() for w in right]
    bare = [word for word in before if word not in _ARTICLES]
    if not after or not bare or not _OWNERS_OF_AND.isdisjoint(before):
        return False
    if _ADJECTIVES.issuperset(bare):
        return False
    if _starts(after, _DETERMINERS) or _counts(after):
        return True
    if bare[-1] in _ADJECTIVES:
        return False
    return len(bare) > 1 or len(after) == 1 or after[0] in _ADJECTIVES


def _without_determiners(words: Words, *, is_command: bool) -> Words:
    """Drop determiners and numbers from the start, but never all words."""
    while words:
        count = _starts(words, _DETERMINERS)
        rest = words[_counts(words) :]
        if rest and (is_command or _starts(rest, _DETERMINERS) or _is_plural(rest)):
            count = max(count, len(words) - len(rest))
        if not 0 < count < len(words):
            break
        words = words[count:]
    return words


def _is_plural(words: Words) -> bool:
    noun = words[_head(words)].lower()
    return noun in _SAME_IN_BOTH | _WITHOUT_SINGULAR or _singular(noun) != noun


def _in_singular(words: Words) -> Words:
    head = _head(words)
    return [*words[:head], _singular(words[head]), *words[head + 1 :]]


def _head(words: Words) -> int:
    """Return the position of the noun: the last word before a preposition."""
    after = (i for i, word in enumerate(words) if i and word.lower() in _AFTER_HEAD)
    return next(after, len(words)) - 1


def _singular(noun: str) -> str:
    lower = noun.lower()
    if lower in _SINGULARS:
        return _SINGULARS[lower]
    if lower in _SAME_IN_BOTH | _WITHOUT_SINGULAR | _SINGULAR_IN_S or len(noun) < 4:
        return noun
    for plural, singular in _ENDINGS_OF_PLURALS:
        if lower.endswith(plural):
            return noun[: -len(plural)] + singular
    return noun
