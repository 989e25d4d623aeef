"""Where the time of a frame goes: the image encoder by images at a time, the rest by objects."""

import time
from dataclasses import asdict
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from benchmarks.gpu.bench import Bench, ComputedAgain, Milliseconds
from sam_video.model.cuda_graphs import CudaRecorder, record_all
from sam_video.model.image_encoder import ImageEncoder, moved
from sam_video.model.interface import ImageFeatures, MemoryBatch, Prediction
from sam_video.model.recordings import BatchFunction
from sam_video.model.sam2 import SegmentationModel

NUM_MAPS, NUM_POINTERS = 7, 16
"""A full memory bank with one prompted frame."""
FRAME_HW = (720, 1280)


def time_encoder(bench: Bench) -> None:
    """Time the image encoder with 1, 2 and 4 images at a time, recorded or not."""
    encode = image_encoder(bench)
    figures = {count: encoder_row(bench, encode, count) for count in (1, 2, 4)}
    bench.report.figures["encoder, milliseconds an image"] = figures


@torch.inference_mode()
def encoder_row(bench: Bench, encode: ImageEncoder, count: int) -> dict[str, float]:
    """Return the milliseconds an image with so many images at a time."""
    pixels = random_pixels(bench, count)
    eager = bench.milliseconds(partial(encode, pixels), 8)
    found = {"eager": eager.device / count, "eager, in the thread": eager.thread / count}
    if (replay := recorded_encoder(bench, encode, pixels)) is not None:
        found["recorded"] = bench.milliseconds(partial(replay, pixels), 8).device / count
    text = ", ".join(f"{name} {ms:.2f}" for name, ms in found.items())
    bench.report.info(f"{count} images at a time, milliseconds an image: {text}")
    return {name: round(ms, 2) for name, ms in found.items()}


def image_encoder(bench: Bench) -> ImageEncoder:
    """Return the image encoder of the network whose speed matters, as the package prepares it."""
    network = moved(bench.network, bench.device, torch.bfloat16)
    with torch.inference_mode():
        return ImageEncoder(network, dtype=torch.bfloat16)


def random_pixels(bench: Bench, count: int) -> Tensor:
    """Return images for the image encoder."""
    shape = (count, bench.network.image_size, bench.network.image_size, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, device=bench.device)


def recorded_encoder(bench: Bench, encode: ImageEncoder, pixels: Tensor) -> BatchFunction | None:
    """Return the encoder, recorded for so many images; None if that fails."""
    function = BatchFunction(encode, num_shared=0)
    stream = None if bench.is_rehearsal else torch.cuda.Stream()
    recorder = ComputedAgain() if stream is None else CudaRecorder(stream)
    step = partial(function.record, recorder, (pixels,), (len(pixels),))
    is_recorded = record_all([step])
    bench.report.check(is_recorded, f"the encoder is recorded for {len(pixels)} images")
    return function if is_recorded else None


def time_parts(bench: Bench) -> None:
    """Time the verbs of the model on a full memory bank, for several numbers of objects."""
    model, figures = bench.model, {}
    (image,) = model.encode_images(bench.images(1))
    for count in bench.pick((1, 3, 5, 10), (1, 3)):
        parts = time_verbs(bench, model, image, count)
        figures[count] = {name: asdict(ms) for name, ms in parts.items()}
        text = ", ".join(f"{name} {ms.device:.2f} ({ms.thread:.2f})" for name, ms in parts.items())
        bench.report.info(f"{count} objects, milliseconds (of them in the thread): {text}")
    bench.report.figures["parts of a frame, milliseconds"] = figures


@torch.inference_mode()
def time_verbs(
    bench: Bench, model: SegmentationModel, image: ImageFeatures, count: int
) -> dict[str, Milliseconds]:
    """Return what each verb takes for so many objects."""
    informed = model.without_memory(image).expand(count, -1, -1, -1)
    prediction = model.track(image, informed)
    batch = full_bank(model, image, prediction)
    return {
        "attention to memories": bench.milliseconds(partial(model.with_memory, image, batch, 16)),
        "masks": bench.milliseconds(partial(model.track, image, informed)),
        "memories": bench.milliseconds(
            partial(model.encode_memory, image, prediction, is_prompted=False)
        ),
        "results": bench.milliseconds(lambda: model.results_of(prediction, FRAME_HW).result()),
    }


def full_bank(
    model: SegmentationModel, image: ImageFeatures, prediction: Prediction
) -> MemoryBatch:
    """Return the memories of objects that have been tracked for a while."""
    memories = [model.encode_memory(image, prediction, is_prompted=False) for _ in range(NUM_MAPS)]
    count = len(prediction.pointers)
    pointers = prediction.pointers[:, None].expand(-1, NUM_POINTERS, -1).contiguous()
    distances = torch.arange(NUM_POINTERS, dtype=torch.float32, device=pointers.device)
    return MemoryBatch(
        maps=tuple(zip(*memories, strict=True)),
        slots=(tuple(range(NUM_MAPS)),) * count,
        pointers=pointers,
        distances=distances.expand(count, -1).contiguous(),
    )


def time_compiled_trunk(bench: Bench) -> None:
    """Time the image encoder with its trunk compiled: a gain to be had, and what it costs."""
    encode, pixels = image_encoder(bench), random_pixels(bench, 1)
    with torch.inference_mode():
        plain, known = bench.milliseconds(partial(encode, pixels), 5).device, encode(pixels)[0]
        encode._trunk = cast(nn.Module, torch.compile(encode._trunk, dynamic=False))
        started = time.perf_counter()
        found = encode(pixels)[0]
        bench.synchronize()
        seconds = time.perf_counter() - started
        compiled = bench.milliseconds(partial(encode, pixels), 8).device
        error = float((found - known).norm() / known.norm())
    bench.report.figures["compiled trunk"] = {
        "seconds to compile": round(seconds, 1),
        "eager_ms": round(plain, 2),
        "compiled_ms": round(compiled, 2),
        "error": error,
    }
    bench.report.info(
        f"torch.compile of the trunk in {seconds:.0f} s: {plain:.2f} to {compiled:.2f} ms an image,"
        f" error {error:.1e}"
    )
