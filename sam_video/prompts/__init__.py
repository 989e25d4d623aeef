"""Turn a request's clicks, boxes, masks and words into prompts and concepts."""

from sam_video.prompts.build import build_prompts
from sam_video.prompts.concepts import build_concepts
from sam_video.prompts.fit import fit_prompts

__all__ = ["build_concepts", "build_prompts", "fit_prompts"]
