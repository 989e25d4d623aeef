"""Which detections are new objects, and which objects are false: the rules between two rounds.

A round is a frame that a detector looks at. The rules and numbers are those of SAM 3's video loop
("SAM 3: Segment Anything with Concepts", 2025), counted in rounds, since here a detector does not
look at every frame. Masks are compared, not boxes. An object is never started anew, and its name
is never used again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sam_video import rle
from sam_video.detection.matching import best_pairs
from sam_video.detection.query import TextQuery
from sam_video.limits import MAX_OBJECTS
from sam_video.types import BoolMask, Box, Changes, Click, ObjectPrompt

SAME = 0.5
"""IoU from which a detection is of an object."""
OTHER = 0.1
"""IoU below which a detection is of none of the objects of its concept."""
TWICE = 0.7
"""IoU from which two objects, or detections of two concepts, are one thing."""
BIRTH_FACTOR, MOST_FOR_BIRTH = 1.4, 0.99
"""Times the threshold: the least score of a detection that is a new object, at most the second."""
PROBATION, MISSES = 3, 2
"""An object is false if it is on no detection in so many of its first rounds."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A detection with its mask."""

    concept: str
    score: float
    box: Box
    mask: rle.CocoRle
    has_own_mask: bool = False
    """Whether the mask is the detector's, and not what its box means to the tracker."""


@dataclass(slots=True, eq=False)
class Instance:
    """An object that a detector has found."""

    key: str
    """Its name in the tracker until all names are known."""
    concept: str
    frame_index: int
    """Where it was found."""
    box: Box
    """Around it there."""
    mask: rle.CocoRle
    """There."""
    has_own_mask: bool
    """Whether the mask is the detector's: then it is the prompt, and not the box."""
    score: float
    """The highest of its detections."""
    is_first: bool
    """Whether it was found in the first round."""
    rounds: int = 0
    """After its birth, those where the tracker sees it."""
    misses: int = 0
    """Rounds of its probation in which no detection was of it."""
    is_hidden: bool = False
    """Whether a click or a negative concept excludes it; it is tracked, or it would be found again
    and again."""

    @property
    def prompt(self) -> ObjectPrompt:
        """What the tracker starts from."""
        if self.has_own_mask:
            return ObjectPrompt(self.key, self.frame_index, mask=rle.decode(self.mask))
        return ObjectPrompt(self.key, self.frame_index, box=self.box)

    @property
    def is_on_probation(self) -> bool:
        """Whether it may still turn out to be false."""
        return self.rounds <= PROBATION


@dataclass(frozen=True, slots=True, eq=False)
class _Round:
    """What there is on a frame that a detector has looked at."""

    found: Sequence[Found]
    names: list[str]
    """Of the objects that are visible, the older ones first."""
    masks: list[rle.CocoRle]
    """Theirs."""
    ious: npt.NDArray[np.float64]
    """Of detections with these masks."""


