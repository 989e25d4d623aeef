"""The held-out score: mean IoU on composed clips of photos that training never sees."""

import numpy as np
import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor
from torch.nn.functional import interpolate

from training.batches import ClipBatch, collate
from training.compose import compose_clip
from training.photos import PhotoLibrary
from training.prompts import PromptPlan
from training.unroll import Unroll

_SEED = 20_240_729
_LENGTH = 8


@torch.no_grad()
def score_network(
    network: SAM2Base, photos: PhotoLibrary | None, *, clips: int
) -> dict[str, float]:
    """Track always the same composed clips by one click, a box and a mask on the first frame.

    Returns:
        Mean IoU over frames and objects: of first frames by click and box, and of later frames
        by click, box and mask.
    """
    network.eval()
    size: int = network.image_size
    device = next(network.parameters()).device
    scores: dict[str, list[Tensor]] = {}
    for number in range(clips):
        rng = np.random.default_rng([_SEED, number])
        clip = compose_clip(rng, photos, length=_LENGTH, size=size)
        batch = collate([clip]).to(device)
        for kind in ("click", "box", "mask"):
            ious = _track(network, batch, kind, rng)
            if kind != "mask":
                scores.setdefault(f"first frame by {kind}", []).append(ious[:, 0].mean())
            scores.setdefault(f"later by {kind}", []).append(ious[:, 1:].mean())
    return {name: float(torch.stack(values).mean()) for name, values in scores.items()}


def _track(network: SAM2Base, batch: ClipBatch, kind: str, rng: np.random.Generator) -> Tensor:
    """Return `(N, T)` IoUs; 1 where a frame without the object has no mask."""
    unroll = Unroll(network, batch, PromptPlan(kind), rng)
    unroll.loss()
    logits = torch.cat(unroll.masks, dim=1)
    side = batch.masks.shape[-1]
    known = batch.known[batch.clip_index]
    guess = (interpolate(logits, (side, side), mode="bilinear") > 0) & known
    truth = batch.masks & known
    common, union = ((x).flatten(2).sum(2) for x in (guess & truth, guess | truth))
    return torch.where(union > 0, common / union.clamp(min=1), 1.0)
