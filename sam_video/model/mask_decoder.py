"""SAM 2's mask decoder on batches of objects, channels last.

The weights and results are those of `sam2.modeling.sam.mask_decoder.MaskDecoder`, up to the
rounding of sums in another order. Each layer projects the image by one matrix product instead of
three, positions come from a table, and strided deconvolutions are matrix products, since their
windows do not overlap.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear, scaled_dot_product_attention

from sam_video.model.attention import to_tokens
from sam_video.model.interface import ImageFeatures

FEW_TOKENS = 16
"""The most prompt tokens that all heads attend to in one product; only many clicks exceed it."""


class MaskDecoder:
    """Predicts masks from informed features and embedded prompts.

    Args:
        network: A `SAM2Base`, whose weights are read now and not followed later.
        dtype: Of the matrix products over the image; those of the few tokens are in float32.
    """

    def __init__(self, network: Any, *, dtype: torch.dtype) -> None:
        module = network.sam_mask_decoder
        transformer = module.transformer
        assert module.pred_obj_scores
        self._module = module
        positions = to_tokens(network.sam_prompt_encoder.get_dense_pe())[0]
        self._layers = [TwoWayLayer(layer, positions, dtype) for layer in transformer.layers]
        final = transformer.final_attn_token_to_image
        self._final = ImageProjection((final.k_proj, final.v_proj), (True, False), positions, dtype)
        self._transformer = transformer
        self._tokens = torch.cat(
            [module.obj_score_token.weight, module.iou_token.weight, module.mask_tokens.weight]
        )
        first, norm, _, second, _ = module.output_upscaling
        self._upscalings = Upscaling(first, norm, 1, dtype), Upscaling(second, None, 2, dtype)

    def __call__(
        self,
        image: ImageFeatures,
        informed: Tensor,
        sparse: Tensor,
        dense: Tensor,
        *,
        is_ambiguous: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Predict one mask for each of N objects, or three where the prompt is ambiguous.

        Args:
            image: The frame.
            informed: `(N, C, h, w)`.
            sparse: Embedded points, `(N, P, C)`.
            dense: Embedded masks, `(N, C, h, w)` or `(N, C, 1, 1)`.
            is_ambiguous: Give three masks.

        Returns:
            Mask logits `(N, M, 4h, 4w)`, predicted IoUs `(N, M)`, the tokens that pointers are made
            of `(N, M, C)`, or `(N, 1, C)`, and object score logits `(N, 1)`.
        """
        queries = torch.cat([self._tokens.expand(len(informed), -1, -1), sparse], dim=1)
        queries, pixels = self._transform(queries, to_tokens(informed + dense))
        score, iou, tokens = queries[:, 0], queries[:, 1], queries[:, 2 : 2 + self._num_masks]
        for upscale, detail in zip(self._upscalings, reversed(image.high_res), strict=True):
            pixels = upscale(pixels, detail)
        wanted = slice(1, None) if is_ambiguous else slice(None)
        masks = self._masks(tokens, pixels, wanted, informed.shape[-2:])
        ious = self._module.iou_prediction_head(iou)[:, wanted]
        if not is_ambiguous:
            masks, ious = self._module._dynamic_multimask_via_stability(masks, ious)
        chosen = tokens[:, wanted] if is_ambiguous else tokens[:, :1]
        return masks, ious, chosen, self._module.pred_obj_score_head(score)

    @property
    def _num_masks(self) -> int:
        return len(self._module.output_hypernetworks_mlps)

    def _transform(self, points: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Let tokens and image attend to each other, as `TwoWayTransformer` does."""
        queries = points
        for layer in self._layers:
            queries, keys = layer(queries, keys, points)
        attention = self._transformer.final_attn_token_to_image
        image_keys, image_values = self._final(keys)
        asked = attention.q_proj(queries + points)
        heads = attend_in_heads(asked, image_keys, image_values, attention.num_heads)
        queries = queries + attention.out_proj(heads)
        return self._transformer.norm_final_attn(queries), keys

    def _masks(self, tokens: Tensor, pixels: Tensor, wanted: slice, hw: Sequence[int]) -> Tensor:
        """Return logits: each mask's own combination of the channels of each pixel."""
        networks = list(self._module.output_hypernetworks_mlps)
        weights = [
            network(token)
            for network, token in zip(networks[wanted], tokens[:, wanted].unbind(1), strict=True)
        ]
        logits = torch.stack(weights, dim=1).to(pixels.dtype) @ pixels.mT
        return in_rows(logits.float(), *hw)


class ImageProjection:
    """Several linear layers of an image's tokens as one; some of them also see its positions."""

    def __init__(
        self,
        modules: tuple[Any, ...],
        sees_positions: tuple[bool, ...],
        positions: Tensor,
        dtype: torch.dtype,
    ) -> None:
        self._sizes = [len(module.weight) for module in modules]
        self._weight = torch.cat([module.weight for module in modules]).to(dtype)
        self._constant = torch.cat(
            [
                linear(positions * sees, module.weight, module.bias)
                for module, sees in zip(modules, sees_positions, strict=True)
            ],
            dim=1,
        )

    def __call__(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """Return the output of each layer for `(N, h w, C)` tokens, in float32."""
        projected = linear(tokens.to(self._weight.dtype), self._weight)
        placed = projected.float().add_(self._constant)
        return tuple(placed.split(self._sizes, dim=-1))


class TwoWayLayer:
    """Tokens attend to themselves and to the image, then the image to them.

    As `sam2.modeling.sam.transformer.TwoWayAttentionBlock`.
    """

    def __init__(self, block: Any, positions: Tensor, dtype: torch.dtype) -> None:
        self._block = block
        to_image, from_image = block.cross_attn_token_to_image, block.cross_attn_image_to_token
        self._image = ImageProjection(
            (to_image.k_proj, to_image.v_proj, from_image.q_proj),
            (True, False, True),
            positions,
            dtype,
        )
        output = from_image.out_proj
        self._output = output.weight.to(dtype), output.bias.to(dtype)

    def __call__(self, queries: Tensor, keys: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return the new tokens `(N, T, C)` and the new image `(N, h w, C)`."""
        block = self._block
        to_image, from_image = block.cross_attn_token_to_image, block.cross_attn_image_to_token
        if block.skip_first_layer_pe:
            queries = block.self_attn(queries, queries, queries)
        else:
            placed = queries + points
            queries = queries + block.self_attn(placed, placed, queries)
        queries = block.norm1(queries)
        image_keys, image_values, image_queries = self._image(keys)
        asked = to_image.q_proj(queries + points)
        heads = attend_in_heads(asked, image_keys, image_values, to_image.num_heads)
        queries = block.norm2(queries + to_image.out_proj(heads))
        queries = block.norm3(queries + block.mlp(queries))
        token_keys = from_image.k_proj(queries + points)
        token_values = from_image.v_proj(queries)
        attend = attend_to_few if len(token_keys[0]) <= FEW_TOKENS else attend_in_heads
        heads = attend(image_queries, token_keys, token_values, from_image.num_heads)
        weight, bias = self._output
        return queries, block.norm4(keys + linear(heads.to(weight.dtype), weight, bias))


class Upscaling:
    """A deconvolution to twice the size, details of the image, a normalisation or none, GELU.

    Each pixel becomes four, which stay side by side: this saves moving all their channels. Only
    the logits are put in rows, at the end.
    """

    def __init__(self, conv: Any, norm: Any | None, depth: int, dtype: torch.dtype) -> None:
        assert conv.kernel_size == conv.stride == (2, 2)
        self._weight = conv.weight.permute(2, 3, 1, 0).flatten(0, 2).to(dtype)
        self._bias = conv.bias
        self._norm = norm
        self._depth = depth

    def __call__(self, pixels: Tensor, detail: Tensor) -> Tensor:
        """Return `(N, 4P, C')` of `(N, P, C)` and the image's `(1, C', H, W)` of 4P pixels."""
        dtype, count, channels = self._weight.dtype, pixels.shape[1], detail.shape[1]
        added = in_blocks(detail, self._depth).float() + self._bias
        upscaled = linear(pixels.to(dtype), self._weight).view(len(pixels), 4 * count, channels)
        upscaled = upscaled.float().add_(added)
        if self._norm is not None:
            scale, shift, epsilon = self._norm.weight, self._norm.bias, self._norm.eps
            upscaled = layer_norm(upscaled, (channels,), scale, shift, epsilon)
        return gelu(upscaled.to(dtype))


def in_blocks(maps: Tensor, depth: int) -> Tensor:
    """Return the pixels of `(1, C, H, W)` as `(H W, C)`, the four of each block side by side.

    Args:
        maps: What to take the pixels of.
        depth: How many times blocks are divided: 1 is blocks of 2 x 2, 2 of 4 x 4.
    """
    _, channels, height, width = maps.shape
    halves = [2] * depth
    split = maps[0].view(channels, height >> depth, *halves, width >> depth, *halves)
    pairs = [axis for n in range(depth + 1) for axis in (1 + n, 2 + depth + n)]
    return split.permute(*pairs, 0).reshape(-1, channels)


def in_rows(logits: Tensor, height: int, width: int) -> Tensor:
    """Return `(N, M, 4h, 4w)` masks of the `(N, M, h w 16)` pixels of blocks of 4 x 4."""
    split = logits.view(*logits.shape[:2], height, width, 2, 2, 2, 2)
    rows = split.permute(0, 1, 2, 4, 6, 3, 5, 7)
    return rows.reshape(*logits.shape[:2], 4 * height, 4 * width)


def attend_in_heads(queries: Tensor, keys: Tensor, values: Tensor, num_heads: int) -> Tensor:
    """Attend by several heads: `(N, Q, C)`, `(N, K, C)`, `(N, K, C)` to `(N, Q, C)`."""
    heads = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (queries, keys, values))
    return scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)


def attend_to_few(queries: Tensor, keys: Tensor, values: Tensor, num_heads: int) -> Tensor:
    """Attend as `attend_in_heads`, by two matrix products for all heads; faster for few keys.

    Each head's keys get a row of their own, with 0 in the channels of the other heads.
    """
    _, count, channels = keys.shape
    size = channels // num_heads
    own = torch.eye(num_heads, device=keys.device)[:, :, None].expand(-1, -1, size).flatten(1)
    by_head, values_by_head = ((x[:, :, None] * own).flatten(1, 2) for x in (keys, values))
    scores = (by_head * size**-0.5) @ queries.mT
    weights: Tensor = scores.unflatten(1, (count, num_heads)).softmax(dim=1)
    return weights.flatten(1, 2).mT @ values_by_head
