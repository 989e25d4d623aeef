"""The interface between words and the networks that find what they name in an image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sam_video.types import BoolMask, Box, RGBImage


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """One instance of a concept in an image."""

    concept: str
    """The concept, as it was asked for."""
    score: float
    """How sure the detector is, 0 to 1; scores of different detectors do not compare."""
    box: Box
    """In pixels of the image."""
    mask: BoolMask | None = None
    """`(H, W)` bool, from detectors that give one."""


class Detector(Protocol):
    """Finds all instances of concepts in single images; it keeps no state of a video."""

    @property
    def threshold(self) -> float:
        """The least score of a detection to be kept, where the caller names none."""
        ...

    def check(self, concepts: Sequence[str]) -> None:
        """Accept concepts, before any image is read.

        Raises:
            PromptError: The detector cannot look for one of them.
        """
        ...

    def detect(self, image: RGBImage, concepts: Sequence[str], threshold: float) -> list[Detection]:
        """Find the instances of concepts in an image.

        Args:
            image: Of any size.
            concepts: Words that `check` accepts.
            threshold: Detections with a lower score are left out.

        Returns:
            The surest first, each thing once for each concept.
        """
        ...
