"""Turn objects' names into parts of file names that every file system accepts."""

import re
import unicodedata

MAX_NAME_BYTES = 100
"""Longest name in UTF-8; file systems accept 255 bytes for a whole file name."""

_UNSAFE = frozenset("/\\:*?\"<>|'`")
_INVISIBLE = frozenset("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Invisible letters that Python calls printable."""
_RESERVED = re.compile(r"(con|prn|aux|nul|con(in|out)\$|(com|lpt)[0-9¹²³])(\.|$)", re.IGNORECASE)
"""Names that Windows reserves for devices, with any extension."""


class FileNames:
    """Gives every object id a readable, unique name that is safe in a file name.

    A safe id, such as `dog brown` or `Hündchen`, stays unchanged. If a file system may confuse the
    names of several ids (`Dog` and `dog`), the first requested id gets the plain name and the next
    ones get `-2`, `-3`, ….

    Args:
        unsafe: Further characters to replace.
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
        """Return the name, with the first number that makes it unique if it is taken."""
        candidate, number = name, 1
        while _comparable(candidate) in self._taken:
            number += 1
            suffix = f"-{number}"
            candidate = _shortened(name, MAX_NAME_BYTES - len(suffix)) + suffix
        return candidate


def _safe(text: str, unsafe: frozenset[str]) -> str:
    """Replace characters that confuse file systems, shells or people; shorten a long name."""
    # Not printable for Python: control characters, line breaks, marks of text direction, halves of
    # surrogate pairs, and all white space except the space.
    kept = "".join(c if c.isprintable() and c not in unsafe else "_" for c in text)
    name = _shortened(kept.strip(" .") or "unnamed", MAX_NAME_BYTES - 1)
    return f"_{name}" if _RESERVED.match(name) else name


def _shortened(name: str, max_bytes: int) -> str:
    cut = name.encode()[:max_bytes].decode(errors="ignore")
    return cut.rstrip(" .")


def _comparable(name: str) -> str:
    """Return the form of a name that file systems may compare: without case, accents composed."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
