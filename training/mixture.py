"""What the clips of a run are made of: photos, real sequences and drawn scenes, by turns."""

from dataclasses import dataclass

import numpy as np

from training.compose import Clip, compose_clip
from training.photos import PhotoLibrary
from training.scenes import compose_scene
from training.videos import VideoLibrary

_VIDEO_SHARE = 0.45
_SCENE_SHARE = 0.25
_SINGLE_VIDEO_SHARE = 0.25
"""Of clips of one frame: photos show more kinds of things than the sequences do."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """The sources of clips. Without any, shapes are drawn."""

    photos: PhotoLibrary | None = None
    videos: VideoLibrary | None = None

    def draw_clip(
        self, rng: np.random.Generator, *, length: int, size: int, max_targets: int = 4
    ) -> Clip:
        """Draw a source and a clip of it; every draw comes from `rng`."""
        video_share = _SINGLE_VIDEO_SHARE if length == 1 else _VIDEO_SHARE
        draw = rng.random()
        if self.videos is not None and draw < video_share:
            return self.videos.draw_clip(
                rng, self.photos, length=length, size=size, max_targets=max_targets
            )
        compose = compose_scene if draw > 1 - _SCENE_SHARE else compose_clip
        return compose(rng, self.photos, length=length, size=size, max_targets=max_targets)
