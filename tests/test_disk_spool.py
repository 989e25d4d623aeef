"""Rows wait on disk, and say where there is no room for them."""

import os
import resource
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from sam_video.disk_spool import DiskSpool


def test_rows_come_back_by_position() -> None:
    with closing(DiskSpool()) as spool:
        for position in (7, 3, 5):
            spool.put(1, position, bytes([position]))
        spool.put(2, 4, b"another")
        assert list(spool.rows(1)) == [(3, b"\3"), (5, b"\5"), (7, b"\7")]
        assert list(spool.rows(3)) == []


@pytest.mark.parametrize("is_writable", [True, False])
def test_a_full_disk_fails_and_names_the_folder_and_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_writable: bool
) -> None:
    named = tmp_path if is_writable else tmp_path / "missing"
    monkeypatch.delenv("SQLITE_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(named))
    # Which Python finds out with a file, that a full disk does not take.
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with closing(DiskSpool()) as spool:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
        try:
            with pytest.raises(OSError, match="TMPDIR names another folder") as caught:
                for position in range(100):
                    spool.put(0, position, bytes(100_000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    folder = Path(os.fsdecode(caught.value.filename))
    assert folder.is_dir()
    assert (folder == tmp_path) == is_writable
