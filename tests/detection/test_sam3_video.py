"""SAM 3 whole, a frame at a time: what it shows, and what it keeps in memory."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import Sam3VideoModel
from transformers.models.sam3_video.modeling_sam3_video import Sam3VideoInferenceSession

from sam_video.detection.sam3_instances import Instance, InstanceMask
from sam_video.detection.sam3_masks import to_pixels
from sam_video.detection.sam3_session import Sam3Session
from sam_video.detection.sam3_video import Sam3, Sam3Video
from sam_video.errors import PromptError
from sam_video.types import Box, Click, ObjectPrompt
from tests.detection.scripted_sam3 import HEIGHT, WIDTH, Find, clip, run, scripted
from tests.detection.tiny_sam3 import SIDE

LEFT, RIGHT = Find(0.9, (0, 12)), Find(0.8, (20, 32))
EVERYWHERE = Find(0.9)


@pytest.fixture
def reconditioning(sam3: Sam3, monkeypatch: pytest.MonkeyPatch) -> Sam3:
    """The same, and every third frame is a conditioning frame of each object that is found."""
    monkeypatch.setattr(sam3.network, "recondition_every_nth_frame", 3)
    monkeypatch.setattr(sam3.network, "high_iou_thresh", 0.0)
    monkeypatch.setattr(sam3.network, "high_conf_thresh", 0.5)
    return sam3


class Reads:
    """All that memory attention is given while this is entered."""

    def __init__(self, sam3: Sam3) -> None:
        self._attention: Any = sam3.network.tracker_model.memory_attention
        self.given: list[tuple[Tensor, Tensor, int]] = []

    def __enter__(self) -> "Reads":
        def note(_module: Any, _args: Any, given: dict[str, Any]) -> None:
            memory, positions = given["memory"], given["memory_posision_embeddings"]
            self.given.append((memory, positions, given["num_object_pointer_tokens"]))

        self._hook = self._attention.register_forward_pre_hook(note, with_kwargs=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()

    def assert_equal(self, others: "Reads") -> None:
        assert len(self.given) == len(others.given) > 0
        for mine, other in zip(self.given, others.given, strict=True):
            assert torch.equal(mine[0], other[0])
            assert torch.equal(mine[1], other[1])
            assert mine[2] == other[2]


def busy(index: int, concept: str) -> list[Find]:
    """Two cats, soon taken for one; a dog that hot start removes; a bird from frame 10 on."""
    if concept == "cat":
        return [LEFT, RIGHT]
    if concept == "dog":
        return [EVERYWHERE] if index == 1 else []
    return [EVERYWHERE] if index >= 10 else []


def pointers_of_the_latest(network: Any) -> Callable[..., Any]:
    """Return what reads pointers as the original does, from a session that keeps everything."""
    tracker = network.tracker_model
    read = tracker._get_object_pointers

    def read_selected(session: Any, row: int, time: int, *others: Any) -> Any:
        outputs = session.output_dict_per_obj[row]
        conditioning, ordinary = outputs["cond_frame_outputs"], outputs["non_cond_frame_outputs"]
        selected, rest = tracker._select_closest_cond_frames(
            time, conditioning, tracker.config.max_cond_frame_num
        )
        session.output_dict_per_obj[row] = {
            "cond_frame_outputs": selected,
            "non_cond_frame_outputs": rest | ordinary,
        }
        found = read(session, row, time, *others)
        session.output_dict_per_obj[row] = outputs
        return found

    return read_selected


def test_a_pruned_session_reads_what_one_that_keeps_everything_reads(
    reconditioning: Sam3, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames, results = clip(24), []

    def followed() -> Reads:
        with scripted(reconditioning, busy), Reads(reconditioning) as reads:
            video = Sam3Video(reconditioning, ["cat", "dog", "bird"])

            def correct(index: int) -> None:
                if index == 6:
                    video.prompt(ObjectPrompt("", 6, clicks=(Click(40, 30, 0),)), 0)

            results.append(run(video, frames, after=correct))
        return reads

    pruned = followed()
    network: Any = reconditioning.network
    monkeypatch.setattr(Sam3Session, "prune", lambda *_: None)
    monkeypatch.setattr(
        network.tracker_model, "_get_object_pointers", pointers_of_the_latest(network)
    )
    kept = followed()

    pruned.assert_equal(kept)
    assert len(pruned.given) > 24
    for mine, other in zip(*results, strict=True):
        assert [item.instance for item in mine] == [item.instance for item in other]
        for one, same in zip(mine, other, strict=True):
            assert np.array_equal(one.mask, same.mask)
            assert one.presence == same.presence


def test_where_no_fault_shows_it_reads_what_transformers_reads_over_the_whole_video(
    sam3: Sam3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sam3.network, "recondition_every_nth_frame", 0)
    frames = clip(18)
    network: Any = sam3.network
    with scripted(sam3, lambda _, __: [LEFT, RIGHT]), Reads(sam3) as mine:
        run(Sam3Video(sam3, ["cat"]), frames)

    pixels = torch.stack([to_pixels(f.image, SIDE, torch.device("cpu")) for f in frames])
    session: Any = Sam3VideoInferenceSession(video=pixels, dtype=torch.float32)
    session.presence, session.unwanted = {}, set()
    with scripted(sam3, lambda _, __: [LEFT, RIGHT]), Reads(sam3) as whole:
        session.add_prompt("cat")
        session.prompt_input_ids[0], session.prompt_attention_masks[0] = sam3.encode("cat")
        for name in ("build_outputs", "run_tracker_propagation", "_tracker_add_new_objects"):
            original = getattr(Sam3VideoModel, name)
            monkeypatch.setattr(network, name, original.__get__(network))
        list(network.propagate_in_video_iterator(session, start_frame_idx=0))
    mine.assert_equal(whole)


def leaves(value: Any) -> Iterator[Any]:
    """Yield all that a value holds, in its attributes, dicts and lists."""
    if isinstance(value, Tensor) or not hasattr(value, "__dict__"):
        parts = value.values() if isinstance(value, dict) else value
    else:
        parts = vars(value).values()
    if isinstance(parts, Tensor | str) or not isinstance(parts, Iterable):
        yield parts
        return
    for part in parts:
        yield from leaves(part)


def size_of(session: Sam3Session) -> tuple[int, int]:
    """Return the bytes of a session's tensors, and the number of its values."""
    found = list(leaves(session))
    storages = {t.untyped_storage().data_ptr(): t for t in found if isinstance(t, Tensor)}
    return sum(t.untyped_storage().nbytes() for t in storages.values()), len(found)


