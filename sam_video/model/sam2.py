"""SAM 2 as a few verbs on batches of objects, without the state of any video.

The methods follow `SAM2Base` and `SAM2VideoPredictor` of sam2 1.1.0 and name the method they
follow. Two things differ: the best of three masks is picked before it is resized, and holes in
masks are not filled, since the official filling exists for CUDA only.
"""

from collections.abc import Sequence
from functools import partial
from typing import cast

import numpy as np
import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor

from sam_video.limits import gpu_features
from sam_video.model.cuda_graphs import CudaRecorder, Recorder, is_recording_off
from sam_video.model.device import default_device, default_dtype, device_name
from sam_video.model.image_encoder import ImageEncoder, moved
from sam_video.model.interface import ImageFeatures, MemoryBatch, PendingResults, Prediction
from sam_video.model.memory_attention import MemoryAttention
from sam_video.model.memory_encoder import MemoryEncoder, encode_memories
from sam_video.model.pixels import (
    confidence_levels,
    enlarge,
    pack_masks,
    resize_image,
    resize_masks,
    unpack_masks,
)
from sam_video.model.recordings import BatchFunction
from sam_video.model.results import CopiedResults, ResultTensors
from sam_video.model.sam_heads import Points, SamHeads, labelled_points
from sam_video.model.side_stream import SideStream
from sam_video.model.tracked_work import TrackedWork
from sam_video.progress import timed_step
from sam_video.types import BoolMask, ObjectPrompt, RGBImage

IMAGES_PER_CALL = 1
"""Frames that a GPU encodes at a time. One is work for a whole GPU with the large networks, its
mask comes soonest, and tracking never waits behind several. That is reckoned, not measured:
`python -m benchmarks.gpu` times 1, 2 and 4."""
_LARGE_INPUT = 512
"""Pixels along a side; from this size on, operations divide well among a CPU's cores."""
_LOGIT_LIMIT = 32.0
"""As `SAM2VideoPredictor.add_new_points_or_box` clamps `prev_sam_mask_logits`."""


