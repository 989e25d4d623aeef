"""A folder of a tiny SAM 3 with random weights, in the form that the hub's folder has."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import Sam3VideoConfig, Sam3VideoModel

from tests.detection.tiny_models import clip_tokenizer

SIDE = 112
"""Pixels of its input: 8 patches of 14."""

LOW_SIDE = 32
"""Pixels of its masks."""

_WIDTH = 128
"""Of the FPN and the tracker: a multiple of 64 above 64, the width of a mask memory."""


def save_sam3(folder: Path) -> Path:
    """Save a SAM 3 of 4 million parameters with its tokenizer, and return its folder.

    Its detector is sure of about half of what it sees. Its tracker sees objects everywhere, and in
    its logits earlier frames make a difference.
    """
    tokenizer = clip_tokenizer(max_length=32)
    torch.manual_seed(0)
    model: Any = Sam3VideoModel(_config(len(tokenizer)))
    with torch.no_grad():
        for name, weights in model.tracker_model.named_parameters():
            if weights.ndim > 1 and "pred_obj_score_head" not in name:
                weights.mul_(4)
        model.tracker_model.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(10)
        model.detector_model.detr_decoder.presence_head.layer3.bias.fill_(5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@contextmanager
def one_core() -> Iterator[None]:
    """Use one thread: the tiny network's operations are too small to be divided."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


def _config(vocab_size: int) -> Sam3VideoConfig:
    patches = SIDE // 14
    vision = {
        "model_type": "sam3_vision_model",
        "fpn_hidden_size": _WIDTH,
        "backbone_feature_sizes": [[patches * scale] * 2 for scale in (4, 2, 1)],
        "backbone_config": {
            "model_type": "sam3_vit_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "window_size": 4,
            "global_attn_indexes": [1],
            "pretrain_image_size": SIDE,
        },
    }
    return Sam3VideoConfig(
        detector_config=_detector_config(vision, vocab_size),
        tracker_config=_tracker_config(vision, patches),
        low_res_mask_size=LOW_SIDE,
    )


def _detector_config(vision: dict[str, Any], vocab_size: int) -> dict[str, Any]:
    layers = {"hidden_size": _WIDTH, "num_attention_heads": 2}
    one_layer = {**layers, "num_layers": 1, "intermediate_size": 64}
    return {
        "model_type": "sam3",
        "vision_config": vision,
        "text_config": {
            "model_type": "clip_text_model",
            "vocab_size": vocab_size,
            "bos_token_id": vocab_size - 2,
            "eos_token_id": vocab_size - 1,
            "hidden_size": 32,
            "intermediate_size": 64,
            "projection_dim": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "max_position_embeddings": 32,
            "hidden_act": "gelu",
        },
        "geometry_encoder_config": one_layer,
        "detr_encoder_config": one_layer,
        "detr_decoder_config": {**one_layer, "num_queries": 8},
        "mask_decoder_config": layers,
    }


def _tracker_config(vision: dict[str, Any], patches: int) -> dict[str, Any]:
    return {
        "model_type": "sam3_tracker_video",
        "vision_config": vision,
        "image_size": SIDE,
        "prompt_encoder_config": {"hidden_size": _WIDTH, "image_size": SIDE},
        "mask_decoder_config": {
            "hidden_size": _WIDTH,
            "mlp_dim": 64,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 32,
        },
        "memory_attention_hidden_size": _WIDTH,
        "memory_attention_num_layers": 1,
        "memory_attention_feed_forward_hidden_size": 64,
        "memory_attention_rope_feat_sizes": [patches, patches],
        "memory_encoder_hidden_size": _WIDTH,
        "memory_encoder_output_channels": 64,
        "mask_downsampler_embed_dim": _WIDTH,
        "memory_fuser_num_layers": 1,
        "memory_fuser_embed_dim": _WIDTH,
        "memory_fuser_intermediate_dim": 64,
    }
