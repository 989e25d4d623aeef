"""The stages of the training: what they look at and how fast they learn."""

from dataclasses import dataclass, replace

from training.batches import ClipShape


@dataclass(frozen=True, slots=True)
class Stage:
    """One run of the training loop, with its own warm-up and annealing."""

    shapes: tuple[ClipShape, ...]
    """Of one process's batches."""
    learning_rate: float
    """At its highest."""
    adapts_norms: bool
    """Whether the trunk's batch norms use the statistics of the batch; frames of a clip are too
    alike for that."""
    weight_decay: float = 0.02
    warm_up: float = 0.03
    """Of the run."""
    max_gradient_norm: float = 1.0

    def scaled(self, clips: int, learning_rate: float | None) -> "Stage":
        """Return the stage with `clips` times as many clips per batch, for a larger machine.

        Args:
            clips: Factor of the batch size.
            learning_rate: To use instead of the stage's own.
        """
        shapes = tuple(replace(shape, clips=clips * shape.clips) for shape in self.shapes)
        return replace(self, shapes=shapes, learning_rate=learning_rate or self.learning_rate)


STAGES = {
    "stills": Stage(
        shapes=(ClipShape(clips=4, length=1),),
        learning_rate=6e-4,
        adapts_norms=True,
    ),
    "clips": Stage(
        shapes=(
            ClipShape(clips=6, length=1, share=0.2),
            ClipShape(clips=2, length=4, share=0.3, max_targets=3),
            ClipShape(clips=1, length=8, share=0.25, max_targets=3),
            ClipShape(clips=1, length=20, burn_in=16, share=0.25, max_targets=3),
        ),
        learning_rate=3e-4,
        adapts_norms=False,
    ),
    "mixed": Stage(
        shapes=(
            ClipShape(clips=6, length=1, share=0.05),
            ClipShape(clips=2, length=3, share=0.15, max_targets=3),
            ClipShape(clips=1, length=8, share=0.35),
            ClipShape(clips=1, length=14, burn_in=9, share=0.25),
            ClipShape(clips=1, length=20, burn_in=16, share=0.2),
        ),
        learning_rate=3e-4,
        adapts_norms=False,
    ),
}
