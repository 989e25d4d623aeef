"""SAM 2's memory attention, without the work that the official module repeats.

The weights and results are those of `sam2.modeling.memory_attention.MemoryAttention`, up to the
rounding of sums in another order:

- The first layer's self-attention and queries do not depend on the object, and are computed once
  for all objects.
- Rotation is linear and positions are added. So the rotated keys of a mask memory are the sum of
  two parts: one never changes and is kept with the memory while there is room for it, the other
  depends on the temporal slot and comes from a table.
- Attention averages the mask memories themselves, 64 numbers each; their projection to values comes
  after, in one matrix with the projection of the output.
"""

import sys
from collections.abc import Sequence
from functools import partial
from itertools import count
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from sam_video.model.attention import attend_one, room_for_scores, to_tokens
from sam_video.model.attention_layers import AttentionLayer, LayerStack
from sam_video.model.batch_attention import BatchAttention, KeyShape
from sam_video.model.interface import MemoryBatch

SMALL_KEYS = 1 << 18
"""Numbers in the rotated keys of one mask memory, up to which a CPU keeps all of them.

It spends a fiftieth of the attention on computing large ones again, which would take 17 MB each.
"""

KEYS_SHARE = 0.5
"""Share of a GPU's free memory, measured when the model is set up, that rotated keys may take.

With `large`, the keys of a mask memory take 8.4 MB and all else that it holds 0.5 MB. The memory of
a GPU of 48 GB, in GB, with 1000 objects of one prompted frame each:

| 1000 x 7 mask memories without keys | 3.7 |
| 1000 x 16 object pointers, and the logits of 1000 prompted masks | 0.3 |
| Rotated keys of some 2700 of the 7000 mask memories | 22.6 |
| Weights, in float32 and in bfloat16 | 1.4 |
| One call with 16 objects that is not recorded, and all recorded ones | 4.4 |
| Free | 15.9 |
"""


