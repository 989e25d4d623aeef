"""List the checkpoints, find them on this machine, and download missing ones.

A file is used only if its size and its SHA-256 are those of the published one. It is looked for in
`weights/` and then in the folder that `SAM_VIDEO_WEIGHTS` names. Downloads come from Meta's server,
or from a mirror that serves the same file names below the URL in `SAM_VIDEO_DOWNLOAD_URL`.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sam_video.checkpoints.fetch import MAX_STALL_SECONDS, PAUSES_SECONDS
from sam_video.checkpoints.verified import lies_at
from sam_video.errors import CheckpointError
from sam_video.progress import byte_progress
from sam_video.workers.sandbox import ProcessFailure, Sandbox


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A published file of weights."""

    name: str
    """What `--model` calls it."""
    file_name: str
    """Name in `weights/` and on the server."""
    sha256: str
    """Of the whole file, 64 hexadecimal digits."""
    num_bytes: int | None = None
    """Size of the file; None where the SHA-256 alone is checked."""
    url: str | None = None
    """Where it can be downloaded; None for what comes with the source."""
    config: str = ""
    """Name of its network's configuration: a file of `model/configs`, or of sam2's for SAM 2.1."""


_META_URL = "https://dl.fbaipublicfiles.com/segment_anything_2/092824/"
_SAM2 = (  # name, configuration, bytes, SHA-256
    ("large", "l", 898_083_611, "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318"),
    (
        "base_plus",
        "b+",
        323_606_802,
        "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
    ),
    ("small", "s", 184_416_285, "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38"),
    ("tiny", "t", 156_008_466, "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69"),
)
_POCKET_SHA256 = "b239c598a9b675e86588431cbcbd0b8baf2580987ef33bab503def3d5daee9dd"


def _published(name: str, config: str, num_bytes: int, sha256: str) -> Checkpoint:
    file_name = f"sam2.1_hiera_{name}.pt"
    url = _META_URL + file_name
    return Checkpoint(name, file_name, sha256, num_bytes, url, f"sam2.1_hiera_{config}.yaml")


CHECKPOINTS: dict[str, Checkpoint] = {
    **{row[0]: _published(*row) for row in _SAM2},
    "pocket": Checkpoint("pocket", "pocket.safetensors", _POCKET_SHA256, config="pocket.yaml"),
}
"""Every checkpoint by its name: the four of SAM 2.1, and the project's own `pocket`."""


def default_model() -> str:
    """Return the checkpoint that `SAM_VIDEO_MODEL` names, or `large`.

    Raises:
        CheckpointError: `SAM_VIDEO_MODEL` names no checkpoint.
    """
    name = os.environ.get("SAM_VIDEO_MODEL") or "large"
    if name not in CHECKPOINTS:
        raise CheckpointError(f"SAM_VIDEO_MODEL is {name!r}; {_accepted()}")
    return name


def resolve_checkpoint(
    checkpoint: str | Checkpoint, *, explicit: Path | None = None, download: bool = True
) -> Path:
    """Return the file of a checkpoint; download it if it is missing.

    The order is `explicit`, `weights/`, the folder `SAM_VIDEO_WEIGHTS`, download. No other
    checkpoint ever takes the place of the one asked for.

    Args:
        checkpoint: A name from `CHECKPOINTS`, or an entry of the caller's own.
        explicit: A file of the caller's own, which is not verified.
        download: Whether a missing file may be downloaded.

    Raises:
        CheckpointError: The name is unknown; the file is missing and cannot be downloaded; or it
            is not the published one.
    """
    item = _lookup(checkpoint)
    found = find_checkpoint(item, explicit=explicit)
    if found is not None:
        return found
    if item.url is None or not download:
        folders = " or ".join(str(folder) for folder in search_folders())
        raise CheckpointError(f"{item.file_name} is not in {folders}; {_remedy(item)}")
    try:
        return _download(item, download_folder())
    except CheckpointError as error:
        raise CheckpointError(f"{error}; {_remedy(item)}") from error


def find_checkpoint(checkpoint: str | Checkpoint, *, explicit: Path | None = None) -> Path | None:
    """Return the verified file of a checkpoint, or None if it is not on this machine.

    Args:
        checkpoint: A name from `CHECKPOINTS`, or an entry of the caller's own.
        explicit: A file of the caller's own, which is not verified.

    Raises:
        CheckpointError: The name is unknown, `explicit` is not a file, or what lies there is not
            the published file.
    """
    item = _lookup(checkpoint)
    if explicit is not None:
        if not explicit.is_file():
            raise CheckpointError(f"{explicit} is not a file; expected weights of {item.name}")
        return explicit
    for folder in search_folders():
        path = folder / item.file_name
        remedy = _remedy(item)
        if lies_at(path, num_bytes=item.num_bytes, digest=item.sha256, remedy=remedy):
            return path
    return None


