"""SAM 3's image network as a detector: concepts in, boxes and masks out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sam_video.detection.interface import Detection
from sam_video.detection.sam3_masks import mask_ious, to_pixels, without_duplicates
from sam_video.detection.sam3_words import Sam3Tokenizer, autocast, load_sam3
from sam_video.model.device import default_dtype, device_errors
from sam_video.model.pixels import enlarge, pack_masks, unpack_masks
from sam_video.types import BoolMask, Box, RGBImage

MAX_MASK_IOU = 0.1
"""Detections of one concept that overlap by more are one thing (`sam3.model_builder`)."""

MAX_DETECTIONS = 100
"""Of one concept in an image: the surest. It bounds the memory that a low threshold takes."""


class Sam3Detector:
    """Finds concepts with SAM 3; it needs the weights that only the user may fetch.

    Args:
        folder: As the hub has it.
        device: Where it runs.
        dtype: Of matrix products; by default the fastest that the device has.

    Raises:
        RequestError: transformers is missing or too old.
        CheckpointError: The folder is not one of SAM 3, or not complete.
        DeviceError: The GPU's memory does not suffice, or it fails.
    """

    threshold = 0.5

    def __init__(
        self, folder: Path, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        self._device = device
        self._dtype = dtype or default_dtype(device)
        self._network = load_sam3(folder, "Sam3Model", device)
        self._tokenizer = Sam3Tokenizer(folder)
        self._size = int(self._network.config.image_size)
        self._texts: dict[str, tuple[Tensor, Tensor]] = {}

    def check(self, concepts: Sequence[str]) -> None:
        """Accept concepts of 1 to 30 word pieces.

        Raises:
            PromptError: A concept is empty, or longer.
        """
        self._tokenizer.check(concepts)

    @torch.inference_mode()
    def detect(self, image: RGBImage, concepts: Sequence[str], threshold: float) -> list[Detection]:
        """Find the instances of concepts in an image; see `Detector.detect`.

        Boxes are those of the network, which may reach a little beyond the masks.

        Raises:
            PromptError: A concept is empty, or too long.
            DeviceError: The GPU's memory does not suffice, or it fails.
        """
        with device_errors(), autocast(self._device, self._dtype):
            self._encode(concepts)
            pixels = to_pixels(image, self._size, self._device)
            seen = self._network.get_vision_features(pixel_values=pixels[None])
            found = [
                detection
                for concept in dict.fromkeys(concepts)
                for detection in self._find(concept, seen, image.shape[:2], threshold)
            ]
        return sorted(found, key=lambda detection: -detection.score)

    def _encode(self, concepts: Sequence[str]) -> None:
        """Compute the features of new concepts, and forget those of earlier ones."""
        self._texts = {text: kept for text, kept in self._texts.items() if text in concepts}
        for concept in concepts:
            if concept not in self._texts:
                tokens, mask = self._tokenizer.encode(concept, self._device)
                text = self._network.get_text_features(input_ids=tokens, attention_mask=mask)
                self._texts[concept] = text, mask

    def _find(
        self, concept: str, seen: object, hw: tuple[int, int], threshold: float
    ) -> list[Detection]:
        text, mask = self._texts[concept]
        out = self._network(vision_embeds=seen, text_embeds=text, attention_mask=mask)
        presence = out.presence_logits[0].float().sigmoid()
        scores = out.pred_logits[0].float().sigmoid() * presence
        sure = (scores >= threshold).nonzero()[:, 0]
        logits = out.pred_masks[0, sure].float()
        kept = without_duplicates(mask_ious(logits > 0), scores[sure], MAX_MASK_IOU)
        kept = kept[:MAX_DETECTIONS]
        masks = _masks_at(logits[kept], hw)
        rows = sure[kept]
        boxes = [_box(edges, hw) for edges in out.pred_boxes[0, rows].float().tolist()]
        return [
            Detection(concept, score, box, found)
            for score, box, found in zip(scores[rows].tolist(), boxes, masks, strict=True)
            if box is not None
        ]


def _masks_at(logits: Tensor, hw: tuple[int, int]) -> list[BoolMask]:
    """Enlarge `(N, h, w)` logits to `(H, W)` masks, one by one, since an image may be large."""
    packed = [pack_masks(enlarge(mask[None, None], hw)[0, 0] > 0) for mask in logits]
    return [unpack_masks(bits.cpu().numpy(), hw[1]) for bits in packed]


def _box(edges: Sequence[float], hw: tuple[int, int]) -> Box | None:
    """Return x0, y0, x1, y1 of 0 to 1 in pixels; None if nothing is left inside the image."""
    H, W = hw
    x0, y0, x1, y1 = np.clip(edges, 0, 1) * (W, H, W, H)
    return Box(float(x0), float(y0), float(x1), float(y1)) if x0 < x1 and y0 < y1 else None
