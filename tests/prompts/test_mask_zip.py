"""A zip of masks is read whatever wrote it, and a hostile one does no harm."""

import io
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from sam_video.errors import PromptError
from sam_video.limits import MAX_ZIP_MEMBERS
from sam_video.prompts.mask_zip import read_masks
from sam_video.prompts.stated import StatedPrompt

BAD = Path(__file__).parents[3] / "shared" / "data" / "bad"
WIDTH, HEIGHT = 6, 4
MASK = np.zeros((HEIGHT, WIDTH), np.bool_)
MASK[1:3, 2:5] = True


def png(pixels: npt.NDArray[Any], mode: str | None = None) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(file, "PNG")
    return file.getvalue()


def npy(values: npt.ArrayLike) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


GOOD = png(MASK)


def write_zip(
    folder: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED
) -> Path:
    path = folder / "masks.zip"
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def read(folder: Path, members: dict[str, bytes]) -> tuple[StatedPrompt, ...]:
    return read_masks(write_zip(folder, members), width=WIDTH, height=HEIGHT)


def mask_of(prompt: StatedPrompt) -> npt.NDArray[np.bool_]:
    assert isinstance(prompt.value, np.ndarray)
    assert prompt.value.dtype == np.bool_
    return prompt.value


def test_names_say_frame_and_object(tmp_path: Path) -> None:
    names = ["10_b.png", "2_left hand_2.PNG", "00002_a.npy", "folder/0_Löffel 🥄.png", "3_ 7 .png"]
    data = {name: npy(MASK) if name.endswith("npy") else GOOD for name in names}
    prompts = read(tmp_path, data)
    assert [(p.frame_index, p.object_id) for p in prompts] == [
        (0, "Löffel 🥄"),
        (2, "a"),
        (2, "left hand_2"),
        (3, "7"),
        (10, "b"),
    ]
    assert prompts[0].place == prompts[0].frame_place == "mask_prompts['folder/0_Löffel 🥄.png']"
    assert all(np.array_equal(mask_of(prompt), MASK) for prompt in prompts)
    assert all(prompt.is_positive for prompt in prompts)


def test_the_order_of_the_members_does_not_matter(tmp_path: Path) -> None:
    names = ["1_a.png", "0_b.png", "0_a.png", "12_a.png"]
    forward = read(tmp_path, dict.fromkeys(names, GOOD))
    backward = read(tmp_path, dict.fromkeys(reversed(names), GOOD))
    assert [p.place for p in forward] == [p.place for p in backward]


def test_what_is_no_mask_by_its_place_is_ignored(tmp_path: Path) -> None:
    names = [
        "masks/",
        "__MACOSX/masks/._0_a.png",
        "__MACOSX/1_b.png",
        "masks/.DS_Store",
        "._0_a.png",
    ]
    (prompt,) = read(tmp_path, {**dict.fromkeys(names, b"no mask"), "masks/0_a.png": GOOD})
    assert prompt.place == "mask_prompts['masks/0_a.png']"


def test_backslashes_part_folders_too(tmp_path: Path) -> None:
    (prompt,) = read(tmp_path, {"masks\\0_a.png": GOOD})
    assert prompt.object_id == "a"


@pytest.mark.parametrize(
    ("raw", "name"), [("ö".encode(), "ö"), (b"\x94", "ö"), (b"\xe1\xe1", "ßß")], ids=repr
)
def test_names_are_utf_8_or_else_as_the_format_has_them(
    tmp_path: Path, raw: bytes, name: str
) -> None:
    stand_in = "a" * len(raw)
    path = write_zip(tmp_path, {f"0_{stand_in}.png": GOOD})
    path.write_bytes(path.read_bytes().replace(f"_{stand_in}.".encode(), b"_" + raw + b"."))
    (prompt,) = read_masks(path, width=WIDTH, height=HEIGHT)
    assert prompt.object_id == name


VALUES = np.where(MASK, 1, 0)


