"""Setups that fail, in Cog's real server: one line says what is wrong and what to do."""

import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from sam_video.checkpoints.catalogue import CHECKPOINTS
from tests.cog_server import setup_failure
from tests.mirror import running_mirror

FAILURES = {
    "unknown model": r"SAM_VIDEO_MODEL is 'huge'; expected one of large, base_plus, small,",
    "wrong limit": r"SAM_VIDEO_MAX_FRAMES is 'many'; expected a whole number from 1 to 2147483647",
    "no network": r"tiny\.pt cannot be downloaded: .*Connection refused; run `sam-video",
    "truncated file": r"tiny\.pt has 1000 bytes, expected 156008466; delete it, then run `sam-vid",
    "unwritable folder": r"/proc/weights/.*tiny\.pt cannot be written: .*; run `sam-video",
    "full disk": r"tiny\.pt cannot be written: No space left on device; run `sam-video",
}
"""What each says, by its name."""


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, "Future[str]"]]:
    """What servers say whose setup fails; three start at a time."""
    pytest.importorskip("coglet", reason="Cog is not installed; it comes with the extra `dev`")
    tiny = CHECKPOINTS["tiny"]
    assert tiny.num_bytes is not None
    folders = {name: tmp_path_factory.mktemp(name.replace(" ", "-")) for name in FAILURES}
    weights = {name: folder / "weights" for name, folder in folders.items()}
    for folder in weights.values():
        folder.mkdir()
    (weights["truncated file"] / tiny.file_name).write_bytes(bytes(1000))
    (weights["full disk"] / f"{tiny.file_name}.part").symlink_to("/dev/full")
    with running_mirror(bytes(tiny.num_bytes)) as mirror, ThreadPoolExecutor(3) as pool:
        variables = {
            "unknown model": {"SAM_VIDEO_MODEL": "huge"},
            "wrong limit": {"SAM_VIDEO_MAX_FRAMES": "many"},
            "no network": {"SAM_VIDEO_DOWNLOAD_URL": "http://127.0.0.1:9"},
            "unwritable folder": {"SAM_VIDEO_WEIGHTS": "/proc/weights"},
            "full disk": {"SAM_VIDEO_DOWNLOAD_URL": mirror.url},
        }
        yield {
            name: pool.submit(
                setup_failure,
                folder,
                **{"SAM_VIDEO_MODEL": "tiny", "SAM_VIDEO_WEIGHTS": str(weights[name])}
                | variables.get(name, {}),
            )
            for name, folder in folders.items()
        }


@pytest.mark.parametrize("name", FAILURES)
def test_a_setup_says_what_to_do_and_fails(name: str, messages: dict[str, "Future[str]"]) -> None:
    message = messages[name].result()
    assert re.search(FAILURES[name], message)
    assert "\n" not in message
