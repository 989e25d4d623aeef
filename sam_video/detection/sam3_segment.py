"""Segment a video with SAM 3 whole, in place of the tracker of SAM 2."""

from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing

from sam_video.detection.sam3_instances import Instance, InstanceMask
from sam_video.detection.sam3_video import Sam3Video
from sam_video.errors import frame_outside_error
from sam_video.types import Frame, FrameSource, MaskFrame, ObjectMask, ObjectPrompt


def segment_with_sam3(
    video: Sam3Video,
    source: FrameSource,
    prompts: Sequence[ObjectPrompt] = (),
    *,
    with_confidences: bool = False,
) -> Generator[MaskFrame, None, None]:
    """Yield every frame of a video with the masks of what words find and prompts state.

    A prompt with the name of an instance that is there on its frame corrects that instance; one of
    background clicks alone that has a concept's name takes away the instances under its clicks;
    any other states an object of its own, from its frame on, which words do not find once more.
    Frames come 15 later than they are read, and nothing is tracked backward.

    Instances are named `{concept}_1`, `{concept}_2`, … in the order in which they appear, and from
    left to right where they appear on the same frame. Their `predicted_iou` is the detector's score
    at their birth, since SAM 3 gives no other.

    Args:
        video: New, with the words to look for.
        source: The frames; they are read once.
        prompts: At most one per object and frame.
        with_confidences: Give `ObjectMask.confidence` too.

    Raises:
        PromptError: A prompt is on a frame that the video does not have.
    """
    by_frame = _by_frame(prompts, source)
    names = _Names()
    with closing(source.frames()) as frames:
        for frame in frames:
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

    def __init__(self) -> None:
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
        while (name := f"{concept}_{counts[concept]}") in self._numbers:
            counts[concept] += 1
        return name

    def give(self, instance: Instance, name: str) -> None:
        """Give an instance this name."""
        if instance.number not in self._names:
            self._names[instance.number] = len(self._names), name
            self._numbers[name] = instance.number

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
        instance = found.instance
        index, name = self._names[instance.number]
        return ObjectMask(
            object_id=name,
            object_index=index,
            mask=found.mask,
            object_score=found.presence,
            predicted_iou=1.0 if instance.score is None else instance.score,
            confidence=found.confidence,
            concept=instance.concept,
            detection_score=instance.score,
        )
