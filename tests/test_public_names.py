"""What `import sam_video` gives, and what it does not load."""

import subprocess
import sys

import pytest

import sam_video

SLOW = {"av", "cv2", "torch", "sam2", "pycocotools"}


@pytest.mark.parametrize("name", sam_video.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(sam_video, name).__name__ == name


def test_an_unknown_name_fails() -> None:
    with pytest.raises(AttributeError, match=r"^module 'sam_video' has no attribute 'nonsense'$"):
        _ = sam_video.nonsense


@pytest.mark.parametrize(
    "statement",
    [
        "import sam_video",
        "import sam_video.cli",
        "import sam_video.service.file_reader",
    ],
)
def test_importing_loads_nothing_slow(statement: str) -> None:
    script = f"{statement}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert not SLOW & set(output.stdout.decode().split())


def test_importing_a_session_loads_no_torch() -> None:
    script = "import sam_video.service.session, sys; print('torch' in sys.modules)"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert output.stdout == b"False\n"
