"""Names of objects in file names: safe, readable, and never two objects' one."""

import itertools

import pytest

from sam_video.writers.filenames import MAX_NAME_BYTES, FileNames


@pytest.mark.parametrize(
    "object_id",
    ["dog", "1", "0", "object_1", "dog brown", "Hündchen", "狗", "🐕", "v1.2", "a-b", "console"],
)
def test_a_plain_name_stays_as_it_is(object_id: str) -> None:
    assert FileNames().of(object_id) == object_id


@pytest.mark.parametrize(
    ("object_id", "expected"),
    [
        pytest.param("a/b", "a_b", id="slash"),
        pytest.param("a\\b", "a_b", id="backslash"),
        pytest.param("../../etc/passwd", "_.._etc_passwd", id="way up"),
        pytest.param("..", "unnamed", id="dots"),
        pytest.param("", "unnamed", id="empty"),
        pytest.param("  ", "unnamed", id="spaces"),
        pytest.param(".hidden", "hidden", id="leading dot"),
        pytest.param("dog. .", "dog", id="trailing dots"),
        pytest.param("a\0b", "a_b", id="NUL"),
        pytest.param("a\r\nb\tc", "a__b_c", id="line break and tab"),
        pytest.param("a\x7f\x85b", "a__b", id="control characters"),
        pytest.param("a\u2028b\u00a0c", "a_b_c", id="other white space"),
        pytest.param("\u202egnp.exe", "_gnp.exe", id="right-to-left override"),
        pytest.param("\u2066dog\u2069", "_dog_", id="isolates"),
        pytest.param("\ud83d", "_", id="half a surrogate pair"),
        pytest.param('say "dog"', "say _dog_", id="double quotes"),
        pytest.param("dog's", "dog_s", id="single quote"),
        pytest.param("C:*?<>|`", "C_______", id="what Windows forbids"),
        pytest.param("CON", "_CON", id="device"),
        pytest.param("nul.png", "_nul.png", id="device with an extension"),
        pytest.param("Lpt1", "_Lpt1", id="device with a number"),
        pytest.param("CONOUT$", "_CONOUT$", id="device of the console"),
        pytest.param("com¹.tar.gz", "_com¹.tar.gz", id="device with a raised number"),
        pytest.param("con .png", "con .png", id="no device"),
        pytest.param("\x1b[31mred", "_[31mred", id="escape sequence"),
        pytest.param("a\u200bb\ufeff", "a_b_", id="nothing wide"),
        pytest.param("\u3164", "_", id="a letter that shows nothing"),
        pytest.param("////", "____", id="slashes alone"),
        pytest.param("\0\0", "__", id="NUL alone"),
        pytest.param("/.", "_", id="slash and dot"),
    ],
)
def test_what_a_file_system_does_not_take_is_replaced(object_id: str, expected: str) -> None:
    assert FileNames().of(object_id) == expected


def test_more_characters_can_be_unsafe() -> None:
    names = FileNames(unsafe="#")
    assert [names.of(name) for name in ("a#1", "a_1", "a/1")] == ["a_1", "a_1-2", "a_1-3"]


@pytest.mark.parametrize("object_id", ["x" * 5000, "ü" * 5000, "🐕" * 5000, "x" * 98 + " .🐕"])
def test_a_long_name_is_cut_between_characters(object_id: str) -> None:
    names = FileNames()
    name = names.of(object_id)
    assert object_id.startswith(name)
    assert MAX_NAME_BYTES - 5 < len(name.encode()) <= MAX_NAME_BYTES
    other = names.of(object_id + "!")
    assert other.endswith("-2")
    assert len(other.encode()) <= MAX_NAME_BYTES


@pytest.mark.parametrize(
    ("object_ids", "expected"),
    [
        pytest.param(["a/b", "a:b", "a_b"], ["a_b", "a_b-2", "a_b-3"], id="replaced alike"),
        pytest.param(["Dog", "dog", "DOG"], ["Dog", "dog-2", "DOG-3"], id="case"),
        pytest.param(["dog", "dog-2", "Dog"], ["dog", "dog-2", "Dog-3"], id="number is taken"),
        pytest.param(["é", "e\u0301"], ["é", "e\u0301-2"], id="accent composed or not"),
        pytest.param(["STRASSE", "straße"], ["STRASSE", "straße-2"], id="sharp s"),
        pytest.param(["", " ", "unnamed"], ["unnamed", "unnamed-2", "unnamed-3"], id="empty"),
        pytest.param(["1", "01"], ["1", "01"], id="numbers"),
        pytest.param(["//", "\0\0", "::"], ["__", "__-2", "__-3"], id="replaced alone"),
        pytest.param(["nul", "_NUL"], ["_nul", "_NUL-2"], id="device"),
        pytest.param(["dog.", "dog", "dog "], ["dog", "dog-2", "dog-3"], id="trailing dot"),
        pytest.param(["Ω", "\u2126"], ["Ω", "\u2126-2"], id="one letter, encoded twice"),
    ],
)
def test_two_objects_never_share_a_name(object_ids: list[str], expected: list[str]) -> None:
    names = FileNames()
    assert [names.of(object_id) for object_id in object_ids] == expected


def test_an_object_keeps_its_name() -> None:
    names = FileNames()
    assert [names.of(object_id) for object_id in ("a/b", "a_b", "a/b", "a_b")] == [
        "a_b",
        "a_b-2",
        "a_b",
        "a_b-2",
    ]


def test_hostile_names_stay_apart_safe_and_short() -> None:
    alphabet = ["/", ".", " ", "\n", "a", "A", "ß", "\u202e", "\ud83d", "con", "x" * 99]
    names = FileNames()
    given = [names.of("".join(parts)) for parts in itertools.product(alphabet, repeat=3)]
    assert len({name.casefold() for name in given}) == len(given)
    for name in given:
        assert 0 < len(name.encode()) <= MAX_NAME_BYTES
        assert name.isprintable()
        assert not set(name) & set("/\\\"'")
        assert name == name.strip(" .")
        assert name.casefold() != "con"
