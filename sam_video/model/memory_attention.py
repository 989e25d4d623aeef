"""SAM 2's memory attention, without the work that the official module repeats.

The weights are those of `sam2.modeling.memory_attention.MemoryAttention`, and so are the results,
up to the rounding of sums in another order:

- What does not depend on the object is computed once for all of them: the first layer's
  self-attention and queries.
- Rotation is linear and positions are added, so the rotated keys of a mask memory are the sum of a
  part that never changes, which is kept with the memory, and one of its temporal slot, from a
  table.
- Attention averages the mask memories themselves, 64 numbers each; their projection to values comes
  after, in one matrix with the projection of the output.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from sam_video.model.attention import (
    Rotation,
    attend,
    attend_one,
    fastest_attention,
    room_for_scores,
    to_tokens,
)
from sam_video.model.cuda_graphs import GraphCached, recorder_for
from sam_video.model.interface import MemoryBatch

KEPT_KEYS = 1 << 18
"""Rotated keys are kept with mask memories of up to this many numbers; on a GPU always.

A CPU spends a fiftieth of the attention on computing large ones again, which would take 17 MB each.
"""


class MemoryAttention:
    """Informs an image's features by the memories of objects.

    Args:
        network: A `SAM2Base`, whose weights are read now and not followed later.
        side: Tokens along each side of the image's features.
        dtype: Of the matrix products.
    """

    def __init__(self, network: Any, *, side: int, dtype: torch.dtype) -> None:
        module = network.memory_attention
        device = network.device
        self._dtype = dtype
        self._width: int = network.mem_dim
        self._norm = module.norm
        image_map = torch.empty(1, network.hidden_dim, side, side, device=device)
        memory_map = torch.empty(1, self._width, side, side, device=device)
        image_positions = network.image_encoder.neck.position_encoding(image_map)
        memory_positions = network.memory_encoder.position_encoding(memory_map)
        self._positions = 0.1 * to_tokens(image_positions)
        self._times = network.maskmem_tpos_enc.flatten(1).flip(0)  # by slot
        self._pointer_positions = network.obj_ptr_tpos_proj
        kept = len(module.layers) * self._positions[0].numel()
        self._keeps_keys = device.type == "cuda" or kept <= KEPT_KEYS
        self._layers = [
            AttentionLayer(layer, to_tokens(memory_positions), self._times, dtype)
            for layer in module.layers
        ]
        if self._keeps_keys:
            for layer in self._layers:
                layer.tabulate_times()
        self._attend = fastest_attention(
            side * side, network.hidden_dim, self._width, dtype=dtype, device=device
        )
        self._inform_batch = GraphCached(self._inform_on_gpu, recorder_for(device))

    def remember(self, maps: Tensor) -> Tensor:
        """Lay out mask memories `(N, h, w, 64)` as `(N, h w 64 + L h w C)` for this class to read.

        After them come the rotated keys of the L layers, without a temporal position. A CPU keeps
        them where they are small, and else has none: `(N, h w 64)`.
        """
        # The official predictor keeps them in bfloat16.
        tokens = maps.flatten(1, 2).bfloat16().to(self._dtype)
        layers = self._layers if self._keeps_keys else []
        parts = [tokens, *(layer.map_keys(tokens) for layer in layers)]
        return torch.cat([part.flatten(1) for part in parts], dim=1)

    def __call__(self, features: Tensor, memory: MemoryBatch, span: int) -> Tensor:
        """Return `(N, C, h, w)` features informed by the memories of N objects.

        Args:
            features: `(1, C, h, w)`.
            memory: What N objects remember, as `remember` laid it out.
            span: Frames over which distances of pointers are counted.
        """
        pointers, positions = self._pointer_tokens(memory, span)
        values = self._values(memory, pointers)
        pointer_keys = [layer.pointer_keys(pointers + positions) for layer in self._layers]
        if features.is_cuda:
            keys = [
                self._batch_keys(number, memory, own) for number, own in enumerate(pointer_keys)
            ]
            (informed,) = self._inform_batch(features, values, *keys)
            return informed

        def average(number: int, queries: Tensor) -> Tensor:
            """Attend object by object, so that scores stay in the caches."""
            averages = values.new_empty(len(values), *queries.shape[1:-1], self._width)
            scores = room_for_scores(queries.shape[1], values)
            rows = zip(memory.maps, memory.slots, pointer_keys[number], strict=True)
            for row, (maps, slots, own) in enumerate(rows):
                keys = self._keys(number, maps, slots, own)
                attend_one(queries[row % len(queries)], keys, values[row], averages[row], scores)
            return averages

        return self._inform(features, average)

    def _inform_on_gpu(self, features: Tensor, values: Tensor, *keys: Tensor) -> tuple[Tensor]:
        """Inform features by values `(N, K, 64)` and each layer's keys `(N, K, C)`."""

        def average(number: int, queries: Tensor) -> Tensor:
            return self._attend(queries.expand(len(values), -1, -1), keys[number], values)

        return (self._inform(features, average),)

    def _inform(self, features: Tensor, average: Callable[[int, Tensor], Tensor]) -> Tensor:
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

    def _values(self, memory: MemoryBatch, pointers: Tensor) -> Tensor:
        """Return `(N, K, 64)`: the maps of each object, one after the other, and its pointers."""
        rows = [
            torch.cat([*(self._memory_tokens(one) for one in maps), own], dim=0)
            for maps, own in zip(memory.maps, pointers, strict=True)
        ]
        return torch.stack(rows)

    def _batch_keys(self, number: int, memory: MemoryBatch, pointer_keys: Tensor) -> Tensor:
        """Return the keys of N objects for one layer, `(N, K, C)`."""
        rows = zip(memory.maps, memory.slots, pointer_keys, strict=True)
        return torch.stack([self._keys(number, maps, slots, own) for maps, slots, own in rows])

    def _keys(
        self, number: int, maps: Sequence[Tensor], slots: Sequence[int], pointer_keys: Tensor
    ) -> Tensor:
        """Return one object's keys for one layer, `(K, C)`."""
        layer, (area, channels) = self._layers[number], self._positions.shape[1:]
        keys = pointer_keys.new_empty(len(maps) * area + len(pointer_keys), channels)
        keys[len(maps) * area :] = pointer_keys
        first = area * (self._width + number * channels)
        for place, (one, slot) in enumerate(zip(maps, slots, strict=True)):
            out = keys[place * area : (place + 1) * area]
            if self._keeps_keys:
                kept = one[first : first + area * channels].view(area, channels)
                torch.add(kept, layer.time_keys[slot], out=out)
            else:
                out.copy_(layer.map_keys(self._memory_tokens(one), slot))
        return keys

    def _memory_tokens(self, one: Tensor) -> Tensor:
        """Return a mask memory itself, `(h w, 64)`, of what `remember` laid out."""
        area = self._positions.shape[1]
        return one[: area * self._width].view(area, self._width)

    def _pointer_tokens(self, memory: MemoryBatch, span: int) -> tuple[Tensor, Tensor]:
        """Split pointers into `(N, P C/64, 64)` tokens and give their positions in time."""
        count, num_pointers, channels = memory.pointers.shape
        if num_pointers == 0:
            nothing = self._positions.new_empty(count, 0, self._width)
            return nothing.to(self._dtype), nothing
        distances = sine_positions(memory.distances / max(1, span - 1), self._positions.shape[2])
        positions = self._pointer_positions(distances)
        tokens = memory.pointers.reshape(count, -1, self._width)
        return tokens.to(self._dtype), positions.repeat_interleave(channels // self._width, dim=1)


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
        self.time_keys = torch.empty(0)
        """Rotated keys of each temporal slot, `(7, h w, C)`, once tabulated."""

    def _weights(
        self, module: Any, order: Tensor | slice = slice(None), scale: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        weight, bias = module.weight[order] * scale, module.bias[order] * scale
        return weight.to(self._dtype), bias.to(self._dtype)

    def tabulate_times(self) -> None:
        """Compute the keys of the temporal slots, to be added to those that memories hold."""
        area = len(self._key_positions)
        by_slot = self._slot_biases[:, None].expand(-1, area, -1)
        self.time_keys = self._rotate(by_slot).to(self._dtype)

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


def sine_positions(distances: Tensor, channels: int) -> Tensor:
    """Encode `(...)` distances as `(..., C)`: `sam2.modeling.sam2_utils.get_1d_sine_pe`."""
    half = channels // 2
    steps = torch.arange(half, dtype=torch.float32, device=distances.device)
    angles = distances[..., None] / 10000 ** (2 * (steps // 2) / half)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
