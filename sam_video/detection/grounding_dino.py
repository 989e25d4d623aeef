"""LLMDet and MM Grounding DINO: all concepts in one sentence, and a score for each of its tokens.

A concept's score is the mean over its own tokens, as mmdetection computes it, with which these
networks were trained and measured. Words and image change one another in the network, so that
other words are a new pass over the image, and so are concepts that do not fit into one sentence.
Matrix products run in bfloat16 on a GPU that has it; the heads stay in float32.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from sam_video.detection.boxes import corners, find_instances
from sam_video.detection.interface import Detection
from sam_video.detection.loading import check_transformers, load_network, load_tokenizer
from sam_video.detection.pixels import on_device
from sam_video.detection.word_pieces import check_lengths
from sam_video.model.device import default_dtype, device_errors
from sam_video.types import RGBImage

CONFIG_TYPES = {"": "mm-grounding-dino", "text_config": "bert", "backbone_config": "swin"}
"""What a folder's configuration states."""

SHORT_SIDE, LONG_SIDE = 800, 1333
"""An image is resized to the first, or to the second where its longer side would exceed that."""

_SMALLEST_SIDE = 64  # a narrower image is padded: the network wants 900 places to look at
_MEAN = (0.485, 0.456, 0.406)  # of ImageNet, red, green and blue
_DEVIATION = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True, eq=False)
class _Sentence:
    """Concepts that are looked for in one pass."""

    concepts: tuple[str, ...]
    inputs: dict[str, Tensor]
    """What the network takes, of `(1, T)`."""
    shares: Tensor
    """`(T, C)` float32: 1 / n for the n tokens of a concept, else 0."""


class GroundingDinoDetector:
    """Finds concepts with LLMDet or MM Grounding DINO.

    Args:
        folder: Its weights and its tokenizer, as the hub has them.
        device: Where it runs.
        name: For messages.
        dtype: Of matrix products; by default the fastest on a GPU, and float32 on a CPU.

    Raises:
        RequestError: transformers is missing or too old.
        CheckpointError: The folder is not one of these networks, or not complete.
        DeviceError: The GPU's memory does not suffice, or it fails.
    """

    threshold = 0.3

    def __init__(
        self,
        folder: Path,
        device: torch.device,
        *,
        name: str = "llmdet",
        dtype: torch.dtype | None = None,
    ) -> None:
        check_transformers(name)
        self._name, self._device = name, device
        self._dtype = dtype or (torch.float32 if device.type == "cpu" else default_dtype(device))
        self._tokenizer = load_tokenizer(folder, "BertTokenizer")
        with device_errors():
            self._network = load_network(
                folder, "MMGroundingDinoForObjectDetection", CONFIG_TYPES, device
            )
        self._max_tokens = int(self._network.config.max_text_len)
        _keep_heads_in_float32(self._network)
        self._sentences: tuple[tuple[str, ...], list[_Sentence]] | None = None

    def check(self, concepts: Sequence[str]) -> None:
        """Accept concepts that fit into a sentence each, of up to 253 word pieces.

        Raises:
            PromptError: A concept is empty, or longer.
        """
        limit = self._max_tokens - 3  # start, full stop and end
        check_lengths(concepts, self._num_pieces, limit, self._name)

    @torch.inference_mode()
    def detect(self, image: RGBImage, concepts: Sequence[str], threshold: float) -> list[Detection]:
        """Find the instances of concepts in an image; see `Detector.detect`.

        Boxes of one concept that overlap by an IoU of more than 0.5 are one thing.
        """
        hw = image.shape[:2]
        with device_errors():
            pixels, mask = to_input(image, self._device)
            scale = torch.tensor((hw[1], hw[0]) * 2, device=self._device)
            found: list[Detection] = []
            for sentence in self._split(tuple(concepts)):
                with self._autocast():
                    out = self._network(pixel_values=pixels, pixel_mask=mask, **sentence.inputs)
                tokens = out.logits[0, :, : len(sentence.shares)].float().sigmoid()
                boxes = corners(out.pred_boxes[0].float()) * scale
                scores = tokens @ sentence.shares
                found += find_instances(boxes, scores, sentence.concepts, hw, threshold)
        return sorted(found, key=lambda detection: -detection.score)

    def _autocast(self) -> AbstractContextManager[Any]:
        is_on = self._dtype != torch.float32
        return torch.autocast(self._device.type, dtype=self._dtype, enabled=is_on)

    def _num_pieces(self, concept: str) -> int:
        return len(self._tokenizer(_wording(concept), verbose=False).input_ids) - 2

    def _split(self, concepts: tuple[str, ...]) -> list[_Sentence]:
        """Return the fewest sentences, in order, for concepts; those of the last call are kept."""
        if self._sentences is None or self._sentences[0] != concepts:
            self.check(concepts)
            sentences = [self._sentence(group) for group in self._groups(concepts)]
            self._sentences = concepts, sentences
        return self._sentences[1]

    def _groups(self, concepts: Sequence[str]) -> list[list[str]]:
        groups: list[list[str]] = []
        room = 0
        for concept in concepts:
            needed = self._num_pieces(concept) + 1
            if needed > room:
                groups.append([])
                room = self._max_tokens - 2
            groups[-1].append(concept)
            room -= needed
        return groups

    def _sentence(self, concepts: Sequence[str]) -> _Sentence:
        """Join concepts with full stops, and find the tokens of each."""
        words = [_wording(concept) for concept in concepts]
        tokens = self._tokenizer(
            ". ".join(words) + ".", return_offsets_mapping=True, return_tensors="pt", verbose=False
        )
        spans = tokens.pop("offset_mapping")[0]
        ends = torch.tensor([len(word) for word in words]).cumsum(0) + 2 * torch.arange(len(words))
        starts = ends - torch.tensor([len(word) for word in words])
        is_within = (spans[:, :1] >= starts) & (spans[:, 1:] <= ends) & (spans[:, 1:] > 0)
        shares = is_within / is_within.sum(dim=0)
        inputs = {name: tensor.to(self._device) for name, tensor in tokens.items()}
        return _Sentence(tuple(concepts), inputs, shares.to(self._device))


