"""The text that names further data files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam_video.errors import RequestError
from sam_video.export_formats import parse_export_formats


def test_formats_may_have_an_option() -> None:
    text = "davis, coco_tracks = polygons,YOLO=parts ,prores,"
    expected = {"davis": "", "coco_tracks": "polygons", "yolo": "parts", "prores": ""}
    assert parse_export_formats(text) == expected
    assert parse_export_formats("") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("coco", "export_formats has 'coco'; expected any of davis, coco_tracks, yolo, mot, mots,"),
        ("mot=x", "export_formats has 'mot=x'; expected mot"),
        ("yolo=split", "export_formats has 'yolo=split'; expected yolo or yolo=parts"),
        ("yolo=", "export_formats has 'yolo='; expected yolo or yolo=parts"),
        ("mot, mot", "export_formats has mot twice; expected it once"),
    ],
)
def test_what_is_not_a_format_fails(text: str, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_export_formats(text)
    assert str(caught.value).startswith(message)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    try:
        parse_export_formats(text)
    except RequestError as error:
        assert str(error).isprintable()