class LivingKeys:
    """Counts the mask memories that hold rotated keys, as long as somebody holds the memories.

    Args:
        limit: How many may live at a time. Threads that ask at the same time may exceed it by what
            each of them asks for.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._numbers = count()
        self._memories: WeakValueDictionary[int, Tensor] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._memories)

    def have_room_for(self, num_memories: int) -> bool:
        """Tell whether so many more memories may hold keys."""
        return len(self) + num_memories <= self.limit

    def add(self, memories: Sequence[Tensor]) -> None:
        """Count memories until they are forgotten."""
        for memory in memories:
            self._memories[next(self._numbers)] = memory


class MemoryAttention:
    """Informs an image's features by the memories of objects.

    Args:
        network: A `SAM2Base`, whose weights are read now and not followed later.
        side: Tokens along each side of the image's features.
        dtype: Of the matrix products.
        key_bytes: Of memory that the rotated keys of all mask memories may take; by default
            `KEYS_SHARE` of what a GPU has free, and on a CPU as `SMALL_KEYS` says.
        attends_in_batches: Attend for several objects at a time, as a GPU does, and not for one
            after the other.
    """

    def __init__(
        self,
        network: Any,
        *,
        side: int,
        dtype: torch.dtype,
        key_bytes: int | None = None,
        attends_in_batches: bool = False,
    ) -> None:
        module = network.memory_attention
        device = network.device
        self._dtype = dtype
        self._width: int = network.mem_dim
        image_map = torch.empty(1, network.hidden_dim, side, side, device=device)
        memory_map = torch.empty(1, self._width, side, side, device=device)
        image_positions = network.image_encoder.neck.position_encoding(image_map)
        memory_positions = to_tokens(network.memory_encoder.position_encoding(memory_map))
        self._positions = 0.1 * to_tokens(image_positions)
        self._pointer_positions = network.obj_ptr_tpos_proj
        times = network.maskmem_tpos_enc.flatten(1).flip(0)  # by slot
        self._layers = [
            AttentionLayer(layer, memory_positions, times, dtype) for layer in module.layers
        ]
        stack = LayerStack(module, self._layers, self._positions, self._width, dtype)
        self._inform = stack.inform
        self.in_batches = BatchAttention(stack.inform_batch, self._key_shape(network))
        self._attends_in_batches = attends_in_batches
        self._living_keys = LivingKeys(self._most_keys(device, key_bytes))
        self._time_keys = torch.empty(0)
        """Rotated keys of each temporal slot, `(7, L, h w, C)`, to be added to those of maps."""
        if self._living_keys.limit:
            self._time_keys = torch.stack([layer.time_keys() for layer in self._layers], dim=1)

    def _key_shape(self, network: Any) -> KeyShape:
        area, channels = self._positions.shape[1:]
        pointers = network.max_obj_ptrs_in_encoder * (channels // self._width)
        bank = network.num_maskmem * area + pointers
        return KeyShape(len(self._layers), channels, self._width, bank, self._dtype)

    def _most_keys(self, device: torch.device, key_bytes: int | None) -> int:
        """Return the number of mask memories that may hold rotated keys."""
        num_numbers = len(self._layers) * self._positions[0].numel()
        if key_bytes is None and device.type == "cpu":
            return sys.maxsize if num_numbers <= SMALL_KEYS else 0
        if key_bytes is None:
            key_bytes = int(KEYS_SHARE * torch.cuda.mem_get_info(device)[0])
        return key_bytes // (num_numbers * self._dtype.itemsize)

    def has_room_for_keys(self, num_memories: int) -> bool:
        """Tell whether so many more mask memories may hold their rotated keys."""
        return self._living_keys.have_room_for(num_memories)

    def remember(self, maps: Tensor, *, with_keys: bool) -> Tensor:
        """Lay out mask memories `(N, h, w, 64)` for this class to read.

        Args:
            maps: What `MemoryEncoder` gives.
            with_keys: Append the rotated keys of the L layers, without a temporal position. They
                save time and take 16 times the memory; without them, they are computed whenever
                they are attended to.

        Returns:
            `(N, h w 64)`, or `(N, h w 64 + L h w C)` with keys.
        """
        # The official predictor keeps them in bfloat16.
        tokens = maps.flatten(1, 2).bfloat16().to(self._dtype)
        layers = self._layers if with_keys else []
        parts = [tokens, *(layer.map_keys(tokens) for layer in layers)]
        return torch.cat([part.flatten(1) for part in parts], dim=1)

    def split(self, memories: Tensor) -> tuple[Tensor, ...]:
        """Return the N memories that `remember` laid out; while they live, their keys count."""
        rows = memories.unbind()
        if self._holds_keys(rows[0]):
            self._living_keys.add(rows)
        return rows

    def __call__(self, features: Tensor, memory: MemoryBatch, span: int) -> Tensor:
        """Return `(N, C, h, w)` features informed by the memories of N objects.

        Args:
            features: `(1, C, h, w)`.
            memory: What N objects remember, as `remember` laid it out.
            span: Frames over which distances of pointers are counted.
        """
        pointers, positions = self._pointer_tokens(memory, span)
        pointer_keys = [layer.pointer_keys(pointers + positions) for layer in self._layers]
        if self._attends_in_batches:
            num_keys = len(memory.maps[0]) * self._positions.shape[1] + pointers.shape[1]
            write = partial(self._write, memory, (pointers, pointer_keys))
            return self.in_batches(features, len(memory.maps), num_keys, write)
        values = self._values(memory, pointers)

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

    def _values(self, memory: MemoryBatch, pointers: Tensor) -> Tensor:
        """Return `(N, K, 64)`: the maps of each object, one after the other, and its pointers."""
        rows = [
            torch.cat([*(self._memory_tokens(one) for one in maps), own], dim=0)
            for maps, own in zip(memory.maps, pointers, strict=True)
        ]
        return torch.stack(rows)

    def _write(
        self,
        memory: MemoryBatch,
        pointers: tuple[Tensor, Sequence[Tensor]],
        rows: slice,
        keys: Tensor,
        values: Tensor,
    ) -> None:
        """Write the keys of some objects, `(L, n, K, C)`, and their values `(n, K, 64)`.

        Args:
            memory: What N objects remember.
            pointers: Tokens of their pointers `(N, P, 64)` and, by layer, the keys `(N, P, C)`.
            rows: Which objects.
            keys: The first of K places are written.
            values: As the keys.
        """
        area = self._positions.shape[1]
        all_slots = memory.slots[rows]
        for row, maps in enumerate(memory.maps[rows]):
            for place, (one, slot) in enumerate(zip(maps, all_slots[row], strict=True)):
                pixels = slice(place * area, (place + 1) * area)
                values[row, pixels] = self._memory_tokens(one)
                self._write_layers(one, slot, keys[:, row, pixels])
        tokens, pointer_keys = pointers
        first = len(memory.maps[0]) * area
        last = first + tokens.shape[1]
        values[:, first:last] = tokens[rows]
        for layer_keys, own in zip(keys, pointer_keys, strict=True):
            layer_keys[:, first:last] = own[rows]

    def _write_layers(self, one: Tensor, slot: int, out: Tensor) -> None:
        """Write one mask memory's keys for all layers, `(L, h w, C)`, by one kernel if possible."""
        if self._holds_keys(one):
            torch.add(self._kept_keys(one), self._time_keys[slot], out=out)
            return
        for number, layer_out in enumerate(out):
            self._write_keys(number, one, slot, layer_out)

    def _keys(
        self, number: int, maps: Sequence[Tensor], slots: Sequence[int], pointer_keys: Tensor
    ) -> Tensor:
        """Return one object's keys for one layer, `(K, C)`."""
        area, channels = self._positions.shape[1:]
        keys = pointer_keys.new_empty(len(maps) * area + len(pointer_keys), channels)
        keys[len(maps) * area :] = pointer_keys
        for place, (one, slot) in enumerate(zip(maps, slots, strict=True)):
            self._write_keys(number, one, slot, keys[place * area : (place + 1) * area])
        return keys

    def _write_keys(self, number: int, one: Tensor, slot: int, out: Tensor) -> None:
        """Write one mask memory's keys for one layer, `(h w, C)`."""
        layer = self._layers[number]
        if self._holds_keys(one):
            torch.add(self._kept_keys(one)[number], self._time_keys[slot, number], out=out)
        elif self._living_keys.limit:
            computed = layer.map_keys(self._memory_tokens(one))
            torch.add(computed, self._time_keys[slot, number], out=out)
        else:
            out.copy_(layer.map_keys(self._memory_tokens(one), slot))

    def _kept_keys(self, one: Tensor) -> Tensor:
        """Return the keys that a mask memory holds, `(L, h w, C)`."""
        area, channels = self._positions.shape[1:]
        return one[area * self._width :].view(-1, area, channels)

    def _holds_keys(self, one: Tensor) -> bool:
        return one.numel() > self._positions.shape[1] * self._width

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


def sine_positions(distances: Tensor, channels: int) -> Tensor:
    """Encode `(...)` distances as `(..., C)`: `sam2.modeling.sam2_utils.get_1d_sine_pe`."""
    half = channels // 2
    steps = torch.arange(half, dtype=torch.float32, device=distances.device)
    angles = distances[..., None] / 10000 ** (2 * (steps // 2) / half)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
