"""Score pocket's words on held-out drawings: `python -m training.words.score --help`."""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from safetensors.torch import load_file

from sam_video.detection.vocabulary import NOUNS
from sam_video.detection.words_network import Thing, WordsNetwork
from training.photos import IGNORE
from training.train import save_weights
from training.words.overlaps import overlap
from training.words.scenes import NamedThing, Scene, draw_scene

_HELD_OUT_SEED = 2**40
"""No seed of a run, which are small."""
_HIT = 0.5
_THRESHOLDS = np.linspace(0.3, 0.8, 11)


@dataclass(frozen=True, slots=True)
class Found:
    """A thing that was found in a scene, compared with what is in it."""

    noun: int
    score: float
    overlap: float
    """IoU with the thing of that noun that it is, 0 where it is none."""
    is_colour_right: bool


class Scores:
    """Scenes, and what was found in them."""

    def __init__(self, scenes: Sequence[Scene], found: Sequence[Sequence[Thing]]) -> None:
        self.scenes = scenes
        pairs = zip(scenes, found, strict=True)
        self.found = [compare(scene, things) for scene, things in pairs]

    def average_precision(self, noun: int) -> float:
        """Return AP50 of a noun with 101 recall points as COCO has it; NaN where there is none."""
        total = sum(thing.noun == noun for scene in self.scenes for thing in scene.things)
        ranked = sorted(
            (f for found in self.found for f in found if f.noun == noun), key=lambda f: -f.score
        )
        hits = np.cumsum([f.overlap >= _HIT for f in ranked])
        if not total:
            return float("nan")
        recall, precision = hits / total, hits / np.arange(1, len(hits) + 1)
        levels = np.linspace(0, 1, 101)
        return float(np.mean([max(precision[recall >= level], default=0.0) for level in levels]))

    def mean_average_precision(self) -> float:
        """Return the mean of the nouns' AP50."""
        return float(np.nanmean([self.average_precision(noun) for noun in range(len(NOUNS))]))

    def absent_share(self, threshold: float) -> float:
        """Return how often a noun that is not in a scene is reported, over scenes and nouns."""
        reported = asked = 0
        for scene, found in zip(self.scenes, self.found, strict=True):
            absent = set(range(len(NOUNS))) - {thing.noun for thing in scene.things}
            asked += len(absent)
            reported += len({f.noun for f in found if f.score >= threshold} & absent)
        return reported / asked

    def precision_and_recall(self, threshold: float) -> tuple[float, float]:
        """Return which share of what is reported is there, and of what is there is reported."""
        kept = [f for found in self.found for f in found if f.score >= threshold]
        hits = sum(f.overlap >= _HIT for f in kept)
        total = sum(len(scene.things) for scene in self.scenes)
        return hits / max(1, len(kept)), hits / max(1, total)

    def colour_share(self, threshold: float) -> float:
        """Return how often the likeliest colour of a thing that is found is right."""
        return _mean([f.is_colour_right for f in self._hits(threshold)])

    def mean_overlap(self, threshold: float) -> float:
        """Return the mean IoU of the boxes of things that are found."""
        return _mean([f.overlap for f in self._hits(threshold)])

    def _hits(self, threshold: float) -> list[Found]:
        kept = (f for found in self.found for f in found if f.score >= threshold)
        return [f for f in kept if f.overlap >= _HIT]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def compare(scene: Scene, things: Iterable[Thing]) -> list[Found]:
    """Match what was found with what is there, the surest first, each thing once.

    What is found where a thing is hardly seen counts neither way.
    """
    left = list(scene.things)
    results = []
    for thing in sorted(things, key=lambda thing: -thing.score):
        same = [t for t in left if t.noun == thing.noun]
        best = max(same, key=lambda t: overlap(t.box, thing.box), default=None)
        reached = overlap(best.box, thing.box) if best is not None else 0.0
        if best is not None and reached >= _HIT:
            left.remove(best)
            results.append(Found(thing.noun, thing.score, reached, _is_colour(best, thing)))
        elif _share_unknown(scene, thing.box) < 0.3:
            results.append(Found(thing.noun, thing.score, 0.0, False))
    return results


def _is_colour(truth: NamedThing, found: Thing) -> bool:
    return truth.colour == int(np.argmax(found.colours))


def _share_unknown(scene: Scene, box: tuple[float, ...]) -> float:
    side = len(scene.labels)
    left, top, right, bottom = (round(value * side) for value in box)
    inside = scene.labels[top : max(bottom, top + 1), left : max(right, left + 1)]
    return float((inside == IGNORE).mean())


def held_out_scenes(number: int) -> list[Scene]:
    """Draw the scenes of the score, which no run has seen."""
    return [draw_scene(np.random.default_rng([_HELD_OUT_SEED, i])) for i in range(number)]


def score_network(network: WordsNetwork, scenes: Sequence[Scene]) -> Scores:
    """Let a network look at scenes."""
    return Scores(scenes, [network.find(scene.image) for scene in scenes])


def read_network(*paths: Path) -> WordsNetwork:
    """Read a network from one file, or from one of a finder and one of a namer."""
    network = WordsNetwork().eval()
    if len(paths) == 1:
        network.load_state_dict(load_file(paths[0]))
        return network
    finder, namer = paths
    network.finder.load_state_dict(load_file(finder))
    network.namer.load_state_dict(load_file(namer))
    return network


def main(arguments: list[str] | None = None) -> None:
    """Print the scores of weights, and join those of two parts."""
    options = _parser().parse_args(arguments)
    cv2.setNumThreads(1)
    network = read_network(*options.weights)
    if options.out:
        save_weights(network.state_dict(), options.out)
    scores = score_network(network, held_out_scenes(options.scenes))
    for noun, name in enumerate(NOUNS):
        print(f"{name:10} AP50 {scores.average_precision(noun):.3f}")
    print(f"mean AP50 {scores.mean_average_precision():.3f}")
    for threshold in _THRESHOLDS:
        precision, recall = scores.precision_and_recall(threshold)
        print(
            f"at {threshold:.2f}: precision {precision:.3f}, recall {recall:.3f}, absent nouns "
            f"reported {scores.absent_share(threshold):.4f}, colour "
            f"{scores.colour_share(threshold):.3f}, IoU {scores.mean_overlap(threshold):.3f}"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.words.score",
        description="Score pocket's words on held-out drawings.",
    )
    add = parser.add_argument
    add("weights", type=Path, nargs="+", help="one file, or that of a finder and that of a namer")
    add("--scenes", type=int, default=600, help="number of drawings")
    add("--out", type=Path, help="file that both parts are written to")
    return parser


if __name__ == "__main__":
    main()
