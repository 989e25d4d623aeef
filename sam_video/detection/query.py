"""What a request looks for by words."""

from dataclasses import dataclass

from sam_video.detection.interface import Detector
from sam_video.errors import RequestError
from sam_video.prompts.naming import concept_of

DEFAULT_INTERVAL = 10
"""Frames from one look for new instances to the next."""


@dataclass(frozen=True, slots=True, eq=False)
class TextQuery:
    """Find and track every instance of some concepts.

    Instances are named `{concept}_1`, `{concept}_2`, … in the order in which they appear, and from
    left to right where they appear on the same frame. Prompts with such a name refine an instance;
    negative clicks named like a concept exclude the instances under them.

    Raises:
        RequestError: A field has a value that is not accepted.
        PromptError: The detector cannot look for one of the concepts.
    """

    detector: Detector
    """Looks at single frames."""
    concepts: tuple[str, ...]
    """What to find: at least one concept, each once."""
    negative_concepts: tuple[str, ...] = ()
    """What must not be found: their pixels are taken away from what is found."""
    threshold: float = 0.0
    """The least score, 0 to 1, of a detection to be kept; 0 is the detector's own."""
    interval: int = DEFAULT_INTERVAL
    """Look for new instances every so many frames; 0 looks at the first frame alone."""
    max_objects: int = 0
    """Most instances to keep, the surest; 0 is no limit."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "concepts", tuple(self.concepts))
        object.__setattr__(self, "negative_concepts", tuple(self.negative_concepts))
        if not self.concepts:
            raise RequestError("TextQuery.concepts is empty; expected at least one concept")
        words = (*self.concepts, *self.negative_concepts)
        for position, word in enumerate(words):
            if word in words[:position]:
                raise RequestError(f"TextQuery names {word[:100]!r} twice; expected each once")
        if not 0 <= self.threshold <= 1:
            raise RequestError(f"TextQuery.threshold is {self.threshold}; expected 0 to 1")
        for field in ("interval", "max_objects"):
            value = getattr(self, field)
            if not (isinstance(value, int) and value >= 0):
                raise RequestError(
                    f"TextQuery.{field} is {value}; expected a whole number from 0 up"
                )
        self.detector.check(words)

    @property
    def keep_threshold(self) -> float:
        """The least score of a detection to be kept."""
        return self.threshold or self.detector.threshold

    def may_find(self, object_id: str) -> bool:
        """Whether a name is a concept's or that of an instance: prompts refine or exclude those."""
        return object_id in self.concepts or self.concept_of(object_id) is not None

    def concept_of(self, object_id: str) -> str | None:
        """Return the concept of which a name may be an instance: `person` for `person_2`."""
        return concept_of(object_id, self.concepts)
