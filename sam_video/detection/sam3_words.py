"""Concepts in the tokens of SAM 3's text encoder, and its network from the user's folder.

Its licence lets only the user fetch the weights; `checkpoints.detectors` says how. All of SAM 3's
classes in transformers load from the same folder.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sam_video.detection.loading import check_transformers, load_network, load_tokenizer
from sam_video.detection.word_pieces import check_lengths
from sam_video.model.device import device_errors

NUM_TOKENS = 32
"""Places of the text encoder; a start and an end token take two of them."""

_CONFIG_TYPES = {
    "": "sam3_video",
    "detector_config": "sam3",
    "tracker_config": "sam3_tracker_video",
}


def load_sam3(folder: Path, kind: str, device: torch.device) -> Any:
    """Load one of SAM 3's networks in float32.

    Args:
        folder: As the hub has it.
        kind: Name of the class in transformers.
        device: Where it runs.

    Raises:
        RequestError: transformers is missing or too old.
        CheckpointError: The folder is not one of SAM 3, or not complete.
        DeviceError: The GPU's memory does not suffice, or it fails.
    """
    check_transformers("sam3")
    with device_errors():
        return load_network(folder, kind, _CONFIG_TYPES, device)


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[Any]:
    """Run matrix products in a type; weights, sums and what is sensitive stay float32."""
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


class Sam3Tokenizer:
    """Turns concepts into the tokens of SAM 3's text encoder.

    Args:
        folder: As the hub has it.

    Raises:
        CheckpointError: The tokenizer's files are missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._tokenizer = load_tokenizer(folder, "CLIPTokenizer")

    def check(self, concepts: Sequence[str]) -> None:
        """Accept concepts of 1 to 30 word pieces.

        Raises:
            PromptError: A concept is empty, or longer.
        """
        check_lengths(concepts, self._num_pieces, NUM_TOKENS - 2, "sam3")

    def _num_pieces(self, concept: str) -> int:
        return len(self._tokenizer(concept, verbose=False).input_ids) - 2

    def encode(self, concept: str, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the `(1, 32)` int64 tokens of a concept, and 1 for each that is not padding.

        Raises:
            PromptError: The concept is empty, or too long.
        """
        self.check([concept])
        tokens = self._tokenizer(
            concept, return_tensors="pt", padding="max_length", max_length=NUM_TOKENS
        ).to(device)
        return tokens["input_ids"], tokens["attention_mask"]