def test_memory_does_not_grow_with_the_video(
    reconditioning: Sam3, monkeypatch: pytest.MonkeyPatch
) -> None:
    def false_finds(index: int, concept: str) -> list[Find]:
        """A cat throughout, and a dog that is born and removed again and again."""
        return [LEFT] if concept == "cat" else [RIGHT] if index % 9 == 0 else []

    monkeypatch.setattr("sam_video.detection.sam3_session.MAX_COUNTED", 9)
    sizes = []
    with scripted(reconditioning, false_finds):
        video = Sam3Video(reconditioning, ["cat", "dog"])

        def note(index: int) -> None:
            if index in (25, 43):
                video._session.prune(index)
                sizes.append(size_of(video._session))
                assert len(video._waiting) <= 15

        run(video, clip(44), after=note)
    assert video.instances.keys() == {0, 5}
    assert sizes[0] == sizes[1]


def test_a_frame_waits_until_hot_start_cannot_remove_what_is_on_it(sam3: Sam3) -> None:
    released = []
    with scripted(sam3, lambda _, __: [LEFT]):
        video = Sam3Video(sam3, ["cat"])
        for frame in clip(17):
            video.track(frame)
            released.append([ready.index for ready, _ in video.ready()])
        rest = [ready.index for ready, _ in video.ready(is_last=True)]
    assert released == [[]] * 14 + [[0], [1], [2]]
    assert rest == list(range(3, 17))


def test_instances_are_numbered_by_birth_in_every_video(sam3: Sam3) -> None:
    with scripted(sam3, lambda _, __: [LEFT]):
        for _ in range(2):
            video = Sam3Video(sam3, ["cat"])
            run(video, clip(3), after=lambda index: video.set_concepts(["cat", "dog"]))  # noqa: B023
            assert {n: i.concept for n, i in video.instances.items()} == {0: "cat", 1: "dog"}
            assert [i.score for i in video.instances.values()] == [pytest.approx(0.9)] * 2


