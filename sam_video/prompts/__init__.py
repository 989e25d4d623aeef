"""What the caller points at, in texts, JSON and zips, becomes prompts for the tracker."""

from sam_video.prompts.build import build_prompts, check_num_objects

__all__ = ["build_prompts", "check_num_objects"]
