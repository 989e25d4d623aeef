"""Drawn prompts: where they are, what colour they have, and that any text and size is survived."""

import numpy as np
import numpy.typing as npt
import pytest

from sam_video.types import Box, Click, RGBImage
from sam_video.writers.prompt_marks import (
    NEGATIVE,
    POSITIVE,
    disc_radius,
    draw_box,
    draw_clicks,
    draw_grid,
    draw_label,
)

BLUE = (20, 40, 220)
GRAY = 120


def canvas(width: int = 320, height: int = 240) -> RGBImage:
    return np.full((height, width, 3), GRAY, np.uint8)


def changed(image: RGBImage) -> npt.NDArray[np.bool_]:
    marked: npt.NDArray[np.bool_] = (image != GRAY).any(axis=2)
    return marked


def bounds(mask: npt.NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return the half-open box `x0, y0, x1, y1` of what is True."""
    rows, columns = np.nonzero(mask)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@pytest.mark.parametrize(("label", "colour"), [(1, POSITIVE), (0, NEGATIVE)])
def test_a_click_is_a_disc_around_its_pixel(label: int, colour: tuple[int, int, int]) -> None:
    image = canvas(1280, 960)
    draw_clicks(image, [Click(300, 200, label)])
    radius = disc_radius(image)
    rows, columns = np.mgrid[:960, :1280]
    distance = np.hypot(columns - 300, rows - 200)
    assert changed(image)[distance < radius - 1].all()
    assert not changed(image)[distance > radius + 2].any()
    assert (image == colour).all(axis=2).sum() > radius**2 / 2
    assert (image[200, 300] > 240).all()  # the sign
    assert (image[200 - radius + 1, 300] > 240).all()  # the rim


def test_a_plus_has_an_upright_and_a_minus_has_none() -> None:
    image = canvas()
    draw_clicks(image, [Click(100, 60, 1), Click(200, 60, 0)])
    assert (image[62, 100] > 200).all()
    assert (image[62, 200] == NEGATIVE).all()
    assert (image[60, 102] > 200).all() and (image[60, 202] > 200).all()


def test_marks_grow_with_the_picture() -> None:
    assert disc_radius(canvas(64, 48)) == 5
    assert disc_radius(canvas(1920, 1080)) == 18
    assert disc_radius(canvas(3840, 2160)) == 36


@pytest.mark.parametrize("place", [(0, 0), (319, 239), (0.5, 239.9), (319.99, 0)])
def test_a_click_at_the_edge_is_drawn_as_far_as_it_is_inside(place: tuple[float, float]) -> None:
    image = canvas()
    draw_clicks(image, [Click(*place)])
    assert changed(image)[min(239, int(place[1])), min(319, int(place[0]))]


def test_a_box_is_outlined_along_the_inside_of_its_edges() -> None:
    image = canvas()
    draw_box(image, Box(40, 30, 140, 90), BLUE)
    assert bounds(changed(image)) == (40, 30, 140, 90)
    assert (image[30, 40:140] == BLUE).all() and (image[30:90, 139] == BLUE).all()
    assert not changed(image)[40:80, 50:130].any()


@pytest.mark.parametrize(
    "box",
    [
        Box(0, 0, 320, 240),
        Box(319, 239, 320, 240),
        Box(10, 10, 10.2, 10.3),
        Box(0, 0, 0.4, 0.4),
        Box(5, 5, 7, 200),
        Box(319.7, 100, 319.9, 101),
    ],
    ids=str,
)
def test_a_box_of_any_size_is_seen_and_stays_within_itself(box: Box) -> None:
    image = canvas()
    draw_box(image, box, BLUE)
    x0, y0, x1, y1 = bounds((image == BLUE).all(axis=2))
    assert abs(x0 - box.x0) <= 1 and abs(y0 - box.y0) <= 1
    assert abs(x1 - box.x1) <= 1 and abs(y1 - box.y1) <= 1
    assert bounds(changed(image)) == (x0, y0, x1, y1)


@pytest.mark.parametrize("place", [(100, 100), (0, 0), (319, 0), (0, 239), (319, 239)])
def test_a_label_is_within_the_picture_and_near_its_place(place: tuple[float, float]) -> None:
    image = canvas()
    draw_label(image, "dog", BLUE, *place)
    x0, y0, x1, y1 = bounds(changed(image))
    assert (image[y0:y1, x0:x1] == BLUE).all(axis=2).mean() > 0.5
    assert abs(x0 - place[0]) < 60 and abs(y1 - place[1]) < 30


@pytest.mark.parametrize(
    ("colour", "ink"), [((200, 200, 80), 0), ((90, 90, 160), 255)], ids=["bright", "dark"]
)
def test_a_name_is_black_on_bright_colours_and_white_on_dark_ones(
    colour: tuple[int, int, int], ink: int
) -> None:
    image = canvas(1920, 1080)
    draw_label(image, "HHHH", colour, 100, 100)
    assert (image == ink).all(axis=2).sum() > 50


def drawn(name: str, width: int = 320) -> RGBImage:
    image = canvas(width)
    draw_label(image, name, BLUE, 0, 100)
    return image


def test_different_names_are_drawn_differently() -> None:
    assert not np.array_equal(drawn("dog"), drawn("cat"))


@pytest.mark.parametrize(
    "name", ["\n", "\t", "\x00", "\u202e", "\ud83d", "\u2028", "\x1b"], ids=ascii
)
def test_what_cannot_be_printed_is_a_question_mark(name: str) -> None:
    assert np.array_equal(drawn(f"a{name}b"), drawn("a?b"))


@pytest.mark.parametrize("name", ["", " ", "狗 🐕", "e\u0301" * 50, "ß", "عربي"], ids=ascii)
def test_any_text_is_drawn(name: str) -> None:
    assert changed(drawn(name)).any()


def test_a_long_name_is_cut_to_the_width_of_the_picture() -> None:
    long = "a name that goes on " * 10_000
    assert bounds(changed(drawn(long, width=100)))[2] <= 100
    assert changed(drawn(long, width=100)).any()
    assert bounds(changed(drawn(long, width=2000)))[2] < 400
    assert not np.array_equal(drawn(long, width=100), drawn("a name", width=100))


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (12, 9), (30, 20)], ids=str)
def test_pictures_of_any_size_can_be_drawn_on(size: tuple[int, int]) -> None:
    image = canvas(*size)
    draw_box(image, Box(0, 0, *size), BLUE)
    draw_label(image, "a dog", BLUE, 0, 0)
    draw_clicks(image, [Click(0, 0, 1), Click(size[0] - 0.1, size[1] - 0.1, 0)])
    assert changed(image).any()


@pytest.mark.parametrize(
    ("size", "step"),
    [((640, 360), 50), ((1280, 720), 100), ((1080, 1920), 100), ((3840, 2160), 200)],
    ids=str,
)
@pytest.mark.parametrize("level", [0, GRAY, 255])
def test_a_grid_has_lines_at_round_coordinates_that_show_on_any_picture(
    size: tuple[int, int], step: int, level: int
) -> None:
    image = np.full((size[1], size[0], 3), level, np.uint8)
    draw_grid(image)
    row = image[step + step // 2].mean(axis=1)
    for x in range(2 * step, size[0] - step, step):
        assert row[x] == 255
        assert row[x + max(1, disc_radius(image) // 6)] == 0
        assert row[x + step // 2] == level


def test_the_numbers_of_a_grid_stand_at_the_edges_beside_their_lines() -> None:
    image = canvas(640, 360)
    draw_grid(image)
    is_plate = (image == 0).all(axis=2)
    for x in range(50, 620, 50):
        for rows in (slice(0, 15), slice(-15, None)):
            assert is_plate[rows, x - 8 : x + 8].mean() > 0.4
    for y in range(50, 340, 50):
        for columns in (slice(0, 15), slice(-15, None)):
            assert is_plate[y - 6 : y + 6, columns].mean() > 0.4
    assert (image[60:90, 60:90] == GRAY).all()


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (96, 64), (3, 4000), (4000, 20)], ids=str)
def test_a_grid_fits_any_picture(size: tuple[int, int]) -> None:
    image = canvas(*size)
    draw_grid(image)
    assert image.shape == (size[1], size[0], 3)
