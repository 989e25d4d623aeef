"""OWLv2: a concept is a query of its own, which scores every patch of the image.

What words mean to it does not depend on the image: a set of concepts is encoded once for all
images. Matrix products run in bfloat16 on a GPU that has it; the heads, which place boxes to a
fraction of a pixel, stay in float32.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sam_video.detection.boxes import corners, find_instances
from sam_video.detection.interface import Detection
from sam_video.detection.loading import check_transformers, load_network, load_tokenizer
from sam_video.detection.owlv2_pixels import to_square
from sam_video.detection.word_pieces import check_lengths
from sam_video.model.device import default_dtype, device_errors
from sam_video.types import RGBImage


class Owlv2Detector:
    """Finds concepts with an OWLv2 network.

    Args:
        folder: Its weights and its tokenizer, as the hub has them.
        device: Where it runs.
        name: `owlv2_base` or `owlv2_large`, for messages.
        dtype: Of matrix products; by default the fastest on a GPU, and float32 on a CPU.

    Raises:
        RequestError: transformers is missing or too old.
        CheckpointError: The folder is not one of an OWLv2, or not complete.
        DeviceError: The GPU's memory does not suffice, or it fails.
    """

    threshold = 0.2

    def __init__(
        self,
        folder: Path,
        device: torch.device,
        *,
        name: str = "owlv2_base",
        dtype: torch.dtype | None = None,
    ) -> None:
        check_transformers(name)
        self._name, self._device = name, device
        self._dtype = dtype or (torch.float32 if device.type == "cpu" else default_dtype(device))
        self._tokenizer = load_tokenizer(folder, "CLIPTokenizer")
        with device_errors():
            self._network = load_network(folder, "Owlv2ForObjectDetection", {"": "owlv2"}, device)
            _store_products_as(self._dtype, self._network.owlv2.vision_model)
        config = self._network.config
        self._size = int(config.vision_config.image_size)
        self._max_pieces = int(config.text_config.max_position_embeddings) - 2  # start and end
        self._encoded: tuple[tuple[str, ...], Tensor] | None = None

    def check(self, concepts: Sequence[str]) -> None:
        """Accept concepts of 1 to 14 word pieces.

        Raises:
            PromptError: A concept is empty, or longer.
        """
        check_lengths(concepts, self._num_pieces, self._max_pieces, self._name)

    @torch.inference_mode()
    def detect(self, image: RGBImage, concepts: Sequence[str], threshold: float) -> list[Detection]:
        """Find the instances of concepts in an image; see `Detector.detect`.

        Boxes of one concept that overlap by an IoU of more than 0.5 are one thing.
        """
        H, W = image.shape[:2]
        with device_errors():
            queries = self._queries(tuple(concepts))
            pixels = to_square(image, self._size, self._device)
            with self._autocast():
                patches = self._network.image_embedder(pixels)[0].float()
            rows = patches.flatten(1, 2)
            logits = self._network.class_predictor(rows, queries[None])[0][0]
            boxes = self._network.box_predictor(rows, patches)[0] * max(H, W)
            return find_instances(corners(boxes), logits.sigmoid(), concepts, (H, W), threshold)

    def _autocast(self) -> AbstractContextManager[Any]:
        is_on = self._dtype != torch.float32
        return torch.autocast(self._device.type, dtype=self._dtype, enabled=is_on)

    def _num_pieces(self, concept: str) -> int:
        return len(self._tokenizer(concept, verbose=False).input_ids) - 2

    def _queries(self, concepts: tuple[str, ...]) -> Tensor:
        """Return the `(C, D)` float32 queries of concepts; those of the last call are kept."""
        if self._encoded is None or self._encoded[0] != concepts:
            self.check(concepts)
            texts = self._tokenizer(list(concepts), padding=True, return_tensors="pt")
            pooled = self._network.owlv2.get_text_features(**texts.to(self._device)).pooler_output
            self._encoded = concepts, pooled / pooled.norm(dim=-1, keepdim=True)
        return self._encoded[1]


def _store_products_as(dtype: torch.dtype, network: nn.Module) -> None:
    """Convert the weights of matrix products, and leave those of sums and norms in float32."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            layer.to(dtype)
