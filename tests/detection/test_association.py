"""Which detections are new objects, and which objects are false: by plain masks, no network."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from sam_video import rle
from sam_video.detection.association import Association, Found
from sam_video.detection.query import TextQuery
from sam_video.types import BoolMask, Box, Changes, Click
from tests.detection.scripted import ScriptedDetector

H, W = 40, 100


def square(left: float, width: int = 20, top: int = 10) -> BoolMask:
    """Draw a square, or a rectangle of another width."""
    mask = np.zeros((H, W), dtype=bool)
    mask[top : top + 20, max(0, int(left)) : int(left) + width] = True
    return mask


def found(mask: BoolMask, score: float = 0.9, concept: str = "person") -> Found:
    """Return a detection of a mask."""
    x, y, width, height = rle.bbox_xywh(rle.encode(mask))
    return Found(concept, score, Box(x, y, x + width, y + height), rle.encode(mask))


def association(given: Sequence[str] = (), **fields: Any) -> Association:
    """Look for people, with a threshold of 0.5."""
    query = {"concepts": ("person",)} | fields
    return Association(TextQuery(ScriptedDetector(lambda _: ()), **query), given)


class Clip:
    """Rounds of one association, with the masks that a tracker would have on them.

    Each object stays where it was born, unless the test moves it.
    """

    def __init__(self, association: Association) -> None:
        self.association = association
        self.masks: dict[str, BoolMask] = {}
        self._time = -1

    def look(self, *detections: Found) -> list[str]:
        """Run a round; return the objects that are new."""
        self._time += 1
        visible = {name: rle.encode(mask) for name, mask in self.masks.items()}
        changes = self.association.decide(self._time, visible, detections)
        for name in changes.removals:
            del self.masks[name]
        for prompt in changes.births:
            born = self.association.instances[prompt.object_id]
            self.masks[born.key] = rle.decode(born.mask)
        return [prompt.object_id for prompt in changes.births]

    @property
    def believed(self) -> list[str]:
        """Return the objects that would be shown."""
        return [item.key for item in self.association.believed()]


def test_everything_that_is_found_on_the_first_frame_is_an_object() -> None:
    clip = Clip(association())
    assert len(clip.look(found(square(0)), found(square(50), score=0.5))) == 2
    assert len(clip.believed) == 2


def test_what_is_found_again_is_no_new_object() -> None:
    clip = Clip(association())
    clip.look(found(square(0)))
    for shift in (0, 2, 5):
        assert clip.look(found(square(shift))) == []
    assert len(clip.believed) == 1


def test_a_sure_detection_of_nothing_that_is_tracked_is_a_new_object() -> None:
    clip = Clip(association())
    clip.look(found(square(0)))
    (late,) = clip.look(found(square(0)), found(square(50), score=0.71))
    assert late not in clip.believed
    clip.look(found(square(0)), found(square(50)))
    assert late in clip.believed


@pytest.mark.parametrize(
    ("threshold", "least"), [(0.5, 0.7), (0.2, 0.28), (0.9, 0.99), (1.0, 1.0)], ids=str
)
def test_later_an_object_is_new_from_1_4_times_the_threshold(
    threshold: float, least: float
) -> None:
    clip = Clip(association(threshold=threshold))
    clip.look()
    assert clip.look(found(square(0), score=least - 0.005)) == []
    assert len(clip.look(found(square(0), score=least))) == 1


def test_a_detection_that_overlaps_an_object_of_its_concept_is_not_new() -> None:
    clip = Clip(association())
    clip.look(found(square(0)))
    assert clip.look(found(square(0)), found(square(15))) == []
    assert len(clip.look(found(square(0)), found(square(19)))) == 1


def test_an_object_that_no_round_confirms_is_not_believed() -> None:
    clip = Clip(association())
    clip.look(found(square(0)))
    clip.look(found(square(0)), found(square(50)))
    assert len(clip.believed) == 1


def test_a_false_alarm_goes_after_two_rounds_without_it() -> None:
    clip = Clip(association())
    clip.look(found(square(0)), found(square(50)))
    clip.look(found(square(0)))
    assert len(clip.masks) == 2
    clip.look(found(square(0)))
    assert len(clip.masks) == 1
    assert clip.believed == list(clip.masks)


def test_an_object_may_be_missed_once_in_its_probation_and_always_after_it() -> None:
    clip = Clip(association())
    (name,) = clip.look(found(square(0)))
    for detections in ([], [found(square(0))], [found(square(0))], [], [], []):
        clip.look(*detections)
    assert clip.believed == [name]


def test_rounds_in_which_an_object_is_hidden_from_view_do_not_count() -> None:
    clip = Clip(association())
    (name,) = clip.look(found(square(0)))
    mask = clip.masks.pop(name)
    for _ in range(3):
        clip.look()
    clip.masks[name] = mask
    clip.look(found(square(0)))
    assert clip.believed == [name]


def test_of_two_objects_on_one_detection_the_older_stays() -> None:
    clip = Clip(association())
    (older,) = clip.look(found(square(0)))
    (younger,) = clip.look(found(square(0)), found(square(50)))
    clip.masks[younger] = square(4)  # it has moved onto the older one, and fits it less than 0.7
    for _ in range(2):
        clip.look(found(square(3)))
    assert list(clip.masks) == [older]


def test_of_two_objects_that_are_one_thing_the_younger_goes_at_once() -> None:
    clip = Clip(association())
    (older,) = clip.look(found(square(0)))
    (younger,) = clip.look(found(square(0)), found(square(50)))
    clip.masks[younger] = square(1)
    clip.look(found(square(0)))
    assert list(clip.masks) == [older]
    assert younger not in clip.association.instances


def test_two_objects_that_cross_both_stay() -> None:
    clip = Clip(association())
    names = clip.look(found(square(0)), found(square(60)))
    for _ in range(3):
        clip.look(found(square(0)), found(square(60)))
    clip.masks = dict.fromkeys(names, square(30))
    assert clip.look(found(square(30))) == []
    clip.masks = {names[0]: square(60), names[1]: square(0)}
    assert clip.look(found(square(0)), found(square(60))) == []
    assert clip.believed == names


def test_the_best_pairs_decide_where_detections_are_near_two_objects() -> None:
    clip = Clip(association())
    names = clip.look(found(square(0)), found(square(20)))
    for _ in range(4):
        assert clip.look(found(square(6)), found(square(26))) == []
    assert clip.believed == names


def test_keys_are_never_used_again() -> None:
    clip = Clip(association())
    seen = clip.look(found(square(0)))
    for _ in range(3):
        for detections in ([], [], [found(square(0))]):
            seen += clip.look(*detections)
    assert len(seen) > 2
    assert len(set(seen)) == len(seen)


def test_an_object_of_a_prompt_is_not_found_again() -> None:
    clip = Clip(association(given=["bob"]))
    clip.masks["bob"] = square(0)
    (name,) = clip.look(found(square(5)), found(square(50)))
    assert clip.believed == [name]


def test_something_on_an_object_of_a_prompt_may_be_found() -> None:
    clip = Clip(association(given=["hat"]))
    clip.masks["hat"] = square(0, width=8)
    assert len(clip.look(found(square(0)))) == 1


def test_what_was_found_goes_where_a_prompt_names_it_later() -> None:
    clip = Clip(association(given=["bob"]))
    clip.look(found(square(0)))
    for _ in range(5):
        clip.look(found(square(0)))
    clip.masks = {"bob": square(1)} | clip.masks
    clip.look(found(square(0)))
    assert list(clip.masks) == ["bob"]


def test_a_key_is_never_the_name_of_a_prompts_object() -> None:
    clip = Clip(association(given=["found 1"]))
    assert clip.look(found(square(0))) == ["found 2"]


def test_a_thing_that_two_concepts_name_is_found_once() -> None:
    clip = Clip(association(concepts=("person", "man")))
    man = found(square(1), 0.8, "man")
    assert len(clip.look(found(square(0)), man)) == 1
    assert clip.look(found(square(0)), man) == []


def test_a_part_of_an_object_of_another_concept_is_an_object() -> None:
    clip = Clip(association(concepts=("person", "shirt")))
    shirt = found(square(0, width=12), 0.8, "shirt")
    assert len(clip.look(found(square(0)), shirt)) == 2
    for _ in range(3):
        assert clip.look(found(square(0)), shirt) == []
    assert len(clip.believed) == 2


def test_an_object_that_the_detector_calls_by_another_name_is_not_missed() -> None:
    clip = Clip(association(concepts=("person", "man")))
    (name,) = clip.look(found(square(0)))
    for _ in range(3):
        assert clip.look(found(square(1), 0.9, "man")) == []
    assert clip.believed == [name]
    assert clip.association.instances[name].concept == "person"


def test_a_false_object_on_one_of_another_concept_is_missed() -> None:
    clip = Clip(association(concepts=("person", "man")))
    false, man = clip.look(found(square(0)), found(square(5), 0.8, "man"))
    for _ in range(2):
        clip.look(found(square(5), 0.8, "man"))
    assert list(clip.masks) == [man]
    assert false not in clip.association.instances


def test_what_a_negative_concept_names_is_not_found() -> None:
    clip = Clip(association(negative_concepts=("woman",)))
    woman = found(square(2), 0.55, "woman")
    names = clip.look(found(square(0)), found(square(50)), woman)
    concepts = [clip.association.instances[name].concept for name in names]
    assert concepts == ["person", "woman"]
    assert clip.look(found(square(0)), found(square(50))) == []  # it is tracked, and known by that


def test_a_new_object_that_a_negative_concept_names_later_is_excluded() -> None:
    clip = Clip(association(negative_concepts=("woman",)))
    (name,) = clip.look(found(square(0)))
    clip.look(found(square(0)), found(square(0), 0.9, "woman"))
    assert name not in clip.believed
    for _ in range(3):
        assert clip.look(found(square(0))) == []


def click_at(association: Association, masks: Mapping[str, BoolMask], x: float) -> None:
    association.exclude(masks, [("person", Click(x, 15, 0))])


def test_what_a_click_excludes_is_not_found_again() -> None:
    clip = Clip(association())
    left, right = clip.look(found(square(0)), found(square(50)))
    click_at(clip.association, clip.masks, 5)
    for _ in range(4):
        assert clip.look(found(square(0)), found(square(50))) == []
    assert clip.believed == [right]
    assert left in clip.masks


def test_a_click_beside_all_instances_excludes_none() -> None:
    clip = Clip(association(given=["bob"]))
    clip.masks["bob"] = square(0)
    (name,) = clip.look(found(square(50)))
    click_at(clip.association, clip.masks, 5)
    click_at(clip.association, clip.masks, 40)
    assert clip.believed == [name]


def test_no_more_than_max_objects_are_kept_and_those_the_surest() -> None:
    clip = Clip(association(max_objects=2))
    first = clip.look(*(found(square(25 * n), 0.6 + n / 10) for n in range(3)))
    assert [clip.association.instances[name].score for name in first] == [0.7, 0.8]
    again = [found(square(25 * n), 0.6 + n / 10) for n in (1, 2)]
    assert clip.look(*again, found(square(75), 0.72)) != []
    scores = sorted(item.score for item in clip.association.instances.values())
    assert scores == [0.72, 0.8]


def test_excluded_instances_do_not_count_among_the_most() -> None:
    clip = Clip(association(max_objects=1))
    (name,) = clip.look(found(square(0)), found(square(50), 0.6))
    click_at(clip.association, clip.masks, 5)
    (other,) = clip.look(found(square(0)), found(square(50), 0.8))
    clip.look(found(square(0)), found(square(50)))
    assert (name in clip.believed, other in clip.believed) == (False, True)


def test_the_score_of_an_object_is_its_best() -> None:
    clip = Clip(association())
    (name,) = clip.look(found(square(0), 0.6))
    clip.look(found(square(0), 0.95))
    clip.look(found(square(0), 0.7))
    assert clip.association.instances[name].score == 0.95


def test_a_mask_of_the_detector_is_the_prompt_and_else_its_box() -> None:
    with_mask = Found("person", 0.9, Box(0, 10, 20, 30), rle.encode(square(0)), has_own_mask=True)
    changes = association().decide(0, {}, [with_mask, found(square(50))])
    assert [prompt.mask is None for prompt in changes.births] == [False, True]
    assert [prompt.box for prompt in changes.births] == [None, Box(50, 10, 70, 30)]


def test_the_same_detections_give_the_same_objects() -> None:
    rounds: list[list[Changes]] = []
    for _ in range(2):
        looked = association()
        generator = np.random.default_rng(0)
        rounds.append([])
        masks: dict[str, rle.CocoRle] = {}
        for time in range(30):
            lefts = generator.integers(0, 80, 4)
            items = [found(square(x), round(float(generator.random()), 2)) for x in lefts]
            changes = looked.decide(time, masks, sorted(items, key=lambda item: -item.score))
            masks = {key: item.mask for key, item in looked.instances.items()}
            rounds[-1].append(changes)
    for one, other in zip(*rounds, strict=True):
        assert [p.object_id for p in one.births] == [p.object_id for p in other.births]
        assert one.removals == other.removals
