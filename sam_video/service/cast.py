"""Who is who after a search by words: prompts by their meaning, and the names of instances."""

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sam_video.detection.association import TWICE, Association, Instance
from sam_video.detection.query import TextQuery
from sam_video.types import BoolMask, Click, Frame, MaskFrame, ObjectMask, ObjectPrompt

MOST_SAMPLES = 256
"""Rows and columns by which the masks of a frame are compared."""

logger = logging.getLogger(__name__)


class Meanings:
    """The prompts of a request, by what they mean to a search by words.

    Args:
        prompts: Of the whole request.
        query: Its words.
    """

    def __init__(self, prompts: Sequence[ObjectPrompt], query: TextQuery) -> None:
        self.own: list[ObjectPrompt] = []
        """Of objects that they alone make."""
        self.refining: dict[str, list[ObjectPrompt]] = defaultdict(list)
        """By the name of the instance that they refine."""
        self.excluding: dict[int, list[tuple[str, Click]]] = defaultdict(list)
        """Clicks on instances of concepts that are not wanted, by frame index."""
        positive = {prompt.object_id for prompt in prompts if prompt.is_positive}
        for prompt in prompts:
            name = prompt.object_id
            if query.concept_of(name) is not None:
                self.refining[name].append(prompt)
            elif name in query.concepts and name not in positive:
                self.excluding[prompt.frame_index] += [(name, click) for click in prompt.clicks]
            else:
                self.own.append(prompt)

    @property
    def own_names(self) -> list[str]:
        """The objects that prompts alone make, in the order of their first prompts."""
        return list(dict.fromkeys(prompt.object_id for prompt in self.own))


@dataclass(frozen=True, slots=True, eq=False)
class _Member:
    """An object that is yielded."""

    name: str
    concept: str | None = None
    score: float | None = None
    is_found: bool = False


class Cast:
    """The objects that come out of a finished search.

    Objects that prompts make come first, in the order of the prompts; then come the instances.

    Args:
        association: What was found.
        query: What was looked for.
        meanings: The prompts of the request.
    """

    def __init__(self, association: Association, query: TextQuery, meanings: Meanings) -> None:
        believed = list(association.believed())
        self._refining = meanings.refining
        self._unwanted = [item for item in believed if item.concept in query.negative_concepts]
        self._found = _named(query, [item for item in believed if item.concept in query.concepts])
        missing = [name for name in meanings.refining if name not in self._found]
        self._not_found = [name for name in missing if _is_positive(meanings.refining[name])]
        unused = [name for name in missing if name not in self._not_found]
        _warn(f"on {len(unused)} objects that were not found", unused)
        clicks = [pair for pairs in meanings.excluding.values() for pair in pairs]
        vain = [name for name, click in clicks if (name, click) not in association.used_clicks]
        _warn(f"that are on no instance, {len(vain)} of them", vain)
        members = {name: _Member(name) for name in meanings.own_names}
        members |= {name: _Member(name, query.concept_of(name)) for name in self._not_found}
        for name, item in self._found.items():
            members[item.key] = _Member(name, item.concept, item.score, is_found=True)
        self._members = members
        self._index_of = {key: index for index, key in enumerate(members)}
        numbers = Counter(item.concept for item in self._found.values())
        logger.info("found %s", ", ".join(f"{numbers[word]} {word}" for word in query.concepts))

    def prompts(self, *, refined_alone: bool = False) -> list[ObjectPrompt]:
        """Return prompts by which the tracker knows the instances, in the order of the objects.

        Args:
            refined_alone: Only those of instances that prompts refine, and of instances that were
                not found, which such prompts make.
        """
        prompts = [prompt for name in self._not_found for prompt in self._refining[name]]
        for name, item in self._found.items():
            if name in self._refining or not refined_alone:
                prompts += _refined(item, self._refining.get(name, ()))
        if not refined_alone:
            prompts += [item.prompt for item in self._unwanted]
        return prompts

    def composed(self, frame: Frame, objects: Sequence[ObjectMask]) -> MaskFrame:
        """Return the objects of a frame under their names; unwanted pixels are taken away."""
        by_key = {item.object_id: item for item in objects}
        unwanted = [by_key[i.key].mask for i in self._unwanted if i.key in by_key]
        taken = np.logical_or.reduce(unwanted) if unwanted else None
        found = [
            self._named_mask(key, by_key[key], taken) for key in self._members if key in by_key
        ]
        return MaskFrame(frame, tuple(found))

    def _named_mask(self, key: str, item: ObjectMask, taken: BoolMask | None) -> ObjectMask:
        """Return a mask under the name of its object, without the pixels that are taken away."""
        member = self._members[key]
        mask, confidence = item.mask, item.confidence
        if member.is_found and taken is not None:
            mask = mask & ~taken
            confidence = None if confidence is None else np.where(taken, np.uint8(0), confidence)
        return replace(
            item,
            object_id=member.name,
            object_index=self._index_of[key],
            mask=mask,
            confidence=confidence,
            concept=member.concept,
            detection_score=member.score,
        )