def test_instances_that_appear_together_are_ordered_from_left_to_right(sam3: Sam3) -> None:
    with scripted(sam3, lambda _, __: [RIGHT, LEFT]):
        video = Sam3Video(sam3, ["cat"])
        shown = run(video, clip(1))[0]
    assert [found.instance.number for found in shown] == [1, 0]
    assert shown[0].mask[:, :30].all()
    assert not shown[0].mask[:, 40:].any()


def test_bfloat16_shows_nearly_the_same(sam3: Sam3, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    for dtype in (torch.float32, torch.bfloat16):
        monkeypatch.setattr(sam3, "dtype", dtype)
        with scripted(sam3, lambda index, _: [] if index else [LEFT]):
            video = Sam3Video(sam3, ["cat"])
            frames = run(
                video, clip(3), on_first(video, ObjectPrompt("", 0, box=Box(50, 5, 90, 60)))
            )
        shown.append(np.array([[found.mask for found in masks] for masks in frames]))
    exact, coarse = shown
    assert exact.shape == coarse.shape == (3, 2, HEIGHT, WIDTH)
    assert (exact != coarse).mean() < 0.05


def test_words_may_change_in_the_middle_of_a_video(sam3: Sam3) -> None:
    with scripted(sam3, lambda _, __: [EVERYWHERE]):
        video = Sam3Video(sam3, ["cat", "dog"])

        def change(index: int) -> None:
            if index == 1:
                video.set_concepts(["dog", "bird"])
            if index == 2:
                video.set_concepts(["cat"])

        shown = run(video, clip(4), after=change)
    concepts = [[found.instance.concept for found in masks] for masks in shown]
    assert concepts == [
        ["cat", "dog"],
        ["cat", "dog"],
        ["cat", "dog", "bird"],
        ["cat", "dog", "bird", "cat"],
    ]
    assert [found.instance.number for found in shown[3]] == [0, 1, 2, 3]


def test_a_concept_that_is_too_long_fails(sam3: Sam3) -> None:
    with pytest.raises(PromptError, match="expected 1 to 30"):
        Sam3Video(sam3, ["cat", "ball " * 31])


PROMPTS = {
    "click": ObjectPrompt("", 2, clicks=(Click(30, 20),)),
    "clicks": ObjectPrompt("", 2, clicks=(Click(30, 20), Click(60, 50, 0))),
    "box": ObjectPrompt("", 2, box=Box(10, 10, 50, 60)),
    "box and click": ObjectPrompt("", 2, clicks=(Click(60, 50, 0),), box=Box(10, 10, 50, 60)),
    "mask": ObjectPrompt("", 2, mask=np.arange(WIDTH) + np.zeros((HEIGHT, 1)) < 30),
}


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_prompts_state_objects_beside_words_on_any_frame(sam3: Sam3, prompt: ObjectPrompt) -> None:
    with scripted(sam3, lambda index, _: [] if index else [Find(0.9, (0, 4), (0, 4))]):
        video = Sam3Video(sam3, ["cat"])
        numbers = []

        def state(index: int) -> None:
            if index == 2:
                numbers.append(video.prompt(prompt))

        shown = run(video, clip(5), after=state)
    assert numbers == [1]
    assert [masks[-1].instance.number for masks in shown] == [0, 0, 1, 1, 1]
    stated = shown[2][-1]
    assert stated.instance == Instance(1, None, None)
    assert stated.mask.any()
    outputs = video._session.output_dict_per_obj[video._session.obj_id_to_idx(1)]
    assert list(outputs["cond_frame_outputs"]) == [2]
    if prompt.mask is not None:
        assert (stated.mask != prompt.mask).mean() < 0.02


def on_first(video: Sam3Video, prompt: ObjectPrompt) -> Callable[[int], None]:
    """Return what states an object on the first frame."""

    def state(index: int) -> None:
        if index == 0:
            video.prompt(prompt)

    return state


def test_hot_start_never_ends_what_a_prompt_states(sam3: Sam3) -> None:
    with scripted(sam3, lambda _, __: []):
        video = Sam3Video(sam3, ["cat"])
        shown = run(
            video,
            clip(12),
            after=on_first(video, ObjectPrompt("", 0, box=Box(0, 0, 40, 40))),
        )
    assert [len(masks) for masks in shown] == [1] * 12


def followed(
    sam3: Sam3, num_frames: int, corrected: int | None
) -> tuple[Sam3Video, list[list[InstanceMask]]]:
    """Follow a cat and a dog; correct the cat on a frame or on none."""
    with scripted(sam3, lambda _, concept: [LEFT] if concept == "cat" else [RIGHT]):
        video = Sam3Video(sam3, ["cat", "dog"])

        def correct(index: int) -> None:
            if index == corrected:
                video.prompt(ObjectPrompt("", index, clicks=(Click(10, 30, 0),)), 0)

        return video, run(video, clip(num_frames), after=correct)


@pytest.fixture(scope="module")
def uncorrected(loaded: Sam3) -> list[list[InstanceMask]]:
    return followed(loaded, 6, None)[1]


@pytest.mark.parametrize("frame", [0, 3], ids=["where it is born", "later"])
def test_a_correction_is_remembered_and_leaves_other_objects_alone(
    loaded: Sam3, uncorrected: list[list[InstanceMask]], frame: int
) -> None:
    video, shown = followed(loaded, 6, frame)

    conditioning = video._session.output_dict_per_obj[0]["cond_frame_outputs"]
    assert sorted(conditioning) == sorted({0, frame})
    for time, (before, after) in enumerate(zip(uncorrected, shown, strict=True)):
        assert [found.instance for found in before] == [found.instance for found in after]
        same = [
            np.array_equal(one.mask, other.mask) for one, other in zip(before, after, strict=True)
        ]
        assert same == [time < frame, *[True] * (len(same) - 1)]


def test_a_correction_starts_from_the_mask_that_it_corrects(sam3: Sam3) -> None:
    prompt = ObjectPrompt("", 0, clicks=(Click(10, 30, 0),))
    finds = {"cat": [LEFT], "dog": [RIGHT]}
    shown = []
    for word in ("cat", "dog"):
        with scripted(sam3, lambda _, concept: finds[concept]):
            video = Sam3Video(sam3, [word])
            video.track(clip(1)[0])
            video.prompt(prompt, 0)
            shown += [masks[0].mask for _, masks in video.ready(is_last=True)]
    cat, dog = shown
    assert not np.array_equal(cat, dog)


def test_a_box_or_a_mask_states_an_instance_anew(sam3: Sam3) -> None:
    shown = []
    for number in (None, 0):
        with scripted(sam3, lambda _, __: [LEFT]):
            video = Sam3Video(sam3, ["cat"])
            video.track(clip(1)[0])
            video.prompt(ObjectPrompt("", 0, box=Box(40, 10, 90, 50)), number)
            shown += [masks[-1].mask for _, masks in video.ready(is_last=True)]
    stated, restated = shown
    assert np.array_equal(stated, restated)


def test_an_instance_that_gave_way_to_a_prompt_comes_back_by_one_of_its_own(sam3: Sam3) -> None:
    mask = np.arange(WIDTH) + np.zeros((HEIGHT, 1)) < WIDTH * 12 / 32
    with scripted(sam3, lambda index, _: [] if index else [LEFT]):
        video = Sam3Video(sam3, ["cat"])

        def state(index: int) -> None:
            if index < 2:
                video.prompt(ObjectPrompt("", index, mask=mask), 0 if index else None)

        shown = run(video, clip(4), after=state)
    assert [[found.instance.number for found in masks] for masks in shown] == [[1], *[[0, 1]] * 3]


def test_what_a_prompt_states_is_not_found_as_well(sam3: Sam3) -> None:
    mask = np.arange(WIDTH) + np.zeros((HEIGHT, 1)) < WIDTH * 12 / 32
    with scripted(sam3, lambda _, __: [LEFT, RIGHT]):
        video = Sam3Video(sam3, ["cat"])
        shown = run(video, clip(3), after=on_first(video, ObjectPrompt("", 0, mask=mask)))
    assert [found.instance.concept for found in shown[0]] == ["cat", None]
    assert shown[0][0].mask[:, 70:].all()
    assert [len(masks) for masks in shown] == [2, 2, 2]


def test_what_one_prompt_corrects_no_other_takes_away(sam3: Sam3) -> None:
    mask = np.arange(WIDTH) + np.zeros((HEIGHT, 1)) < WIDTH * 12 / 32
    with scripted(sam3, lambda _, __: [LEFT, RIGHT]):
        video = Sam3Video(sam3, ["cat"])
        video.track(clip(1)[0])
        video.prompt(ObjectPrompt("", 0, mask=mask), 0)
        video.prompt(ObjectPrompt("", 0, mask=mask))
        shown = [masks for _, masks in video.ready(is_last=True)]
    assert [found.instance.number for found in shown[0]] == [0, 1, 2]


def test_a_hidden_instance_is_shown_on_no_frame_and_not_found_again(sam3: Sam3) -> None:
    with scripted(sam3, lambda _, __: [LEFT, RIGHT]):
        video = Sam3Video(sam3, ["cat"])

        def hide(index: int) -> None:
            if index == 2:
                numbers = video.found_at(Click(90, 5, 0), "cat") or [1]
                video.hide(numbers[0])

        shown = run(video, clip(4), after=hide)
    assert [len(masks) for masks in shown] == [1] * 4
    assert len(video.instances) == 2


def test_an_instance_is_found_by_a_point_on_it(sam3: Sam3) -> None:
    with scripted(sam3, lambda _, __: [LEFT, RIGHT]):
        video = Sam3Video(sam3, ["cat"])
        video.track(clip(1)[0])
        assert video.found_at(Click(0, 0), "cat") == [0]
        assert video.found_at(Click(WIDTH, HEIGHT), "cat") == [1]
        assert video.found_at(Click(WIDTH / 2, 0), "cat") == []
        assert video.found_at(Click(0, 0), "dog") == []


def test_unwanted_concepts_take_births_and_pixels(sam3: Sam3) -> None:
    def finds(_: int, concept: str) -> list[Find]:
        return (
            [Find(0.9, (10, 32), (0, 10))]
            if concept == "poster"
            else [
                Find(0.9, (0, 12)),
                Find(0.9, (20, 32), (0, 12)),
            ]
        )

    with scripted(sam3, finds):
        shown = run(Sam3Video(sam3, ["cat"], unwanted=["poster"]), clip(2))
    assert [len(masks) for masks in shown] == [1, 1]
    assert not shown[0][0].mask[:18, 33:].any()
    assert shown[0][0].mask[24:, :30].all()


@pytest.mark.parametrize(
    ("threshold", "scores", "born"),
    [(0.0, (0.4, 0.6, 0.8), 0.8), (0.25, (0.2, 0.3, 0.4), 0.4), (0.9, (0.8, 0.93, 0.96), 0.96)],
    ids=["its own", "low", "high"],
)
def test_a_birth_beside_others_takes_more_than_a_detection(
    sam3: Sam3, threshold: float, scores: tuple[float, ...], born: float
) -> None:
    def finds(index: int, concept: str) -> list[Find]:
        if concept == "dog":
            return [Find(0.99)]
        return [Find(s, (n * 10, n * 10 + 8)) for n, s in enumerate(scores)] if index else []

    with scripted(sam3, finds):
        video = Sam3Video(sam3, ["cat", "dog"], threshold=threshold)
        run(video, clip(2))
    found = [i.score for i in video.instances.values() if i.concept == "cat"]
    assert found == [pytest.approx(born)]


def test_where_nothing_is_tracked_any_detection_is_born(sam3: Sam3) -> None:
    with scripted(sam3, lambda _, __: [Find(0.6, (0, 8)), Find(0.3, (20, 30))]):
        video = Sam3Video(sam3, ["cat"])
        run(video, clip(1))
    assert [i.score for i in video.instances.values()] == [pytest.approx(0.6)]


def test_of_too_many_instances_the_surest_are_kept(sam3: Sam3) -> None:
    with scripted(sam3, lambda _, __: [RIGHT, LEFT, Find(0.85, (14, 18))]):
        video = Sam3Video(sam3, ["cat"], max_objects=2)
        video.track(clip(1)[0])
        video.prompt(ObjectPrompt("", 0, box=Box(0, 0, 9, 9)))
        run(video, clip(3)[1:])
    scores = [i.score for i in video.instances.values() if i.score is not None]
    assert scores == [pytest.approx(0.9), pytest.approx(0.85)]