class Association:
    """Follows the objects of a request from round to round.

    An object that is found on the first frame is shown unless no later round confirms it; one that
    is found later only if a round does.

    Args:
        query: What is looked for.
        given: Names of the objects that prompts alone make: they are never removed, and what is on
            them is not found again.
    """

    def __init__(self, query: TextQuery, given: Iterable[str] = ()) -> None:
        self._query = query
        self._given_rounds = dict.fromkeys(given, 0)
        threshold = query.keep_threshold
        self._birth_threshold = max(threshold, min(BIRTH_FACTOR * threshold, MOST_FOR_BIRTH))
        self._limit = max(0, MAX_OBJECTS.value - len(self._given_rounds))
        self._most = min(query.max_objects or self._limit, self._limit)
        self._num_rounds = 0
        self._num_keys = 0
        self.instances: dict[str, Instance] = {}
        """Those that are tracked, by key, the older ones first."""
        self.used_clicks: set[tuple[str, Click]] = set()
        """The clicks that have excluded something."""

    def decide(
        self, frame_index: int, tracked: Mapping[str, rle.CocoRle], found: Sequence[Found]
    ) -> Changes:
        """Return which objects come and go in a round.

        Args:
            frame_index: The frame's.
            tracked: The masks of the objects that are visible, the older objects first.
            found: The surest detection first; those of one concept do not overlap.
        """
        now = _round(tracked, found)
        matches = self._matches(now)
        self._count(now, matches)
        self._hide_negative(now)
        gone = [name for name, item in self.instances.items() if item.misses >= MISSES]
        gone += self._doubles(now, gone)
        for name in gone:
            del self.instances[name]
        new = self._new(now, matches)[: self._limit - len(self.instances)]
        births = [self._born(frame_index, item) for item in new]
        self._num_rounds += 1
        surplus = self._surplus()
        for name in surplus:
            del self.instances[name]
        born = {item.key for item in births}
        return Changes(
            tuple(item.prompt for item in births if item.key in self.instances),
            (*gone, *(name for name in surplus if name not in born)),
        )

    def exclude(self, masks: Mapping[str, BoolMask], clicks: Iterable[tuple[str, Click]]) -> None:
        """Hide the instances of concepts that are under clicks, on one frame."""
        for concept, click in clicks:
            for name, mask in masks.items():
                item = self.instances.get(name)
                if item and item.concept == concept and mask[int(click.y), int(click.x)]:
                    item.is_hidden = True
                    self.used_clicks.add((concept, click))

    def believed(self) -> Iterator[Instance]:
        """Yield the instances that are neither excluded nor false, as far as is known."""
        for item in self.instances.values():
            is_confirmed = item.misses < item.rounds or (item.is_first and not item.rounds)
            if is_confirmed and not item.is_hidden:
                yield item

    def _is_negative(self, name: str) -> bool:
        """Whether an object is an instance of a negative concept."""
        concept = self._concept_of(name)
        return concept is not None and concept in self._query.negative_concepts

    def _concept_of(self, name: str) -> str | None:
        """Return the concept of an object; None if prompts alone made it."""
        return self.instances[name].concept if name in self.instances else None

    def _matches(self, now: _Round) -> dict[str, int]:
        """Return the objects that detections of their concepts are of, with these.

        Of two objects on one detection the older has it.
        """
        matches: dict[str, int] = {}
        for concept in (*self._query.concepts, *self._query.negative_concepts):
            rows = [row for row, item in enumerate(now.found) if item.concept == concept]
            columns = [c for c, name in enumerate(now.names) if self._concept_of(name) == concept]
            ious = now.ious[np.ix_(rows, columns)]
            owners = dict(best_pairs(ious, SAME))
            for column, row in np.argwhere(ious.T >= SAME).tolist():
                if column not in owners.values() and owners[row] > column:
                    owners[row] = column
            matches |= {now.names[columns[column]]: rows[row] for row, column in owners.items()}
        return matches

    def _count(self, now: _Round, matches: Mapping[str, int]) -> None:
        """Note which objects are on detections; what is not visible is not looked for."""
        for column, name in enumerate(now.names):
            if name in self._given_rounds:
                self._given_rounds[name] += 1
            elif item := self.instances.get(name):
                item.rounds += 1
                if name in matches:
                    item.score = max(item.score, now.found[matches[name]].score)
                elif item.is_on_probation and not self._is_misnamed(now, column, matches):
                    item.misses += 1

    def _is_misnamed(self, now: _Round, column: int, matches: Mapping[str, int]) -> bool:
        """Whether a detection of another concept is of an object, and of no other one.

        Something is there, then: the first name stays, though the detector may change its mind.
        """
        own = self._concept_of(now.names[column])
        free = [row for row in range(len(now.found)) if row not in matches.values()]
        others = [row for row in free if now.found[row].concept != own]
        wanted = [row for row in others if not self._is_unwanted(now.found[row])]
        is_wanted = own not in self._query.negative_concepts
        return is_wanted and bool((now.ious[wanted, column] >= SAME).any())

    def _hide_negative(self, now: _Round) -> None:
        """Hide new objects that detections of negative concepts are of."""
        negative = [row for row, item in enumerate(now.found) if self._is_unwanted(item)]
        for column, name in enumerate(now.names):
            item = self.instances.get(name)
            if item and item.is_on_probation and (now.ious[negative, column] >= SAME).any():
                item.is_hidden |= not self._is_negative(name)

    def _is_unwanted(self, item: Found) -> bool:
        return item.concept in self._query.negative_concepts

    def _doubles(self, now: _Round, gone: Sequence[str]) -> list[str]:
        """Return the new instances that are the same thing as another object that is left."""
        doubles: list[str] = []
        for a, b in np.argwhere(np.triu(rle.ious(now.masks, now.masks), 1) >= TWICE).tolist():
            older, younger = now.names[a], now.names[b]
            if self._is_negative(older) != self._is_negative(younger):
                continue
            if younger in self._given_rounds:  # it entered late, and an instance is there by then
                older, younger = younger, older
            are_left = not {older, younger} & {*gone, *doubles}
            if are_left and younger in self.instances and self._is_new(older, younger):
                doubles.append(younger)
        return doubles

    def _is_new(self, *names: str) -> bool:
        """Whether one of some objects has not been there for long."""
        return any(
            self._given_rounds[name] <= PROBATION
            if name in self._given_rounds
            else self.instances[name].is_on_probation
            for name in names
        )

    def _new(self, now: _Round, matches: Mapping[str, int]) -> list[Found]:
        """Return the detections that are new objects."""
        matched = set(matches.values())
        least = self._birth_threshold if self._num_rounds else self._query.keep_threshold
        among = rle.ious([item.mask for item in now.found], [item.mask for item in now.found])
        new: list[int] = []
        for row, item in enumerate(now.found):
            if row in matched or item.score < least or self._is_known(now, row):
                continue
            if not self._is_unwanted(item):
                unwanted = [i for i, other in enumerate(now.found) if self._is_unwanted(other)]
                wanted = [i for i in new if i not in unwanted]
                if (among[row, unwanted] >= SAME).any() or (among[row, wanted] >= TWICE).any():
                    continue
            new.append(row)
        return [now.found[row] for row in new]

    def _is_known(self, now: _Round, row: int) -> bool:
        """Whether a detection is of an object that is tracked, or too near one of its concept."""
        least = [self._least_known(now.found[row], name) for name in now.names]
        return bool((now.ious[row] >= least).any())

    def _least_known(self, item: Found, name: str) -> float:
        """Return the IoU with an object from which a detection is no new object."""
        concept = self._concept_of(name)
        if concept == item.concept:
            return OTHER
        is_gone = concept is None and name not in self._given_rounds
        if is_gone or self._is_unwanted(item):  # what is not wanted may be on what is
            return np.inf
        return SAME if concept is None or self._is_negative(name) else TWICE

    def _born(self, frame_index: int, item: Found) -> Instance:
        """Make a detection an object."""
        self._num_keys += 1
        while (key := f"found {self._num_keys}") in self._given_rounds:
            self._num_keys += 1
        self.instances[key] = Instance(
            key=key,
            concept=item.concept,
            frame_index=frame_index,
            box=item.box,
            mask=item.mask,
            has_own_mask=item.has_own_mask,
            score=item.score,
            is_first=self._num_rounds == 0,
        )
        return self.instances[key]

    def _surplus(self) -> list[str]:
        """Return the least sure instances, of more than there may be."""
        surest = sorted(self.instances.values(), key=lambda item: -item.score)
        counted = [i.key for i in surest if not (i.is_hidden or self._is_negative(i.key))]
        return counted[self._most :]


def _round(tracked: Mapping[str, rle.CocoRle], found: Sequence[Found]) -> _Round:
    names, masks = list(tracked), list(tracked.values())
    return _Round(found, names, masks, rle.ious([item.mask for item in found], masks))
