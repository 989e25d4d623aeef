"""A tiny SAM 3 whose detector follows a script, so that births and matches can be told."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from pytest import MonkeyPatch
from torch import Tensor

from sam_video.detection.sam3_instances import InstanceMask
from sam_video.detection.sam3_video import Sam3, Sam3Video
from sam_video.types import Frame
from tests.clips import draw_frame
from tests.detection.tiny_sam3 import LOW_SIDE

Script = Callable[[int, str], Sequence["Find"]]
"""What the detector finds of a concept on the frame of this index."""

HEIGHT, WIDTH = 64, 96
"""Of the frames."""


@dataclass(frozen=True)
class Find:
    """A rectangle of the `LOW_SIDE` columns and rows of the network's masks."""

    score: float
    columns: tuple[int, int] = (0, LOW_SIDE)
    rows: tuple[int, int] = (0, LOW_SIDE)

    @property
    def logits(self) -> Tensor:
        """5 inside and -5 outside, `(LOW_SIDE, LOW_SIDE)`."""
        logits = torch.full((LOW_SIDE, LOW_SIDE), -5.0)
        logits[slice(*self.rows), slice(*self.columns)] = 5
        return logits


@contextmanager
def scripted(sam3: Sam3, script: Script) -> Iterator[None]:
    """Let a script take the place of the detector's heads; the image is still encoded."""
    detector: Any = sam3.network.detector_model
    encode, seen = detector.get_vision_features, []
    texts: dict[tuple[int, ...], str] = {}
    tokenize = sam3.encode

    def encode_text(concept: str) -> tuple[Tensor, Tensor]:
        tokens, mask = tokenize(concept)
        texts[tuple(tokens[0].tolist())] = concept
        return tokens, mask

    def see(**given: Any) -> Any:
        seen.append(given)
        return encode(**given)

    def find(text_embeds: Tensor, **_: Any) -> SimpleNamespace:
        finds = script(len(seen) - 1, texts[tuple(text_embeds[0].tolist())])
        nothing = Find(1e-6, (0, 0))
        rows = [*finds, nothing]
        scores = torch.tensor([row.score for row in rows])
        return SimpleNamespace(
            pred_logits=scores.logit()[None],
            presence_logits=torch.full((1, 1), 30.0),
            pred_masks=torch.stack([row.logits for row in rows])[None],
            pred_boxes=torch.zeros(1, len(rows), 4),
        )

    with MonkeyPatch.context() as patch:
        patch.setattr(sam3, "encode", encode_text)
        patch.setattr(detector, "get_vision_features", see)
        patch.setattr(detector, "get_text_features", lambda input_ids, **_: input_ids)
        patch.setattr(detector, "forward", find)
        yield


def clip(num_frames: int) -> list[Frame]:
    """Return the first frames of the drawn clip."""
    return [Frame(i, i / 24, draw_frame(i, (WIDTH, HEIGHT))[0]) for i in range(num_frames)]


def run(
    video: Sam3Video, frames: Sequence[Frame], after: Callable[[int], None] = lambda _: None
) -> list[list[InstanceMask]]:
    """Return the instances on each frame; `after` is called once a frame is tracked."""
    shown = []
    for frame in frames:
        video.track(frame)
        after(frame.index)
        shown += [masks for _, masks in video.ready()]
    return shown + [masks for _, masks in video.ready(is_last=True)]
