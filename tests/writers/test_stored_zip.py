"""Archives written member by member, read back by zipfile."""

import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from sam_video.writers.stored_zip import StoredZip


def archive(folder: Path, members: dict[str, bytes], *, start: int = 0) -> Path:
    """Write an archive that begins at an offset of its file, after a hole."""
    path = folder / "archive.zip"
    with path.open("wb") as file, closing(StoredZip(file, folder)) as sink:
        file.seek(start)
        for name, data in members.items():
            sink.add(name, data)
        sink.finish()
    return path


def test_members_come_back_in_order(tmp_path: Path) -> None:
    members = {"b.png": b"\x00\x01", "a.png": b"", "狗 🐕.png": b"x" * 100_000}
    with zipfile.ZipFile(archive(tmp_path, members)) as file:
        assert file.testzip() is None
        assert {name: file.read(name) for name in file.namelist()} == members
        assert file.namelist() == list(members)


def test_members_are_plain_files_of_a_fixed_date(tmp_path: Path) -> None:
    with zipfile.ZipFile(archive(tmp_path, {"a.png": b"data"})) as file:
        (member,) = file.infolist()
    assert member.compress_type == zipfile.ZIP_STORED
    assert member.date_time == (1980, 1, 1, 0, 0, 0)
    assert member.external_attr >> 16 == 0o100644
    assert not member.extra


def test_an_archive_without_members_is_valid(tmp_path: Path) -> None:
    with zipfile.ZipFile(archive(tmp_path, {})) as file:
        assert file.namelist() == []


@pytest.mark.parametrize("count", [65534, 65535, 65536])
def test_there_may_be_more_members_than_16_bits_count(tmp_path: Path, count: int) -> None:
    path = archive(tmp_path, {f"{number}.png": b"" for number in range(count)})
    assert (b"PK\x06\x06" in path.read_bytes()[-200:]) == (count >= 65535)
    with zipfile.ZipFile(path) as file:
        assert len(file.namelist()) == count
        assert file.namelist()[-1] == f"{count - 1}.png"


@pytest.mark.parametrize("start", [2**32 - 40, 2**32 - 2, 2**32 - 1, 2**32, 2**33])
def test_members_may_lie_beyond_4_gib(tmp_path: Path, start: int) -> None:
    members = {"a.png": b"first", "b.png": b"second"}
    with zipfile.ZipFile(archive(tmp_path, members, start=start)) as file:
        assert file.testzip() is None
        assert {name: file.read(name) for name in file.namelist()} == members
        assert file.getinfo("a.png").header_offset == start


def test_the_same_members_make_the_same_bytes(tmp_path: Path) -> None:
    members = {"a.png": b"first", "b.png": b"second"}
    assert archive(tmp_path, members).read_bytes() == archive(tmp_path, members).read_bytes()
