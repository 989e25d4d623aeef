"""How a composed clip is lit and recorded: exposure that drifts, blur, noise, compression."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sam_video.types import RGBImage
from training.motion import Floats, smooth_walk

Frames = npt.NDArray[np.uint8]


def tint(rng: np.random.Generator, image: RGBImage) -> RGBImage:
    """Change a layer's exposure, contrast and colour balance a little."""
    gain = np.exp(rng.normal(0, 0.12) + rng.normal(0, 0.05, 3))
    offset = rng.normal(0, 10)
    levels = np.arange(256)[:, None] * gain + offset
    table = np.clip(levels, 0, 255).astype(np.uint8).reshape(1, 256, 3)
    return np.asarray(cv2.LUT(image, table))


@dataclass(frozen=True, slots=True, eq=False)
class Lighting:
    """How every frame of a clip is lit and recorded."""

    gains: Floats
    """`(T,)` exposure."""
    gamma: float
    blur: float
    """Deviation in pixels; 0 is none."""
    sharpness: float
    """Strength of unsharp masking; 0 is none."""
    streak: npt.NDArray[np.float32] | None
    """Kernel of motion blur."""
    noise: float
    """Deviation in grey levels."""
    noise_seed: int
    jpeg_quality: int | None
    is_grey: bool

    def apply(self, frames: Frames) -> Frames:
        """Light and record `(T, S, S, 3)` frames."""
        noise = np.random.default_rng(self.noise_seed)
        return np.stack(
            [
                self._compress(self._add_noise(self._focus(self._expose(frame, gain)), noise))
                for frame, gain in zip(frames, self.gains, strict=True)
            ]
        )

    def _expose(self, frame: RGBImage, gain: float) -> RGBImage:
        levels = 255 * np.clip(np.arange(256) / 255 * gain, 0, 1) ** self.gamma
        exposed = cv2.LUT(frame, levels.astype(np.uint8))
        if self.is_grey:
            exposed = cv2.cvtColor(cv2.cvtColor(exposed, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        return np.asarray(exposed, dtype=np.uint8)

    def _focus(self, frame: RGBImage) -> RGBImage:
        if self.blur:
            frame = np.asarray(cv2.GaussianBlur(frame, (0, 0), self.blur), dtype=np.uint8)
        if self.sharpness:
            soft = cv2.GaussianBlur(frame, (0, 0), 1.0)
            sharp = cv2.addWeighted(frame, 1 + self.sharpness, soft, -self.sharpness, 0)
            frame = np.asarray(sharp, dtype=np.uint8)
        if self.streak is not None:
            frame = np.asarray(cv2.filter2D(frame, -1, self.streak), dtype=np.uint8)
        return frame

    def _add_noise(self, frame: RGBImage, rng: np.random.Generator) -> RGBImage:
        if not self.noise:
            return frame
        grain = rng.standard_normal(frame.shape, dtype=np.float32) * np.float32(self.noise)
        return np.clip(frame + grain, 0, 255).astype(np.uint8)

    def _compress(self, frame: RGBImage) -> RGBImage:
        if self.jpeg_quality is None:
            return frame
        _, code = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, self.jpeg_quality])
        return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), dtype=np.uint8)


def draw_lighting(rng: np.random.Generator, length: int) -> Lighting:
    """Draw how a clip of `length` frames is lit and recorded."""
    focus = rng.random()  # enlarged photos are soft, shrunk frames of videos are not
    return Lighting(
        gains=np.exp(rng.normal(0, 0.1) + smooth_walk(rng, length, rng.uniform(0, 0.15))),
        gamma=float(np.exp(rng.normal(0, 0.15))),
        blur=rng.uniform(0.3, 1.4) if focus < 0.25 else 0.0,
        sharpness=rng.uniform(0.2, 1.5) if focus > 0.5 else 0.0,
        streak=_draw_streak(rng) if rng.random() < 0.1 else None,
        noise=rng.uniform(2, 12) if rng.random() < 0.3 else 0.0,
        noise_seed=int(rng.integers(2**31)),
        jpeg_quality=int(rng.integers(25, 90)) if rng.random() < 0.3 else None,
        is_grey=bool(rng.random() < 0.04),
    )


def _draw_streak(rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Draw the kernel of a camera that shakes along a line."""
    side = int(rng.integers(3, 10))
    kernel = np.zeros((side, side), np.float32)
    x, y = (int(end) for end in rng.integers(0, side, 2))
    cv2.line(kernel, (x, y), (side - 1 - x, side - 1 - y), 1)
    return np.asarray(kernel / kernel.sum(), dtype=np.float32)