def download(
    checkpoint: str | Checkpoint,
    folder: Path | None = None,
    *,
    show_progress: bool = True,
    pauses_seconds: Sequence[float] = PAUSES_SECONDS,
) -> Path:
    """Download a checkpoint, verify it and return its path; do nothing where it lies there already.

    Args:
        checkpoint: A name from `CHECKPOINTS`, or an entry of the caller's own.
        folder: Where to put it; by default `download_folder()`. It is made where it is missing.
        show_progress: Draw a progress bar on standard error.
        pauses_seconds: Waits before each new try on a broken connection; see `fetch`.

    Raises:
        CheckpointError: The name is unknown, the file comes with the source and not from a server,
            or the download failed.
    """
    return _download(
        _lookup(checkpoint),
        folder or download_folder(),
        show_progress=show_progress,
        pauses_seconds=pauses_seconds,
    )


def lies_here(name: str) -> Path | None:
    """Return where a checkpoint of `CHECKPOINTS` lies, of whatever content, or None.

    It is quick, since nothing is read. `find_checkpoint` verifies the file.
    """
    paths = (folder / _lookup(name).file_name for folder in search_folders())
    return next((path for path in paths if path.is_file()), None)


def download_folder() -> Path:
    """Return the folder that downloads go to: `SAM_VIDEO_WEIGHTS`, or else `weights/`."""
    return search_folders()[-1]


def search_folders() -> list[Path]:
    """Return `weights/` and the folder `SAM_VIDEO_WEIGHTS`.

    `weights/` is that of the source tree, or of the working folder where only the package is
    installed.
    """
    beside_package = Path(__file__).resolve().parents[2] / "weights"
    folders = [beside_package if beside_package.is_dir() else Path("weights").absolute()]
    named = os.environ.get("SAM_VIDEO_WEIGHTS")
    if named:
        folders.append(Path(named))
    return folders


def _download(
    item: Checkpoint,
    folder: Path,
    *,
    show_progress: bool = True,
    pauses_seconds: Sequence[float] = PAUSES_SECONDS,
) -> Path:
    if item.url is None or item.num_bytes is None:
        raise CheckpointError(f"{item.name} is not for download; {_remedy(item)}")
    path, url = folder / item.file_name, _mirrored(item.url)
    options = str(path), item.num_bytes, item.sha256, list(pauses_seconds)
    with (
        Sandbox(
            "sam_video.checkpoints.fetch", max_stall_seconds=MAX_STALL_SECONDS, may_write=True
        ) as sandbox,
        byte_progress(item.file_name, item.num_bytes, is_shown=show_progress) as progress,
    ):
        try:
            for num_arrived in sandbox.run("fetch", url, *options):
                progress.update(num_arrived - progress.n)
        except ProcessFailure as failure:
            raise CheckpointError(f"{url} cannot be downloaded: its process {failure}") from None
    return path


def _mirrored(url: str) -> str:
    """Return the URL of the same file on the mirror, if one is set."""
    mirror = os.environ.get("SAM_VIDEO_DOWNLOAD_URL")
    if not mirror:
        return url
    if not mirror.startswith(("http://", "https://")):
        raise CheckpointError(f"SAM_VIDEO_DOWNLOAD_URL is {mirror!r}; expected an http(s) URL")
    return f"{mirror.rstrip('/')}/{url.rsplit('/', 1)[-1]}"


def _lookup(checkpoint: str | Checkpoint) -> Checkpoint:
    if isinstance(checkpoint, Checkpoint):
        return checkpoint
    if checkpoint not in CHECKPOINTS:
        raise CheckpointError(f"model is {checkpoint!r}; {_accepted()}")
    return CHECKPOINTS[checkpoint]


def _accepted() -> str:
    return f"expected one of {', '.join(CHECKPOINTS)}"


def _remedy(item: Checkpoint) -> str:
    if item.url is None:
        return f"take it from the source: `git checkout weights/{item.file_name}`"
    return (
        f"run `sam-video download {item.name}` (SAM_VIDEO_WEIGHTS names another folder for it), or"
        " choose the bundled one: `--model pocket` (of a server: SAM_VIDEO_MODEL=pocket)"
    )
