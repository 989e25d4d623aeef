"""Segment a video with SAM 3 whole, in place of the tracker of SAM 2."""

from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

from sam_video.detection.sam3_instances import Instance, InstanceMask
from sam_video.detection.sam3_video import Sam3Video
from sam_video.errors import frame_outside_error
from sam_video.types import Frame, FrameSource, MaskFrame, ObjectMask, ObjectPrompt


def default_name(concept: str, number: int) -> str:
    """Return the name of the first, second, … instance of a concept: `person_1`."""
    return f"{concept}_{number}"


def segment_with_sam3(
    video: Sam3Video,
    source: FrameSource,
    prompts: Sequence[ObjectPrompt] = (),
    *,
    with_confidences: bool = False,
    name: Callable[[str, int], str] = default_name,
    on_instance: Callable[[str, Instance], None] = lambda _name, _instance: None,
) -> Generator[MaskFrame, None, None]:
    """Yield every frame of a video with the masks of what words find and prompts state.

    A prompt with the name of an instance that is there on its frame corrects that instance; one of
    background clicks alone that has a concept's name takes away the instances under its clicks;
    any other states an object of its own, from its frame on, which words do not find once more.
    Frames come 15 later than they are read, and nothing is tracked backward.

    Args:
        video: New, with the words to look for.
        source: The frames; they are read once.
        prompts: At most one per object and frame.
        with_confidences: Give `ObjectMask.confidence` too.
        name: Returns the name of a concept's instance with this number, from 1 in the order of
            appearance, left to right on a frame.
        on_instance: Called with the name of each object, before a frame shows it.

    Returns:
        Of each object: `object_score`, the probability that it is visible on the frame, and
        `predicted_iou`, the detector's score at its birth, since SAM 3 estimates no IoU for it.

    Raises:
        PromptError: A prompt is on a frame that the video does not have.
    """
    by_frame = _by_frame(prompts, source)
    names = _Names(name, on_instance)
    for frame in source.frames():
        video.track(frame)
        for prompt in by_frame.get(frame.index, ()):
            _apply(video, names, prompt)
        for ready in video.ready(with_confidences=with_confidences):
            yield names.named(*ready)
    for ready in video.ready(is_last=True, with_confidences=with_confidences):
        yield names.named(*ready)


def _by_frame(
    prompts: Iterable[ObjectPrompt], source: FrameSource
) -> Mapping[int, list[ObjectPrompt]]:
    """Group prompts by frame, and check that the video has those frames."""
    by_frame: dict[int, list[ObjectPrompt]] = defaultdict(list)
    for prompt in prompts:
        by_frame[prompt.frame_index].append(prompt)
    if by_frame:
        num_frames = source.count_frames(max(by_frame) + 1)
        outside = [index for index in by_frame if index >= num_frames]
        if outside:
            raise frame_outside_error("frame_index", min(outside), num_frames)
    return by_frame


def _apply(video: Sam3Video, names: "_Names", prompt: ObjectPrompt) -> None:
    number = names.find(prompt.object_id, video.instances.values())
    if number is not None or prompt.is_positive:
        number = video.prompt(prompt, number)
        names.give(video.instances[number], prompt.object_id)
        return
    for click in prompt.clicks:
        for excluded in video.found_at(click, prompt.object_id):
            video.hide(excluded)


class _Names:
    """The names of instances, given when they are first shown or corrected."""

    def __init__(
        self, name: Callable[[str, int], str], on_instance: Callable[[str, Instance], None]
    ) -> None:
        self._name = name
        self._on_instance = on_instance
        self._names: dict[int, tuple[int, str]] = {}
        self._numbers: dict[str, int] = {}
        self._counts: Counter[str] = Counter()

    def find(self, name: str, instances: Iterable[Instance]) -> int | None:
        """Return the instance that has a name, or that would be given it next."""
        if name in self._numbers:
            return self._numbers[name]
        counts = self._counts.copy()
        for instance in instances:
            is_unnamed = instance.concept is not None and instance.number not in self._names
            if is_unnamed and self._next(str(instance.concept), counts) == name:
                return instance.number
        return None

    def _next(self, concept: str, counts: Counter[str]) -> str:
        counts[concept] += 1
        while (name := self._name(concept, counts[concept])) in self._numbers:
            counts[concept] += 1
        return name

    def give(self, instance: Instance, name: str) -> None:
        """Give an instance this name."""
        if instance.number not in self._names:
            self._names[instance.number] = len(self._names), name
            self._numbers[name] = instance.number
            self._on_instance(name, instance)

    def named(self, frame: Frame, masks: Iterable[InstanceMask]) -> MaskFrame:
        """Return a frame with its instances by name, in the order in which they got it."""
        objects = []
        for found in masks:
            instance = found.instance
            if instance.number not in self._names:
                assert instance.concept is not None
                self.give(instance, self._next(instance.concept, self._counts))
            objects.append(self._object_mask(found))
        return MaskFrame(frame, tuple(sorted(objects, key=lambda item: item.object_index)))

    def _object_mask(self, found: InstanceMask) -> ObjectMask:
        index, name = self._names[found.instance.number]
        return ObjectMask(
            name,
            index,
            found.mask,
            found.presence,
            found.instance.score,
            found.confidence,
        )
