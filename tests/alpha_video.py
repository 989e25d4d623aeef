"""Transparent videos, decoded as browsers do."""

from pathlib import Path

import av
import numpy as np
import numpy.typing as npt


def decode_alpha(path: Path) -> list[npt.NDArray[np.uint8]]:
    """Decode with libvpx to `(H, W, 4)` RGBA; FFmpeg's own VP9 decoder leaves out the alpha."""
    decoder = av.CodecContext.create("libvpx-vp9", "r")
    with av.open(path) as container:
        frames = [
            frame
            for packet in container.demux(video=0)
            for frame in decoder.decode(packet if packet.size else None)
        ]
    return [np.dstack([frame.to_ndarray(format="rgb24"), _alpha(frame)]) for frame in frames]


def _alpha(frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
    # FFmpeg's conversion to rgba loses the last columns of some widths, so the plane is read.
    plane = frame.planes[3]
    return np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)[:, : plane.width]
