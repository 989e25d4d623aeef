"""Smooth random motion: where a layer of a composed clip lies on every frame."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def smooth_walk(rng: np.random.Generator, length: int, reach: float) -> Floats:
    """Return `(length,)` values that begin at 0 and stray about `reach` from there.

    A drift plus a swing, so that paths both leave and come back.
    """
    time = np.linspace(0, 1, length) if length > 1 else np.zeros(1)
    drift, swing = rng.normal(0, 0.6, 2)
    phase, cycles = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 2.0)
    path = drift * time + swing * np.sin(2 * np.pi * cycles * time + phase)
    return np.asarray(reach * (path - path[0]))


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """The way from pixels of the frame to pixels of a layer, for every frame of a clip."""

    focus: Floats
    """`(T, 2)` the layer's point (x, y) that is shown at `anchor`."""
    anchor: Floats
    """`(T, 2)` the frame's point (x, y)."""
    step: Floats
    """`(T, 2)` layer pixels per frame pixel in x and y; negative mirrors."""
    angle: Floats
    """`(T,)` radians."""
    shear: Floats
    """`(T,)`."""

    def matrix(self, frame_index: int) -> Floats:
        """Return the `(2, 3)` affine map from frame pixels to layer pixels."""
        cos, sin = np.cos(self.angle[frame_index]), np.sin(self.angle[frame_index])
        turn = np.array([[cos, -sin], [sin, cos]])
        slant = np.array([[1, self.shear[frame_index]], [0, 1]])
        linear = np.diag(self.step[frame_index]) @ turn @ slant
        offset = self.focus[frame_index] - linear @ self.anchor[frame_index]
        return np.column_stack([linear, offset])

    def around(self, point: Floats) -> "Placement":
        """Return the same placement with a point (x, y) of the layer as its focus on all frames."""
        anchor = []
        for frame_index in range(len(self.angle)):
            matrix = self.matrix(frame_index)
            anchor.append(np.linalg.solve(matrix[:, :2], point - matrix[:, 2]))
        return replace(self, focus=np.tile(point, (len(anchor), 1)), anchor=np.stack(anchor))

    def moved(self, rng: np.random.Generator, reach: Floats, pace: float) -> "Placement":
        """Let a layer move on its own: travel, come nearer, turn to the side, tilt and lean.

        Args:
            rng: Draws the movement.
            reach: How far it travels in x and y, in pixels of the frame.
            pace: Amount of all other motion; 0 is none.
        """
        length = len(self.angle)
        travel = np.stack([smooth_walk(rng, length, side) for side in reach], axis=1)
        growth, turn = (np.exp(smooth_walk(rng, length, pace * most)) for most in (0.3, 0.15))
        return replace(
            self,
            anchor=self.anchor + travel,
            step=self.step * growth[:, None] * np.stack([turn, np.ones(length)], axis=1),
            angle=self.angle + smooth_walk(rng, length, pace * 0.25),
            shear=self.shear + smooth_walk(rng, length, pace * 0.15),
        )


def whole_view(
    length: int, source_hw: tuple[int, ...], size: int, *, is_mirrored: bool = False
) -> Placement:
    """Show all of a picture on every frame, squeezed into a square as the tracker does it."""
    source = np.array(source_hw[::-1], dtype=np.float64)
    mirror = np.array([-1 if is_mirrored else 1, 1])
    return Placement(
        focus=np.tile((source - 1) / 2, (length, 1)),
        anchor=np.full((length, 2), (size - 1) / 2),
        step=np.tile(mirror * source / size, (length, 1)),
        angle=np.zeros(length),
        shear=np.zeros(length),
    )


def camera_path(
    rng: np.random.Generator, length: int, source_hw: tuple[int, ...], size: int, pace: float
) -> Placement:
    """Pan, turn and zoom a window over a photo; the window is squeezed into a square frame.

    Args:
        rng: Draws the path.
        length: Number of frames.
        source_hw: The photo's height and width in pixels.
        size: Side of the square frame in pixels.
        pace: Amount of motion; 0 is a still camera.
    """
    source = np.array(source_hw[::-1], dtype=np.float64)
    window = _draw_window(rng, source)
    start = window / 2 + rng.uniform(0, 1, 2) * (source - window)
    walk = np.stack([smooth_walk(rng, length, pace * 0.25 * side) for side in window], axis=1)
    margin = np.minimum(0.35 * window, 0.5 * source)
    focus = np.clip(start + walk, margin, source - margin)
    zoom = np.exp(smooth_walk(rng, length, pace * 0.2))
    mirror = np.array([rng.choice([-1, 1]), 1])
    return Placement(
        focus=focus,
        anchor=np.full((length, 2), size / 2),
        step=zoom[:, None] * (mirror * window / size),
        angle=rng.normal(0, 0.06) + smooth_walk(rng, length, pace * 0.12),
        shear=rng.normal(0, 0.04) + smooth_walk(rng, length, pace * 0.04),
    )


def _draw_window(rng: np.random.Generator, source_wh: Floats) -> Floats:
    """Draw width and height of a window, mostly wider than high as videos are.

    It may reach beyond the photo: small photos seen from close would all be blurred.
    """
    aspect = np.exp(rng.uniform(np.log(0.7), np.log(2.0)))
    width, height = source_wh
    window = np.array([min(width, height * aspect), min(height, width / aspect)])
    return np.asarray(window * rng.uniform(0.55, 1.25))


def sprite_path(
    rng: np.random.Generator, length: int, sprite_hw: tuple[int, ...], size: int, pace: float
) -> Placement:
    """Move a cut-out object over the frame; a third of the paths cross the frame's border.

    Args:
        rng: Draws the path.
        length: Number of frames.
        sprite_hw: The cut-out's height and width in pixels.
        size: Side of the square frame in pixels.
        pace: Amount of motion; 0 lets the object stand.
    """
    wanted = size * np.exp(rng.uniform(np.log(0.12), np.log(0.75)))
    step = np.sqrt(sprite_hw[0] * sprite_hw[1]) / wanted
    squeeze = np.exp(rng.uniform(-0.1, 0.35) / 2)
    mirror = np.array([rng.choice([-1, 1]) * squeeze, 1 / squeeze])
    start = Placement(
        focus=np.full((length, 2), np.array(sprite_hw[::-1]) / 2),
        anchor=np.tile(rng.uniform(0.1, 0.9, 2) * size, (length, 1)),
        step=np.tile(step * mirror, (length, 1)),
        angle=np.full(length, rng.normal(0, 0.15)),
        shear=np.full(length, rng.normal(0, 0.05)),
    )
    reach = size * pace * (0.9 if rng.random() < 0.35 else 0.3)
    return start.moved(rng, np.array([reach, reach]), pace)
