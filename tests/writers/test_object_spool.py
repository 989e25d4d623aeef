"""Values spooled frame by frame come back as one list per object and column."""

import json
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from sam_video.writers.object_spool import ObjectSpool


def members(
    spool: ObjectSpool, key: int, columns: list[str], num_rows: int, absent: bytes = b"null"
) -> dict[str, Any]:
    file = BytesIO()
    spool.write_members(file, {"key": key}, key, columns, num_rows=num_rows, absent=absent)
    content: dict[str, Any] = json.loads(b"{" + file.getvalue() + b"}")
    return content


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([], [None, None, None], id="no row"),
        pytest.param([0, 1, 2], [0, 1, 2], id="every row"),
        pytest.param([1], [None, 1, None], id="gaps at both ends"),
        pytest.param([0, 2], [0, None, 2], id="gap in the middle"),
        pytest.param([2], [None, None, 2], id="last row"),
    ],
)
def test_rows_that_a_key_does_not_have_are_filled(
    tmp_path: Path, rows: list[int], expected: list[int | None]
) -> None:
    with closing(ObjectSpool()) as spool:
        for row in rows:
            spool.append(5, row, [row])
        assert members(spool, 5, ["rows"], 3) == {"key": 5, "rows": expected}


def test_keys_and_columns_are_kept_apart(tmp_path: Path) -> None:
    with closing(ObjectSpool()) as spool:
        for row in range(100):
            for key in range(-1, row % 7):
                spool.append(key, row, [f"{key} at {row}\n", {"of": [key]}, row])
        for key in range(-1, 6):
            present = [row if key < row % 7 else None for row in range(100)]
            assert members(spool, key, ["text", "value", "row"], 100) == {
                "key": key,
                "text": [row if row is None else f"{key} at {row}\n" for row in present],
                "value": [row if row is None else {"of": [key]} for row in present],
                "row": present,
            }


def test_columns_can_be_read_more_than_once(tmp_path: Path) -> None:
    with closing(ObjectSpool()) as spool:
        spool.append(0, 1, ["a", "b"])
        first = members(spool, 0, ["left", "right"], 2, absent=b'""')
        assert first == {"key": 0, "left": ["", "a"], "right": ["", "b"]}
        assert members(spool, 0, ["left", "right"], 2, absent=b'""') == first


def test_the_file_has_no_name(tmp_path: Path) -> None:
    with closing(ObjectSpool()) as spool:
        spool.append(0, 0, ["value"])
        assert list(tmp_path.iterdir()) == []