class SegmentationModel:
    """SAM 2 as a `Model`.

    Args:
        network: From `build_network`, with weights.
        device: Where it runs; by default the GPU where there is one.
        dtype: Of the matrix products; by default as `default_dtype` says.
        key_bytes: As `MemoryAttention` takes it.
        recorder: Records the work of a tracked frame; by default CUDA graphs, on a GPU.
    """

    def __init__(
        self,
        network: SAM2Base,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
        key_bytes: int | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self.device = device or default_device()
        self.dtype = dtype or default_dtype(self.device)
        self._is_on_gpu = self.device.type == "cuda"
        self._size: int = network.image_size
        self._num_cores = torch.get_num_threads()
        # For each new number of keys in each thread, cuDNN would make a plan, for up to half a
        # second on a Hopper GPU, and keep it for good.
        torch.backends.cuda.enable_cudnn_sdp(False)
        if network.device != self.device:
            with timed_step(f"reading the weights, and moving them to {device_name(self.device)}"):
                network = moved(network, self.device, self.dtype)
        in_batches = self._is_on_gpu or recorder is not None
        with timed_step("preparing the model"):
            self._prepare_parts(network.eval(), key_bytes, in_batches=in_batches)
        records = self._is_on_gpu and "recording" in gpu_features()
        self._beside = SideStream(self.device) if records else None
        self._record(recorder)

    @torch.inference_mode()
    def _prepare_parts(self, network: SAM2Base, key_bytes: int | None, *, in_batches: bool) -> None:
        """Compute what depends on the weights and the input size alone.

        No part refers to this object, so that forgetting the model frees its memory at once.
        """
        self._no_memory: Tensor = network.no_mem_embed.view(1, -1, 1, 1)
        self._heads = SamHeads(network, dtype=self.dtype)
        encode = MemoryEncoder(network, dtype=self.dtype)
        self._memory_attention = MemoryAttention(
            network,
            side=network.image_size // network.backbone_stride,
            dtype=self.dtype,
            key_bytes=key_bytes,
            attends_in_batches=in_batches,
        )
        remember = self._memory_attention.remember
        self._encode_memories = {
            with_keys: BatchFunction(
                partial(encode_memories, encode, partial(remember, with_keys=with_keys)), 1
            )
            for with_keys in (False, True)
        }
        self._work = TrackedWork(
            BatchFunction(ImageEncoder(network, dtype=self.dtype), num_shared=0),
            self._memory_attention.in_batches,
            BatchFunction(self._heads.predict_without_prompt, num_shared=2),
            self._encode_memories[self._memory_attention.has_room_for_keys(1)],
        )

    @torch.inference_mode()
    def _record(self, recorder: Recorder | None) -> None:
        """Record the work of a tracked frame, so that nothing is recorded during a prediction."""
        if recorder is not None:
            self._work.record((1, self._size), self.device, recorder, recorder)
        if self._beside is None:
            return
        if not is_recording_off():
            beside = CudaRecorder(self._beside.stream)
            # Tracking is waited for: its kernels go before those of the encoder.
            ahead = CudaRecorder(torch.cuda.Stream(self.device, priority=-1))
            shape = IMAGES_PER_CALL, self._size
            with timed_step("recording the work of a tracked frame"):
                is_recorded = self._work.record(shape, self.device, beside, ahead)
            if not is_recorded:
                self._beside = None  # as simple as can be, after a failure
        torch.cuda.synchronize()  # for the side stream, which does not wait for the weights

    @property
    def num_workers(self) -> int:
        """Number of batches of objects to track side by side.

        On a CPU one for each core: most operations are too small to be divided among several.
        """
        return self._num_cores if self.device.type == "cpu" else 1

    def share_cores(self, num_threads: int) -> None:
        """Let operations of the current thread use an equal part of the CPU's cores."""
        torch.set_num_threads(max(1, self._num_cores // num_threads))

    @property
    def encodes_ahead(self) -> bool:
        """Whether to encode the next frames in a thread, beside the tracking.

        Not on a CPU with a large network: its operations divide well among all cores, and encoding
        takes much longer than tracking, or much less, so that one of two threads would wait.
        """
        return self._is_on_gpu or self._size < _LARGE_INPUT

    @property
    def num_images(self) -> int:
        """Number of frames to encode at a time."""
        return IMAGES_PER_CALL if self._is_on_gpu else 1

    @torch.inference_mode()
    def encode_images(self, images: Sequence[RGBImage]) -> list[ImageFeatures]:
        """Run the image encoder, as `SAM2Base.forward_image` does, on a GPU beside all else."""
        pixels = torch.from_numpy(np.stack([resize_image(image, self._size) for image in images]))

        def encode() -> tuple[Tensor, ...]:
            return self._work.encode(self._upload(pixels))

        maps, ready = (encode(), None) if self._beside is None else self._beside.run(encode)
        by_frame = zip(*(one.split(1) for one in maps), strict=True)
        return [
            ImageFeatures(features, (stride4, stride8), ready)
            for features, stride4, stride8 in by_frame
        ]

    def _upload(self, values: Tensor) -> Tensor:
        """Copy from the CPU to the device, without waiting for what that has to do."""
        if not self._is_on_gpu:
            return values
        return values.pin_memory().to(self.device, non_blocking=True)

    @torch.inference_mode()
    def without_memory(self, image: ImageFeatures) -> Tensor:
        """Add the embedding of no memory, as the option `directly_add_no_mem_embed` does."""
        image.wait()
        return image.features + self._no_memory

    @torch.inference_mode()
    def with_memory(self, image: ImageFeatures, memory: MemoryBatch, span: int) -> Tensor:
        """Attend to memories, as `SAM2Base._prepare_memory_conditioned_features` does."""
        image.wait()
        return self._memory_attention(image.features, memory, span)

    @torch.inference_mode()
    def track(self, image: ImageFeatures, informed: Tensor) -> Prediction:
        """Predict masks without prompts, as `SAM2Base._forward_sam_heads` does."""
        image.wait()
        return Prediction(*self._work.decode(*image.high_res, informed))

    @torch.inference_mode()
    def decode(
        self,
        image: ImageFeatures,
        informed: Tensor,
        prompts: list[ObjectPrompt],
        frame_hw: tuple[int, int],
        previous: Prediction | None = None,
    ) -> Prediction:
        """Predict masks from prompts, as `SAM2Base._forward_sam_heads` does."""
        image.wait()
        points = self._points(prompts, frame_hw)
        informed = informed.expand(len(prompts), -1, -1, -1)
        logits = None if previous is None else previous.mask_logits
        if logits is not None:
            logits = logits.clamp(-_LOGIT_LIMIT, _LOGIT_LIMIT)
        is_ambiguous = self._heads.is_ambiguous(num_points=points[1].shape[1])
        return self._heads.predict(image, informed, points, logits, is_ambiguous=is_ambiguous)

    @torch.inference_mode()
    def candidates(
        self,
        image: ImageFeatures,
        informed: Tensor,
        prompts: list[ObjectPrompt],
        frame_hw: tuple[int, int],
    ) -> tuple[BoolMask, Tensor]:
        """Return all three masks of the decoder, as `SAM2ImagePredictor.predict` does."""
        image.wait()
        points = self._points(prompts, frame_hw)
        informed = informed.expand(len(prompts), -1, -1, -1)
        logits, ious, _, _ = self._heads.decode(image, informed, points, None, is_ambiguous=True)
        return self._masks(logits.float(), frame_hw), ious.float().cpu()

    def _points(self, prompts: list[ObjectPrompt], frame_hw: tuple[int, int]) -> Points:
        points, labels = labelled_points(prompts)
        scaled = points / torch.tensor([frame_hw[1], frame_hw[0]]) * self._size
        return self._upload(scaled), self._upload(labels)

    @torch.inference_mode()
    def adopt_masks(
        self, image: ImageFeatures, informed: Tensor, masks: list[BoolMask]
    ) -> Prediction:
        """Take masks as they are: `SAM2VideoPredictor.add_new_mask`, `_use_mask_as_output`."""
        image.wait()
        stacked = torch.stack([torch.from_numpy(mask)[None].float() for mask in masks])
        resized = resize_masks(self._upload(stacked), self._size, antialias=True)
        inputs = (resized >= 0.5).float()
        prompt = self._heads.mask_prompt(inputs)
        informed = informed.expand(len(masks), -1, -1, -1)
        decoded = self._heads.predict(image, informed, None, prompt, is_ambiguous=False)
        is_visible = inputs.flatten(1).any(dim=1, keepdim=True)
        # The scale and bias of 20 and -10 are those of `_use_mask_as_output`.
        return Prediction(
            mask_logits=resize_masks(inputs * 20 - 10, self._size // 4, antialias=True),
            pointers=self._heads.blank_absent(decoded.pointers, is_visible),
            object_score_logits=is_visible.float() * 20 - 10,
            predicted_ious=torch.ones(len(masks), device=self.device),
        )

    @torch.inference_mode()
    def encode_memory(
        self, image: ImageFeatures, prediction: Prediction, *, is_prompted: bool
    ) -> tuple[Tensor, ...]:
        """Encode masks as `SAM2Base._encode_new_memory` does.

        Masks of prompted frames are remembered as the user saw them: 0 or 1, without shades.
        """
        image.wait()
        logits = prediction.mask_logits
        if is_prompted:  # the scale of the sigmoid makes these 0 and 1
            logits = torch.where(resize_masks(logits, self._size) > 0, torch.inf, -torch.inf)
        encode = self._encode_memories[self._memory_attention.has_room_for_keys(len(logits))]
        (memories,) = encode(image.features, logits, prediction.object_score_logits)
        return self._memory_attention.split(memories)

    @torch.inference_mode()
    def results_of(
        self, prediction: Prediction, frame_hw: tuple[int, int], *, with_confidences: bool = False
    ) -> PendingResults:
        """Return the results at the frame's size; they come from a GPU in one copy."""
        logits = enlarge(prediction.mask_logits, frame_hw)[:, 0]
        masks = logits > 0
        results = ResultTensors(
            masks,
            prediction.object_score_logits[:, 0].sigmoid(),
            prediction.predicted_ious,
            confidence_levels(logits, masks) if with_confidences else None,
        )
        return CopiedResults(results) if self._is_on_gpu else results

    def _masks(self, logits: Tensor, frame_hw: tuple[int, int]) -> BoolMask:
        masks = enlarge(logits, frame_hw) > 0
        if not self._is_on_gpu:
            return cast(BoolMask, masks.numpy())
        return unpack_masks(pack_masks(masks).cpu().numpy(), frame_hw[1])

    def free_recordings(self) -> bool:
        """Free the memory of recorded work; return whether there was any. Tracking is slower then.

        Threads that use the model go on undisturbed.
        """
        return self._work.free()