def with_colour(channel: int, channels: int, alpha: int = 0) -> npt.NDArray[np.uint8]:
    """Draw the mask in one colour channel; alpha, where there is one, is the same everywhere."""
    pixels = np.zeros((HEIGHT, WIDTH, channels), np.uint8)
    if channels in (2, 4):
        pixels[..., -1] = alpha
    pixels[..., channel] = VALUES
    return pixels


def cv_png(pixels: npt.NDArray[Any]) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def palette_png() -> bytes:
    """Write a palette image whose index 1 is black and whose index 0 is white."""
    image = Image.fromarray(VALUES.astype(np.uint8)).convert("P")
    image.putdata(VALUES.ravel().tolist())
    image.putpalette([255, 255, 255, 0, 0, 0])
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


WIDE = VALUES.astype(np.uint16)[..., None]
PNGS = {
    "1 bit": GOOD,
    "gray": png(VALUES.astype(np.uint8) * 255),
    "gray, 1 is object": png(VALUES.astype(np.uint8)),
    "gray, 16 bit": png(VALUES.astype(np.uint16)),
    "gray, 16 bit, 40000": png((VALUES * 40_000).astype(np.uint16)),
    "gray with alpha": png(with_colour(0, 2, 255)),
    "gray with alpha 0": png(with_colour(0, 2)),
    "red": png(with_colour(0, 3)),
    "blue": png(with_colour(2, 3)),
    "RGBA": png(with_colour(1, 4, 255)),
    "RGBA, alpha 0": png(with_colour(1, 4)),
    "palette": palette_png(),
    "RGB, 16 bit": cv_png(np.concatenate([0 * WIDE, WIDE, 0 * WIDE], axis=2)),
    "RGBA, 16 bit": cv_png(np.concatenate([WIDE, 0 * WIDE, 0 * WIDE, 0 * WIDE + 9], axis=2)),
}


@pytest.mark.parametrize("data", PNGS.values(), ids=PNGS.keys())
def test_a_png_of_any_kind_is_read(tmp_path: Path, data: bytes) -> None:
    (prompt,) = read(tmp_path, {"0_a.png": data})
    assert np.array_equal(mask_of(prompt), MASK)


ARRAYS = {
    "bool": MASK,
    "uint8": VALUES.astype(np.uint8) * 255,
    "int64": -VALUES,
    "big-endian": VALUES.astype(">u2"),
    "float16": VALUES.astype(np.float16) / 2,
    "float64": VALUES * 1e-300,
    "infinite": np.where(MASK, np.inf, -0.0),
    "one channel first": VALUES[None],
    "one channel last": VALUES[..., None],
    "Fortran order": np.asfortranarray(VALUES),
    "Fortran order, one channel": np.asfortranarray(VALUES[None]),
}


@pytest.mark.parametrize("values", ARRAYS.values(), ids=ARRAYS.keys())
def test_an_array_of_numbers_is_read(tmp_path: Path, values: npt.NDArray[Any]) -> None:
    (prompt,) = read(tmp_path, {"0_a.npy": npy(values)})
    assert np.array_equal(mask_of(prompt), MASK)


