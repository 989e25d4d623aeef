"""From the words of a request to a query: choose its detector, load it, and say what it costs."""

import logging
from typing import TYPE_CHECKING

from sam_video.detection.interface import Detector
from sam_video.detection.query import TextQuery
from sam_video.progress import timed_step
from sam_video.prompts.concepts import Concepts, parse_concepts
from sam_video.request import Request
from sam_video.types import VideoInfo

if TYPE_CHECKING:  # PyTorch is imported with the first model
    from sam_video.model.interface import Model

SECONDS_ON_CPU = {"owlv2_base": 9, "owlv2_large": 97, "llmdet": 11}
"""Seconds for an image, as measured on two cores, in float32 and for two concepts."""

logger = logging.getLogger(__name__)


class DetectorKeeper:
    """Loads the detector of a request with words, and keeps it for the next one.

    A request that needs another detector replaces it; one without words loads and frees nothing.
    """

    def __init__(self) -> None:
        self._name: str | None = None
        self._detector: Detector | None = None

    def query(self, request: Request, concepts: Concepts, info: VideoInfo) -> TextQuery:
        """Return what a request looks for.

        Args:
            request: With words.
            concepts: Those words.
            info: Of the frames that are processed.

        Raises:
            RequestError: The detector needs a package that is missing.
            PromptError: The detector cannot look for one of the concepts.
            CheckpointError: Its weights are missing, or not what they should be.
            DeviceError: The GPU cannot be used, or has too little memory.
        """
        from sam_video.model.device import default_device  # noqa: PLC0415

        detector = self.load(request.text_model, request.model)
        interval = 0 if request.preview or info.is_still else request.text_interval
        query = TextQuery(
            detector,
            concepts.wanted,
            concepts.unwanted,
            threshold=request.text_threshold,
            interval=interval,
            max_objects=request.max_objects,
        )
        assert self._name is not None
        if default_device().type == "cpu":
            _warn_of_cost(self._name, info.num_frames, interval)
        return query

    def load(self, text_model: str, model: str) -> Detector:
        """Return the detector that a request means, `model` being the checkpoint that tracks."""
        # Requests without words do not import the detectors, nor what these are made with; errors
        # in a request come before PyTorch is imported.
        from sam_video.detection.engines import engine_for, load_detector  # noqa: PLC0415
        from sam_video.model.cuda_graphs import free_cached_memory  # noqa: PLC0415
        from sam_video.model.device import default_device  # noqa: PLC0415

        device = default_device()
        name = engine_for(text_model, model=model, device=device)
        if self._detector is None or self._name != name:
            self._detector = self._name = None  # frees its memory before the next one is loaded
            free_cached_memory()
            with timed_step(f"loading the detector {name}"):
                self._detector = load_detector(name, device=device)
            self._name = name
        return self._detector


def query_of(
    text: str | TextQuery | None, *, text_model: str, model: "str | Model"
) -> TextQuery | None:
    """Return what a text such as `dog, red car` looks for, all else by default.

    Args:
        text: As `Request.text_prompt`; a query, or None, comes back as it is.
        text_model: As in a request.
        model: What tracks: `auto` depends on its name.

    Raises:
        RequestError, PromptError, CheckpointError, DeviceError: As for `DetectorKeeper.query`.
    """
    if not isinstance(text, str):
        return text
    concepts = parse_concepts("text", text, enhances=True)
    name = model if isinstance(model, str) else ""
    return TextQuery(DetectorKeeper().load(text_model, name), concepts)


def _warn_of_cost(name: str, num_frames: int | None, interval: int) -> None:
    """Say what a large detector costs on a CPU."""
    seconds = SECONDS_ON_CPU.get(name)
    if seconds is None:
        return
    if interval == 0:
        looks = "it looks at the first frame only"
    elif num_frames is None:
        looks = f"it looks at every {interval}th frame or more"
    else:
        num_looks = -(-num_frames // interval)
        looks = f"it looks at {num_looks} frames or more, for {num_looks * seconds} s"
    logger.warning(
        "%s takes about %d s an image on a CPU with two cores, and %s; a larger text_interval"
        " takes less, and 0 looks at the first frame only",
        name,
        seconds,
        looks,
    )
