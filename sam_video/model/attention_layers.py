"""The layers of SAM 2's memory attention, prepared for keys that are computed elsewhere.

The weights are those of `sam2.modeling.memory_attention.MemoryAttentionLayer`.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from sam_video.model.attention import Rotation, attend, fastest_attention, to_tokens


class LayerStack:
    """All layers, one after the other, and the normalisation after the last.

    Args:
        module: A `MemoryAttention` of sam2.
        layers: Its layers, prepared.
        positions: Of an image's tokens, `(1, h w, C)`.
        width: Numbers of a value: 64.
        dtype: Of the matrix products.
    """

    def __init__(
        self,
        module: Any,
        layers: "list[AttentionLayer]",
        positions: Tensor,
        width: int,
        dtype: torch.dtype,
    ) -> None:
        self._layers = layers
        self._positions = positions
        self._norm = module.norm
        area, channels = positions.shape[1:]
        device = positions.device
        self._attend = fastest_attention(area, channels, width, dtype=dtype, device=device)

    def inform_batch(
        self, features: Tensor, keys: Tensor, values: Tensor, num_valid: Tensor | None
    ) -> tuple[Tensor]:
        """Inform features by the memories of N objects at a time, as `BatchAttention` takes it."""

        def average(number: int, queries: Tensor) -> Tensor:
            queries = queries.expand(len(values), -1, -1)
            return self._attend(queries, keys[number], values, num_valid)

        return (self.inform(features, average),)

    def inform(self, features: Tensor, average: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Run the layers.

        Args:
            features: `(1, C, h, w)`.
            average: Takes a layer's number and its queries `(1 or N, h w, C)` to the memories'
                averages `(N, h w, 64)`.
        """
        tokens = to_tokens(features) + self._positions
        for number, layer in enumerate(self._layers):
            tokens = layer.attend_to_itself(tokens)
            tokens = layer.finish(tokens, average(number, layer.queries(tokens)))
        informed: Tensor = self._norm(tokens).transpose(1, 2)
        return informed.reshape(-1, *features.shape[1:])


class AttentionLayer:
    """One layer of the memory attention: to itself, to the memories, and a small perceptron.

    Args:
        module: A `MemoryAttentionLayer`.
        positions: Of a mask memory's tokens, `(1, h w, 64)`.
        times: Temporal positions by slot, `(7, 64)`.
        dtype: Of the matrix products.
    """

    def __init__(self, module: Any, positions: Tensor, times: Tensor, dtype: torch.dtype) -> None:
        assert not module.pos_enc_at_attn
        assert not module.pos_enc_at_cross_attn_queries
        itself, memories = module.self_attn, module.cross_attn_image
        assert itself.num_heads == memories.num_heads == 1
        self._dtype = dtype
        self._norms = module.norm1, module.norm2, module.norm3
        side, channels = math.isqrt(positions.shape[1]), module.d_model
        # `compute_cis` holds the options of the module's own table.
        theta = memories.compute_cis.keywords["theta"]
        self._rotate = Rotation.of_grid(side, channels, theta).to(positions.device)
        order, scale = Rotation.order(channels).to(positions.device), channels**-0.5
        self._own_queries = self._weights(itself.q_proj, order, scale)
        self._own_keys = self._weights(itself.k_proj, order)
        self._own_values = self._weights(itself.v_proj)
        self._own_output = self._weights(itself.out_proj)
        self._queries = self._weights(memories.q_proj, order, scale)
        key_weight, key_bias = memories.k_proj.weight[order], memories.k_proj.bias[order]
        self._keys = key_weight.to(dtype), key_bias.to(dtype)
        self._key_positions = self._rotate(linear(positions[0], key_weight, key_bias))
        self._slot_biases = linear(times, key_weight)
        output, values = memories.out_proj, memories.v_proj
        self._output = (
            (output.weight @ values.weight).to(dtype),
            linear(values.bias, output.weight, output.bias).to(dtype),
        )
        self._perceptron = self._weights(module.linear1), self._weights(module.linear2)

    def _weights(
        self, module: Any, order: Tensor | slice = slice(None), scale: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        weight, bias = module.weight[order] * scale, module.bias[order] * scale
        return weight.to(self._dtype), bias.to(self._dtype)

    def time_keys(self) -> Tensor:
        """Return the rotated keys of the temporal slots, `(7, h w, C)`, to add to those of maps."""
        area = len(self._key_positions)
        by_slot = self._slot_biases[:, None].expand(-1, area, -1)
        return self._rotate(by_slot).to(self._dtype)

    def map_keys(self, tokens: Tensor, slot: int | None = None) -> Tensor:
        """Return rotated keys of mask memories `(..., h w, 64)`, in the time of a slot if given."""
        keys = linear(tokens, self._keys[0]).float()
        if slot is not None:
            keys += self._slot_biases[slot]
        return (self._rotate(keys).add_(self._key_positions)).to(self._dtype)

    def pointer_keys(self, tokens: Tensor) -> Tensor:
        """Return the keys of pointers `(N, P, 64)`, which have no place in the image."""
        return linear(tokens.to(self._dtype), *self._keys)

    def attend_to_itself(self, tokens: Tensor) -> Tensor:
        """Add what self-attention gives to `(N, h w, C)` tokens."""
        normed = self._norms[0](tokens).to(self._dtype)
        queries = self._rotate(linear(normed, *self._own_queries))
        keys = self._rotate(linear(normed, *self._own_keys))
        averages = attend(queries, keys, linear(normed, *self._own_values))
        return tokens + linear(averages, *self._own_output)

    def queries(self, tokens: Tensor) -> Tensor:
        """Return the rotated queries of `(N, h w, C)` tokens to the memories."""
        normed = self._norms[1](tokens).to(self._dtype)
        return self._rotate(linear(normed, *self._queries))

    def finish(self, tokens: Tensor, averages: Tensor) -> Tensor:
        """Add averaged memories `(N, h w, 64)` and then what the perceptron gives."""
        tokens = tokens + linear(averages, *self._output)
        expand, contract = self._perceptron
        hidden = linear(self._norms[2](tokens).to(self._dtype), *expand).relu_()
        return tokens.add_(linear(hidden, *contract))