def test_an_array_of_the_second_version_is_read(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.lib.format.write_array(file, MASK, version=(2, 0))
    (prompt,) = read(tmp_path, {"0_a.npy": file.getvalue()})
    assert np.array_equal(mask_of(prompt), MASK)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_large_member_is_read(tmp_path: Path, compression: int) -> None:
    values = np.random.default_rng(0).random((720, 1280))
    path = write_zip(tmp_path, {"0_a.npy": npy(values)}, compression)
    (prompt,) = read_masks(path, width=1280, height=720)
    assert mask_of(prompt).shape == (720, 1280)


def header_only(shape: str = f"({HEIGHT}, {WIDTH})", descr: str = "'|b1'") -> bytes:
    """Write an npy file that states anything and holds the mask's pixels."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + MASK.tobytes()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def ihdr(width: int, height: int) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))


SIGNATURE = b"\x89PNG\r\n\x1a\n"
SIZE = f"expected {WIDTH}x{HEIGHT}, the size of the video"
SHAPE = f"expected ({HEIGHT}, {WIDTH}), the height and width of the video"
NUMBERS = "expected bool, integers or floats"
UNREADABLE = [
    pytest.param("0_a.png", png(MASK[:, 1:]), f"is 5x4; {SIZE}", id="narrow"),
    pytest.param("0_a.png", png(MASK.T), f"is 4x6; {SIZE}", id="transposed"),
    pytest.param("0_a.png", png(~MASK & MASK), "has no pixel; expected at least one", id="empty"),
    pytest.param("0_a.npy", npy(0.0 * MASK), "has no pixel; expected at least one", id="zeros"),
    pytest.param("0_a.png", png(with_colour(3, 4)[..., :3]), "has no pixel", id="black"),
    pytest.param("0_a.png", b"", "is not a PNG image", id="no bytes"),
    pytest.param("0_a.png", GOOD[:20], "is not a PNG image", id="cut in the header"),
    pytest.param("0_a.png", npy(MASK), "is not a PNG image", id="array as PNG"),
    pytest.param("0_a.png", GOOD[:-30], "cannot be read (", id="cut"),
    pytest.param(
        "0_a.png",
        GOOD[:29] + b"\0\0\0\0" + GOOD[33:],
        "cannot be read (broken PNG file",
        id="checksum",
    ),
    pytest.param(
        "0_a.png",
        SIGNATURE + ihdr(2 * 10**9, 2 * 10**9),
        f"is 2000000000x2000000000; {SIZE}",
        id="huge",
    ),
    pytest.param(
        "0_a.png",
        SIGNATURE + ihdr(WIDTH, HEIGHT) + ihdr(9000, 9000) + chunk(b"IDAT", zlib.compress(b"")),
        "cannot be read (it states two sizes)",
        id="two sizes",
    ),
    pytest.param("0_a.png", SIGNATURE + ihdr(WIDTH, HEIGHT), "cannot be read (", id="no pixels"),
    pytest.param("0_a.npy", GOOD, "cannot be read (", id="PNG as array"),
    pytest.param("0_a.npy", b"", "cannot be read (", id="no bytes of an array"),
    pytest.param("0_a.npy", npy(VALUES.T), f"has the shape (6, 4); {SHAPE}", id="shape"),
    pytest.param("0_a.npy", npy(VALUES[None, None]), "has the shape (1, 1, 4, 6)", id="4 axes"),
    pytest.param("0_a.npy", npy(np.stack([VALUES] * 3, 2)), "has the shape (4, 6, 3)", id="RGB"),
    pytest.param("0_a.npy", npy(np.float64(1)), "has the shape ()", id="scalar"),
    pytest.param("0_a.npy", npy(np.where(MASK, 1, np.nan)), f"holds NaN; {NUMBERS}", id="NaN"),
    pytest.param("0_a.npy", npy(VALUES * 1j), f"holds 'complex128'; {NUMBERS}", id="complex"),
    pytest.param("0_a.npy", npy(VALUES.astype("S1")), f"holds '|S1'; {NUMBERS}", id="text"),
    pytest.param(
        "0_a.npy", npy(VALUES.astype(np.longdouble)), f"holds 'float128'; {NUMBERS}", id="float128"
    ),
    pytest.param("0_a.npy", npy(VALUES.astype(object)), f"holds 'object'; {NUMBERS}", id="pickle"),
    pytest.param("0_a.npy", npy(MASK)[:-1], "has 23 bytes of pixels; expected 24", id="cut array"),
    pytest.param("0_a.npy", npy(MASK) + b"x", "has 25 bytes of pixels; expected 24", id="more"),
    pytest.param("0_a.npy", header_only(f"({10**12}, {10**12})"), "has the shape (1", id="vast"),
    pytest.param("0_a.npy", header_only("(-4, -6)"), "has the shape (-4, -6)", id="negative"),
    pytest.param("0_a.npy", header_only("(" + "1," * 3000 + ")"), "has the shape (1", id="axes"),
    pytest.param("0_a.npy", header_only("9" * 5000), "cannot be read (", id="digits"),
    pytest.param("0_a.npy", header_only("(" * 5000), "cannot be read (", id="parentheses"),
    pytest.param("0_a.npy", header_only(" " * 20_000), "cannot be read (Header", id="long header"),
    pytest.param("0_a.npy", header_only(descr="'f99'"), "cannot be read (", id="no such type"),
    pytest.param(
        "0_a.npy", header_only(descr="[('" + "a" * 999 + "', '|b1')]"), "holds ", id="structure"
    ),
    pytest.param("0_a.npy", b"\x93NUMPY\x09\x00" + b"\0" * 99, "cannot be read (", id="version"),
]


@pytest.mark.parametrize(("name", "data", "message"), UNREADABLE)
def test_a_mask_that_does_not_fit_or_cannot_be_read_fails(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    with pytest.raises(PromptError) as caught:
        read(tmp_path, {"0_good.png": GOOD, f"f/{name}": data})
    text = str(caught.value)
    assert text.startswith(f"mask_prompts['f/{name}'] {message}")
    assert text.isprintable()
    assert len(text) < 300
    assert " at 0x" not in text


@pytest.mark.parametrize(
    "name",
    [
        *("a.png", "0.png", "0_.png", "0_ .png", "_a.png", "x_a.png", "-1_a.png", "1.5_a.png"),
        *("0_a", "0_a.jpg", "0_a.npz", "0_a.png.txt", "0-a.png", "frame_0_a.png"),
        *("9" * 16 + "_a.png", "\u0661_a.png"),
    ],
)
def test_a_name_of_another_form_fails(tmp_path: Path, name: str) -> None:
    with pytest.raises(PromptError) as caught:
        read(tmp_path, {f"masks/{name}": GOOD})
    expected = "is no name of a mask; expected {frame_index}_{object_id}.png or .npy"
    assert str(caught.value) == f"mask_prompts['masks/{name}'] {expected}"


@pytest.mark.parametrize(
    "data",
    [b"", b"no zip", GOOD, b"PK\x05\x06" + b"\xff" * 18, b"PK\x03\x04" + b"\0" * 99],
    ids=["empty", "text", "PNG", "end alone", "start alone"],
)
def test_a_file_that_is_no_zip_fails(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "masks.zip"
    path.write_bytes(data)
    expected = r"^mask_prompts is 'masks.zip', which cannot be read \(.+\); expected a zip archive$"
    with pytest.raises(PromptError, match=expected):
        read_masks(path, width=WIDTH, height=HEIGHT)


@pytest.mark.parametrize("name", ["missing.zip", "."])
def test_a_path_that_is_no_file_fails(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        PromptError, match=r"^mask_prompts is '.*', which cannot be read \([^/]+\);"
    ):
        read_masks(tmp_path / name, width=WIDTH, height=HEIGHT)


@pytest.mark.parametrize("names", [[], ["masks/"], [".DS_Store", "__MACOSX/0_a.png"]])
def test_a_zip_without_masks_fails(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(
        PromptError, match=r"^mask_prompts holds no mask; expected \{frame_index\}_"
    ):
        read(tmp_path, dict.fromkeys(names, b""))


def test_an_encrypted_member_fails(tmp_path: Path) -> None:
    path = write_zip(tmp_path, {"0_a.png": GOOD})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    expected = r"^mask_prompts\['0_a.png'\] is encrypted; expected a zip without a password$"
    with pytest.raises(PromptError, match=expected):
        read_masks(path, width=WIDTH, height=HEIGHT)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compression_without_bounds_fails(tmp_path: Path, compression: int) -> None:
    path = write_zip(tmp_path, {"0_a.png": GOOD}, compression)
    expected = rf"^mask_prompts\['0_a.png'\] is compressed by method {compression}; expected stored"
    with pytest.raises(PromptError, match=expected):
        read_masks(path, width=WIDTH, height=HEIGHT)


def test_a_damaged_member_fails(tmp_path: Path) -> None:
    path = write_zip(tmp_path, {"0_a.npy": npy(MASK)}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"\x93NUMPY", b"\x93NUMPX"))
    with pytest.raises(
        PromptError, match=r"^mask_prompts\['0_a.npy'\] cannot be read \(Bad CRC-32"
    ):
        read_masks(path, width=WIDTH, height=HEIGHT)


@pytest.mark.parametrize("stated", [None, 100], ids=["true size", "small size stated"])
def test_a_member_that_decompresses_without_end_fails(tmp_path: Path, stated: int | None) -> None:
    path = write_zip(tmp_path, {"0_a.npy": npy(np.zeros(2**26, np.bool_))})
    if stated is not None:
        data = bytearray(path.read_bytes())
        start = data.index(b"PK\x01\x02") + 24
        data[start : start + 4] = struct.pack("<I", stated)
        path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(PromptError, match=r"^mask_prompts\['0_a.npy'\] "):
            read_masks(path, width=WIDTH, height=HEIGHT)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


def test_more_members_than_allowed_fails(tmp_path: Path) -> None:
    path = write_zip(tmp_path, {f"{i}/": b"" for i in range(MAX_ZIP_MEMBERS.default + 1)})
    with pytest.raises(
        PromptError, match=r"^mask_prompts has 10001 members; expected at most 10000"
    ):
        read_masks(path, width=WIDTH, height=HEIGHT)


def test_a_list_of_members_beyond_the_limit_is_not_read_and_fails(tmp_path: Path) -> None:
    path = write_zip(tmp_path, {f"{i}_{'a' * 60_000}.png": b"" for i in range(71)})
    expected = r"^mask_prompts has a list of members of \d+ bytes; expected at most 4000000,"
    with pytest.raises(PromptError, match=expected):
        read_masks(path, width=WIDTH, height=HEIGHT)


def test_more_pixels_than_memory_is_given_to_fails(tmp_path: Path) -> None:
    path = write_zip(tmp_path, {f"{i}_a.png": b"" for i in range(9)})
    expected = r"^mask_prompts holds 9 masks of 8192x8192, \d+ bytes decompressed; expected at most"
    with pytest.raises(PromptError, match=expected):
        read_masks(path, width=8192, height=8192)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("zipbomb_300MB_in_300KB.zip", "mask_prompts['frames/00000.jpg'] is no name of a mask"),
        ("zipbomb_nested_6GB.zip", "mask_prompts['00000.zip'] is no name of a mask"),
        ("zipslip.zip", "mask_prompts['../../../../tmp/testdata_zipslip_pwned.jpg'] is no name"),
    ],
)
def test_a_known_bomb_fails(name: str, message: str) -> None:
    if not (BAD / name).exists():
        pytest.skip(f"the hostile file {name} is not at hand")
    with pytest.raises(PromptError) as caught:
        read_masks(BAD / name, width=854, height=480)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mask_wrong_size_853x480.png", "is 853x480; expected 854x480, the size of the video"),
        ("pngbomb_30000x30000.png", "is 30000x30000; expected 854x480"),
        ("png_header_2e9x2e9.png", "is 2000000000x2000000000; expected 854x480"),
    ],
)
def test_a_known_bad_mask_fails(tmp_path: Path, name: str, message: str) -> None:
    if not (BAD / name).exists():
        pytest.skip(f"the hostile file {name} is not at hand")
    path = write_zip(tmp_path, {"0_a.png": (BAD / name).read_bytes()})
    with pytest.raises(PromptError) as caught:
        read_masks(path, width=854, height=480)
    assert str(caught.value).startswith(f"mask_prompts['0_a.png'] {message}")


def test_a_16_bit_mask_from_elsewhere_is_read(tmp_path: Path) -> None:
    path = BAD / "mask_16bit_id40000.png"
    if not path.exists():
        pytest.skip(f"{path.name} is not at hand")
    width, height = Image.open(path).size
    path = write_zip(tmp_path, {"0_a.png": path.read_bytes()})
    (prompt,) = read_masks(path, width=width, height=height)
    assert 0 < mask_of(prompt).mean() < 1
