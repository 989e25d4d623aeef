"""Pocket's own words: a small detector of a closed vocabulary, which comes with the source.

It finds all things that it knows in an image, whatever is asked for, so that all its nouns compete
for each thing and the same image always has the same boxes. What is asked for is chosen last.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from sam_video.checkpoints.catalogue import Checkpoint
from sam_video.detection.interface import Detection
from sam_video.detection.vocabulary import COLOURS, NOUNS, parse_concept
from sam_video.detection.words_network import WordsNetwork
from sam_video.model.device import device_errors
from sam_video.model.load import load_weights
from sam_video.types import Box, RGBImage

__all__ = ["COLOURS", "NOUNS", "WEIGHTS", "PocketWords"]

WEIGHTS = Checkpoint(
    "pocket's words",
    "pocket_words.safetensors",
    "887f970126b0789125d5cc7521da0dc457be9c1c43c75eb8c8f43a5b519f071f",
)
"""The file that comes with the source."""

THRESHOLD = 0.6
"""Chosen on held-out drawings: `python -m training.words.score`."""


class PocketWords:
    """A `Detector` of the nouns and colours that pocket knows.

    Args:
        path: The `.safetensors` file of its weights.
        device: Where it runs.

    Raises:
        CheckpointError: The file is missing, damaged or of another network.
        DeviceError: The GPU cannot be used, or its memory does not suffice.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        network = WordsNetwork().eval()
        load_weights(network, path)
        with device_errors():
            self._network = network.to(device)

    @property
    def threshold(self) -> float:
        """The least score of a detection to be kept, where the caller names none."""
        return THRESHOLD

    def check(self, concepts: Sequence[str]) -> None:
        """Accept concepts that are a noun with or without a colour.

        Raises:
            PromptError: One of them is not.
        """
        for concept in concepts:
            parse_concept(concept)

    def detect(self, image: RGBImage, concepts: Sequence[str], threshold: float) -> list[Detection]:
        """Find the instances of concepts in an image, the surest first.

        Args:
            image: Of any size.
            concepts: Words that `check` accepts.
            threshold: Detections with a lower score are left out.
        """
        with device_errors():
            things = self._network.find(image)
        size = np.array(image.shape[1::-1] * 2)
        detections = [
            Detection(concept, score, Box(*np.multiply(thing.box, size).tolist()))
            for concept in concepts
            for thing in things
            if (score := thing.score_as(*parse_concept(concept))) >= threshold and score > 0
        ]
        return sorted(detections, key=lambda detection: -detection.score)