def _warn(which: str, names: Sequence[str]) -> None:
    """Warn of negative clicks that have no effect, if there are any."""
    if names:
        logger.warning("ignoring negative clicks %s, the first named %r", which, names[0])


def blank_doubles(late: Sequence[ObjectMask], others: Sequence[ObjectMask]) -> list[ObjectMask]:
    """Blank the masks of late objects on a frame where they are the same thing as another object.

    An object that is tracked backward to where it comes out from behind another one, or to another
    shot, may go on as that one.

    Args:
        late: What is tracked backward on the frame, the older objects first.
        others: What else is on it.
    """
    known = [_sampled(item.mask) for item in others]
    distinct = []
    for item in late:
        sample = _sampled(item.mask)
        is_double = any(_iou(sample, other) >= TWICE for other in known)
        distinct.append(_blank(item) if is_double else item)
        known.append(sample)
    return distinct


def _sampled(mask: BoolMask) -> BoolMask:
    """Return some rows and columns of a mask, which are enough to compare it and much faster."""
    steps = [max(1, length // MOST_SAMPLES) for length in mask.shape]
    return mask[:: steps[0], :: steps[1]]


def _iou(mask: BoolMask, other: BoolMask) -> float:
    return float((mask & other).sum() / max(1, (mask | other).sum()))


def _blank(item: ObjectMask) -> ObjectMask:
    confidence = None if item.confidence is None else np.zeros_like(item.confidence)
    mask = np.zeros_like(item.mask)
    return replace(item, mask=mask, confidence=confidence, object_score=0.0)


def _is_positive(prompts: Sequence[ObjectPrompt]) -> bool:
    return any(prompt.is_positive for prompt in prompts)


def _refined(item: Instance, prompts: Sequence[ObjectPrompt]) -> list[ObjectPrompt]:
    """Return the prompts of an instance: where it was found, and those that refine it.

    On the frame where it was found, clicks refine the box around it; a box or a mask replaces it.
    """
    by_frame = {item.frame_index: item.prompt}
    for prompt in prompts:
        box = prompt.box
        if prompt.frame_index == item.frame_index and prompt.mask is None:
            box = box or item.box
        by_frame[prompt.frame_index] = replace(prompt, object_id=item.key, box=box)
    return [by_frame[index] for index in sorted(by_frame)]


def _named(query: TextQuery, instances: Sequence[Instance]) -> dict[str, Instance]:
    """Name instances by their order of appearance, from left to right on a frame."""
    order = sorted(
        instances,
        key=lambda item: (
            item.frame_index,
            query.concepts.index(item.concept),
            item.box.x0 + item.box.x1,
            item.box.y0 + item.box.y1,
        ),
    )
    numbers: Counter[str] = Counter()
    named: dict[str, Instance] = {}
    for item in order:
        numbers[item.concept] += 1
        named[f"{item.concept}_{numbers[item.concept]}"] = item
    return named
