"""Sinks for masks: each writes one kind of file, frame by frame."""

from sam_video.writers.for_request import extra_sinks, file_patterns, primary_sink
from sam_video.writers.output_folder import OutputFolder
from sam_video.writers.write_behind import WriteBehind

__all__ = ["OutputFolder", "WriteBehind", "extra_sinks", "file_patterns", "primary_sink"]
