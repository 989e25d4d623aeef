"""The folder of SAM 3's weights, which its licence lets only the user fetch, and what lies in it.

All of SAM 3's classes in transformers load from this one folder. `transformers` is imported by the
functions that load, not before.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sam_video.errors import CheckpointError, PromptError, RequestError, one_line

NUM_TOKENS = 32
"""Places of the text encoder; a start and an end token take two of them."""

HOW_TO_GET_IT = (
    "SAM 3's weights are gated: accept the SAM License at https://huggingface.co/facebook/sam3, and"
    " put config.json, model.safetensors and the tokenizer's files from there into weights/sam3 or"
    " $SAM_VIDEO_WEIGHTS/sam3"
)


def find_sam3_folder(folders: Sequence[Path]) -> Path:
    """Return the first of some folders that holds SAM 3.

    Args:
        folders: Where it may lie, such as `weights/sam3`.

    Raises:
        CheckpointError: It is in none of them; the message says how to get it.
    """
    for folder in folders:
        if (folder / "config.json").is_file():
            return folder
    tried = " or ".join(str(folder) for folder in folders)
    raise CheckpointError(f"SAM 3 is not in {tried}; {HOW_TO_GET_IT}")


def load_network(kind: type[Any], folder: Path, device: torch.device) -> Any:
    """Load one of SAM 3's networks, with every weight from the folder.

    Args:
        kind: A class of transformers, or one made from it.
        folder: As `find_sam3_folder` returns it.
        device: Where the network is to run.

    Raises:
        CheckpointError: A file is missing or damaged, or does not fit the network.
    """
    try:
        network, report = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except Exception as error:  # of json, safetensors, huggingface_hub, transformers and torch
        raise CheckpointError(
            f"{folder} cannot be loaded: {_reason(error)}; {HOW_TO_GET_IT}"
        ) from error
    if missing := sorted(report["missing_keys"]):
        raise CheckpointError(
            f"{folder} lacks {len(missing)} weights, such as {missing[0]}; {HOW_TO_GET_IT}"
        )
    return network.eval().requires_grad_(False).to(device)


def _reason(error: Exception) -> str:
    return one_line(str(error).strip().split("\n")[0]) or type(error).__name__


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[None]:
    """Run matrix products in a type; weights, sums and what is sensitive stay float32."""
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


def quiet_transformers() -> None:
    """Import transformers, and keep its bars and advice off standard error.

    Raises:
        RequestError: It is not installed.
    """
    try:
        import transformers  # noqa: PLC0415 (on first use)
    except ImportError as error:
        raise RequestError(
            "text_model is 'sam3', which needs a package that is not installed: transformers; run"
            ' `pip install "sam_video[text]"`'
        ) from error
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


class Sam3Tokenizer:
    """Turns concepts into the tokens of SAM 3's text encoder.

    Args:
        folder: As `find_sam3_folder` returns it.

    Raises:
        CheckpointError: The tokenizer's files are missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        from transformers import CLIPTokenizer  # noqa: PLC0415 (on first use)

        has_files = any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json"))
        try:
            self._tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # as above
            raise CheckpointError(
                f"{folder} has no tokenizer: {_reason(error)}; {HOW_TO_GET_IT}"
            ) from error
        if not has_files:  # transformers has made one that knows no words
            raise CheckpointError(f"{folder} has no tokenizer.json; {HOW_TO_GET_IT}")

    def encode(self, concept: str, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the `(1, 32)` int64 tokens of a concept, and 1 for each that is not padding.

        Raises:
            PromptError: The concept has too many tokens.
        """
        tokens = self._tokenizer(
            concept, return_tensors="pt", padding="max_length", max_length=NUM_TOKENS
        )
        num_tokens = int(tokens["attention_mask"].sum())
        if num_tokens > NUM_TOKENS:
            shown = concept if len(concept) <= 60 else f"{concept[:60]}…"
            raise PromptError(
                f"text_prompt has {one_line(repr(shown))} of {num_tokens - 2} word pieces; expected"
                f" at most {NUM_TOKENS - 2} a concept with sam3"
            )
        return tokens["input_ids"].to(device), tokens["attention_mask"].to(device)