def _wording(concept: str) -> str:
    """Return a concept without what ends one in a sentence."""
    return concept.lower().replace(".", " ").replace("?", " ")


def to_input(image: RGBImage, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return an image as the network's input, `(1, 3, h, w)` float32, and 1 where it is image.

    It is resized as by the network's own processor, which does so with Pillow.

    Returns:
        The input, and its `(1, h, w)` int64 mask.
    """
    hw = resized_hw(image.shape[0], image.shape[1])
    levels = on_device(image, device).permute(2, 0, 1)[None].float()
    for size in ((image.shape[0], hw[1]), hw):  # Pillow's order, with whole levels in between
        levels = interpolate(levels, size, mode="bilinear", align_corners=False, antialias=True)
        levels = (levels + 0.5).floor().clamp(0, 255)
    mean, deviation = (
        torch.tensor(values, device=device).view(3, 1, 1) for values in (_MEAN, _DEVIATION)
    )
    pixels = (levels / 255 - mean) / deviation
    below, right = (max(0, _SMALLEST_SIDE - side) for side in hw)
    mask = torch.ones((1, *hw), dtype=torch.long, device=device)
    return pad(pixels, (0, right, 0, below)), pad(mask, (0, right, 0, below))


def resized_hw(height: int, width: int) -> tuple[int, int]:
    """Return height and width after resizing, as `get_size_with_aspect_ratio` of transformers."""
    short, long = sorted((height, width))
    wanted = float(SHORT_SIDE)
    if long / short * SHORT_SIDE > LONG_SIDE:
        wanted = LONG_SIDE * short / long
    new_short = max(1, round(wanted))
    new_long = long if new_short == short else max(1, int(wanted * long / short))
    return (new_short, new_long) if height <= width else (new_long, new_short)


class _InFloat32(nn.Module):
    """Runs a layer in float32, also where others run in bfloat16."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, *tensors: Tensor, **named: Tensor) -> Any:
        device_type = next(iter((*tensors, *named.values()))).device.type
        with torch.autocast(device_type, enabled=False):
            return self.layer(
                *(_float32(tensor) for tensor in tensors),
                **{name: _float32(tensor) for name, tensor in named.items()},
            )


def _float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _keep_heads_in_float32(network: Any) -> None:
    model = network.model
    for heads in (network.bbox_embed, network.class_embed, model.decoder.bbox_embed):
        for position, head in enumerate(heads):
            heads[position] = _InFloat32(head)
    model.encoder_output_bbox_embed = _InFloat32(model.encoder_output_bbox_embed)
    model.encoder_output_class_embed = _InFloat32(model.encoder_output_class_embed)
