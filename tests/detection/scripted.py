"""A detector that finds what a script says."""

from collections.abc import Callable, Sequence

from sam_video.detection.interface import Detection
from sam_video.errors import PromptError
from sam_video.types import RGBImage

Script = Callable[[RGBImage], Sequence[Detection]]
"""What is in an image, of any concept and score."""


class ScriptedDetector:
    """Finds what a script says, of the concepts that it is asked for.

    Args:
        script: What is in an image.
        known: The words that it accepts; None accepts every word.
    """

    def __init__(self, script: Script, known: Sequence[str] | None = None) -> None:
        self._script = script
        self._known = known
        self.threshold = 0.5
        self.calls: list[tuple[str, ...]] = []
        """The concepts of every call."""

    def check(self, concepts: Sequence[str]) -> None:
        for concept in concepts:
            if self._known is not None and concept not in self._known:
                raise PromptError(f"text_prompt is {concept!r}; expected one of {self._known}")

    def detect(self, image: RGBImage, concepts: Sequence[str], threshold: float) -> list[Detection]:
        self.calls.append(tuple(concepts))
        found = [d for d in self._script(image) if d.concept in concepts and d.score >= threshold]
        return sorted(found, key=lambda detection: -detection.score)
