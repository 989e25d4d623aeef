"""Sinks for masks: each writes one kind of file, frame by frame."""

from sam_video.writers.boxes import BoxWriter
from sam_video.writers.candidates import CandidateWriter
from sam_video.writers.images import ImageSequenceWriter
from sam_video.writers.overlays import OverlayWriter, SoundReader
from sam_video.writers.previews import PreviewWriter
from sam_video.writers.run_lengths import rle_writer
from sam_video.writers.sink import Sink
from sam_video.writers.videos import MaskVideoWriter
from sam_video.writers.zips import confidence_zip, mask_zip

__all__ = [
    "BoxWriter",
    "CandidateWriter",
    "ImageSequenceWriter",
    "MaskVideoWriter",
    "OverlayWriter",
    "PreviewWriter",
    "Sink",
    "SoundReader",
    "confidence_zip",
    "mask_zip",
    "rle_writer",
]
