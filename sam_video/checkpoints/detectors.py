"""List the detectors' weights, find them on this machine, and download them.

A folder that was downloaded is used only if its files are those of its record (see `hub`). A folder
without a record is the user's own, and is used as it is. It is looked for in `weights/` and then in
the folder that `SAM_VIDEO_WEIGHTS` names, under the detector's name. Downloads come from the
Hugging Face hub, or from a mirror that answers as it does, whose URL `HF_ENDPOINT` names; with
`HF_HUB_OFFLINE` set there are none.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from sam_video.checkpoints.catalogue import download_folder, search_folders
from sam_video.checkpoints.fetch import MAX_STALL_SECONDS, PAUSES_SECONDS
from sam_video.checkpoints.hub import NEEDED, read_record
from sam_video.checkpoints.verified import lies_at
from sam_video.errors import CheckpointError
from sam_video.progress import byte_progress
from sam_video.workers.sandbox import ProcessFailure, Sandbox

_HUB = "https://huggingface.co"
_OFF = {"", "0", "false", "no", "off"}


@dataclass(frozen=True, slots=True)
class DetectorWeights:
    """Published weights of a detector."""

    name: str
    """Of the folder; a command may also write it with hyphens."""
    hub_id: str
    """Owner and name of the repository on the hub."""
    gigabytes: float
    """About the size of the download."""
    revision: str = "main"
    """The commit that is downloaded, or the branch whose commit is asked for once and recorded."""
    licence: str = "Apache-2.0"
    is_gated: bool = False
    """Whether the hub gives it to those alone who have accepted the licence there."""

    @property
    def remedy(self) -> str:
        """How to get the weights, and under which licence."""
        command = f"`sam-video download {self.name.replace('_', '-')}`"
        if not self.is_gated:
            return f"run {command} ({self.gigabytes} GB, {self.licence}, from {self.hub_id})"
        return (
            f"accept the {self.licence} at {_HUB}/{self.hub_id}, then run {command} with your"
            f" token in HF_TOKEN ({self.gigabytes} GB), or put the folder from there in this place"
        )


DETECTORS: dict[str, DetectorWeights] = {
    weights.name: weights
    for weights in (
        DetectorWeights("owlv2_base", "google/owlv2-base-patch16-ensemble", 0.6),
        DetectorWeights(
            "owlv2_large",
            "google/owlv2-large-patch14-ensemble",
            1.8,
            "d638f16c163f70a8b6bd643b2ddbfc8be2c34807",
        ),
        DetectorWeights("llmdet_tiny", "iSEE-Laboratory/llmdet_tiny", 0.7),
        DetectorWeights("llmdet_base", "iSEE-Laboratory/llmdet_base", 0.9),
        DetectorWeights(
            "llmdet_large",
            "iSEE-Laboratory/llmdet_large",
            1.4,
            "bec37f296f05b22f6c6b39bc05a6c611239f4e31",
        ),
        DetectorWeights("sam3", "facebook/sam3", 3.4, licence="SAM License", is_gated=True),
    )
}
"""Every detector with weights of its own, by its name."""


def resolve_detector(name: str, *, explicit: Path | None = None, download: bool = False) -> Path:
    """Return the folder of a detector's weights.

    Args:
        name: A name from `DETECTORS`.
        explicit: A folder of the caller's own, which is used as it is.
        download: Whether a missing one may be downloaded.

    Raises:
        CheckpointError: The name is unknown; the folder is missing, and cannot or must not be
            downloaded; or a file is not the published one.
    """
    item = _lookup(name)
    found = find_detector(name, explicit=explicit)
    if found is not None:
        return found
    if download:
        return download_detector(name)
    folders = " or ".join(str(folder / item.name) for folder in search_folders())
    raise CheckpointError(f"text_model {item.name} has no weights in {folders}; {item.remedy}")


def find_detector(name: str, *, explicit: Path | None = None) -> Path | None:
    """Return the folder of a detector's weights, or None if it is not complete on this machine.

    Args:
        name: A name from `DETECTORS`.
        explicit: A folder of the caller's own, which is used as it is.

    Raises:
        CheckpointError: The name is unknown, `explicit` is not a folder, or a file is not the one
            that was downloaded.
    """
    item = _lookup(name)
    if explicit is not None:
        if not explicit.is_dir():
            raise CheckpointError(f"{explicit} is not a folder; expected the weights of {name}")
        return explicit
    places = (folder / item.name for folder in search_folders())
    return next((place for place in places if _is_complete(item, place)), None)


def download_detector(
    name: str,
    folder: Path | None = None,
    *,
    show_progress: bool = True,
    pauses_seconds: Sequence[float] = PAUSES_SECONDS,
) -> Path:
    """Download a detector's weights, verify them and return their folder.

    What lies there already is kept, and what has begun is resumed.

    Args:
        name: A name from `DETECTORS`.
        folder: Where to make the folder; by default `download_folder()`.
        show_progress: Draw a progress bar for each file on standard error.
        pauses_seconds: Waits before each new try on a broken connection; see `fetch`.

    Raises:
        CheckpointError: The name is unknown, or the download failed.
    """
    item = _lookup(name)
    endpoint, token = _endpoint(), os.environ.get("HF_TOKEN", "").strip()
    if os.environ.get("HF_HUB_OFFLINE", "").strip().lower() not in _OFF:
        raise CheckpointError(f"HF_HUB_OFFLINE is set; expected it unset to download {item.name}")
    if item.is_gated and not token:
        raise CheckpointError(f"{item.hub_id} is gated, and HF_TOKEN is not set; {item.remedy}")
    place = (folder or download_folder()) / item.name
    source = [item.hub_id, item.revision]
    arguments = endpoint, source, str(place), token, list(pauses_seconds)
    with Sandbox(
        "sam_video.checkpoints.hub", max_stall_seconds=MAX_STALL_SECONDS, may_write=True
    ) as sandbox:
        try:
            for (file, size), steps in groupby(
                sandbox.run("fetch_folder", *arguments), key=itemgetter(0, 2)
            ):
                with byte_progress(file, size, is_shown=show_progress) as progress:
                    for _, num_arrived, _ in steps:
                        progress.update(num_arrived - progress.n)
        except ProcessFailure as failure:
            raise CheckpointError(f"{item.name} is not downloaded: its process {failure}") from None
        except CheckpointError as error:
            raise CheckpointError(f"{error}; {item.remedy}") from error
    return place


def lies_here(name: str) -> Path | None:
    """Return the folder that has a detector's weights, of whatever content; None without any.

    It is quick, since nothing is read. `find_detector` verifies them.
    """
    places = (folder / _lookup(name).name for folder in search_folders())
    return next((place for place in places if _has_all(place)), None)


def _has_all(place: Path) -> bool:
    return all((place / name).is_file() for name in NEEDED)


def _is_complete(item: DetectorWeights, place: Path) -> bool:
    """Tell whether all files are there; raise an error if one is not the downloaded one."""
    record = read_record(place)
    if record is None:
        return _has_all(place)
    return all(
        lies_at(place / name, num_bytes=file.num_bytes, digest=file.digest, remedy=item.remedy)
        for name, file in record.files.items()
    )


def _endpoint() -> str:
    url = os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or _HUB
    if not url.startswith(("http://", "https://")):
        raise CheckpointError(f"HF_ENDPOINT is {url!r}; expected an http(s) URL")
    return url


def _lookup(name: str) -> DetectorWeights:
    if name not in DETECTORS:
        raise CheckpointError(f"text_model is {name!r}; expected one of {', '.join(DETECTORS)}")
    return DETECTORS[name]
