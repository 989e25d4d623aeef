"""Turn a request's clicks, boxes and masks (text, JSON and zip) into prompts for the tracker."""

from sam_video.prompts.build import build_prompts
from sam_video.prompts.fit import fit_prompts

__all__ = ["build_prompts", "fit_prompts"]
