"""Folders of tiny detectors with random weights, in the form that the hub's folders have."""

import string
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    BertConfig,
    BertTokenizer,
    CLIPTokenizer,
    MMGroundingDinoConfig,
    MMGroundingDinoForObjectDetection,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2ImageProcessorPil,
    Owlv2Processor,
    SwinConfig,
)

WORDS = ("ball", "balloon", "cat", "dog", "person", "red", "blue", "tree")
"""The words that the tokenizers know whole; all others they spell."""

_BERT_IDS = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
_BERT_DOTS = {".": 1012, "?": 1029}  # where BERT has them: Grounding DINO looks for these numbers


def clip_tokenizer(words: Iterable[str] = WORDS, *, max_length: int = 16) -> CLIPTokenizer:
    """Make a CLIP tokenizer of single bytes and some whole words; `!` pads, as with OWLv2.

    `<|endoftext|>` has the highest number, where the text encoders look for it.
    """
    letters = sorted(ByteLevel.alphabet())
    vocabulary = letters + [f"{letter}</w>" for letter in letters]
    merges: Any = []
    for word in words:
        pieces = [*word[:-1], f"{word[-1]}</w>"]
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces[:2] = ["".join(pieces[:2])]
            vocabulary.append(pieces[0])
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    numbered = {piece: number for number, piece in enumerate(dict.fromkeys(vocabulary))}
    return CLIPTokenizer(
        vocab=numbered,
        merges=[*dict.fromkeys(merges)],
        pad_token="!",
        model_max_length=max_length,
    )


def bert_tokenizer(words: Iterable[str] = WORDS) -> BertTokenizer:
    """Make a BERT tokenizer of some whole words and of letters, with BERT's own special numbers."""
    known = {number: piece for piece, number in {**_BERT_IDS, **_BERT_DOTS}.items()}
    vocabulary = {known.get(n, f"[unused{n}]"): n for n in range(_BERT_DOTS["?"] + 1)}
    letters = string.ascii_lowercase + string.digits
    for piece in (*words, *letters, *(f"##{letter}" for letter in letters)):
        vocabulary.setdefault(piece, len(vocabulary))
    return BertTokenizer(vocab=vocabulary, model_max_length=512)


def save_owlv2(folder: Path, *, image_size: int = 64) -> Path:
    """Save an OWLv2 of 8 by 8 patches, with its tokenizer and processor, and return its folder."""
    tokenizer = clip_tokenizer()
    torch.manual_seed(0)
    layers = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = Owlv2Config(
        text_config={
            **layers,
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "max_position_embeddings": 16,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        },
        vision_config={
            **layers,
            "hidden_size": 32,
            "image_size": image_size,
            "patch_size": image_size // 8,
        },
        projection_dim=32,
    )
    model: Any = Owlv2ForObjectDetection(config)
    torch.nn.init.normal_(model.box_head.dense2.weight, std=0.01)  # boxes about their patches
    for layer in (model.class_head.logit_shift, model.class_head.logit_scale):
        torch.nn.init.normal_(layer.weight, std=0.05)  # scores from 0.1 to 0.9
    torch.nn.init.constant_(model.class_head.logit_scale.bias, 6.0)
    model.save_pretrained(folder)
    images = Owlv2ImageProcessorPil(size={"height": image_size, "width": image_size})
    Owlv2Processor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)
    return folder


def save_grounding_dino(folder: Path, *, shares_heads: bool = False) -> Path:
    """Save an MM Grounding DINO with its tokenizer, as LLMDet is one, and return its folder.

    Args:
        folder: Where to.
        shares_heads: Whether all layers of the decoder have one head; with the hub's each has its
            own.
    """
    tokenizer = bert_tokenizer()
    torch.manual_seed(0)
    config = _grounding_dino_config(len(tokenizer), shares_heads)
    model: Any = MMGroundingDinoForObjectDetection(config)
    if not shares_heads:
        for head in model.bbox_embed:  # they start as zeros, all alike
            torch.nn.init.normal_(head.layers[-1].weight, std=0.1)
        for number, contrast in enumerate(model.class_embed):
            torch.nn.init.constant_(contrast.bias, -0.1 * number)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _grounding_dino_config(vocab_size: int, shares_heads: bool) -> MMGroundingDinoConfig:
    swin: Any = SwinConfig
    return MMGroundingDinoConfig(
        backbone_config=swin(
            embed_dim=8,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 2, 2],
            window_size=4,
            out_features=["stage2", "stage3", "stage4"],
        ),
        text_config=BertConfig(
            vocab_size=vocab_size,
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
        ),
        num_queries=100,
        d_model=32,
        encoder_layers=1,
        encoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_layers=3,
        decoder_ffn_dim=32,
        decoder_attention_heads=2,
        decoder_bbox_embed_share=shares_heads,
        decoder_cls_embed_share=shares_heads,
    )
