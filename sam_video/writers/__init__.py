"""Sinks for masks: each writes one kind of file, frame by frame."""

from sam_video.writers.images import ImageSequenceWriter
from sam_video.writers.run_lengths import RleWriter
from sam_video.writers.sink import Sink
from sam_video.writers.videos import MaskVideoWriter

__all__ = ["ImageSequenceWriter", "MaskVideoWriter", "RleWriter", "Sink"]
