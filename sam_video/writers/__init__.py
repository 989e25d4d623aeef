"""Sinks for masks: each writes one kind of file, frame by frame."""

from sam_video.writers.for_request import extra_sinks, primary_sink
from sam_video.writers.write_behind import WriteBehind

__all__ = ["WriteBehind", "extra_sinks", "primary_sink"]
