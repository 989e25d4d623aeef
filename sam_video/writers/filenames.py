"""Objects' names become parts of file names that every file system takes."""

import re
import unicodedata

MAX_NAME_BYTES = 100
"""Of the UTF-8 of a name; file systems take 255 for a whole file name."""

_UNSAFE = frozenset("/\\:*?\"<>|'`")
_INVISIBLE = frozenset("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters that show nothing, though Python calls them printable."""
_RESERVED = re.compile(r"(con|prn|aux|nul|con(in|out)\$|(com|lpt)[0-9¹²³])(\.|$)", re.IGNORECASE)
"""What Windows takes for a device, with any extension."""


class FileNames:
    """Gives every object id a name that is safe in a file name, readable, and not another's.

    A name that is safe already, such as `dog brown` or `Hündchen`, stays as it is. Of ids whose
    names would be one file to some file system (`Dog` and `dog`), the first that is asked for has
    the plain name and the next ones get `-2`, `-3`, ….

    Args:
        unsafe: More characters to replace, for what the names are used in.
    """

    def __init__(self, unsafe: str = "") -> None:
        self._unsafe = _UNSAFE | _INVISIBLE | set(unsafe)
        self._name_of: dict[str, str] = {}
        self._taken: set[str] = set()

    def of(self, object_id: str) -> str:
        """Return the name of an object, the same one every time."""
        if object_id not in self._name_of:
            name = self._free(_safe(object_id, self._unsafe))
            self._taken.add(_comparable(name))
            self._name_of[object_id] = name
        return self._name_of[object_id]

    def _free(self, name: str) -> str:
        """Append the first number that makes the name a new one."""
        candidate, number = name, 1
        while _comparable(candidate) in self._taken:
            number += 1
            suffix = f"-{number}"
            candidate = _shortened(name, MAX_NAME_BYTES - len(suffix)) + suffix
        return candidate


def _safe(text: str, unsafe: frozenset[str]) -> str:
    """Replace what file systems, shells or readers stumble over, and shorten what is too long."""
    # Control characters, line breaks, marks that turn the direction of text, halves of surrogate
    # pairs and all white space but the space are what Python does not call printable.
    kept = "".join(c if c.isprintable() and c not in unsafe else "_" for c in text)
    name = _shortened(kept.strip(" .") or "unnamed", MAX_NAME_BYTES - 1)
    return f"_{name}" if _RESERVED.match(name) else name


def _shortened(name: str, max_bytes: int) -> str:
    cut = name.encode()[:max_bytes].decode(errors="ignore")
    return cut.rstrip(" .")


def _comparable(name: str) -> str:
    """What a file system may compare in place of the name: without case, accents composed."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
