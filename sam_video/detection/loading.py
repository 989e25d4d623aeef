"""Networks and tokenizers from folders, by way of transformers, which is imported on first use.

A folder is data: its weights are safetensors, no code in it or named by it runs, and nothing is
asked of the network, whatever its files say.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from sam_video.errors import CheckpointError, RequestError, one_line
from sam_video.workers.threads import Future, Worker

OLDEST_TRANSFORMERS = (5, 21)
"""Versions 5.0 to 5.20 give LLMDet's decoder the head of its first layer, and so wrong boxes."""

_MAX_CONFIG_BYTES = 1_000_000
_FROM_THIS_FOLDER = {"local_files_only": True, "trust_remote_code": False}


def check_transformers(engine: str) -> None:
    """Accept the installed transformers, without importing it.

    Args:
        engine: The name in messages.

    Raises:
        RequestError: It is missing or too old.
    """
    remedy = "pip install 'sam_video[text]'"
    if find_spec("transformers") is None:
        raise RequestError(f"text_model {engine} needs the package transformers; {remedy}")
    try:
        found = version("transformers")
    except PackageNotFoundError:
        found = "unknown"
    if _numbers(found) < OLDEST_TRANSFORMERS:
        oldest = ".".join(map(str, OLDEST_TRANSFORMERS))
        raise RequestError(
            f"text_model {engine} needs transformers {oldest} or newer, and {found} is installed;"
            f" {remedy}"
        )


def _numbers(text: str) -> tuple[int, ...]:
    found = re.match(r"(\d+)\.(\d+)", text)
    return tuple(map(int, found.groups())) if found else ()


def load_network(
    folder: Path, kind: str, config_types: Mapping[str, str], device: torch.device
) -> Any:
    """Load a network in float32, ready to run.

    Args:
        folder: Has `config.json` and `model.safetensors`.
        kind: Name of the class in transformers.
        config_types: The `model_type` that `config.json` must state, under the key "", and those
            that it may state of the networks within it, under their keys.
        device: Where it runs.

    Raises:
        CheckpointError: A file is missing or damaged, or does not fit the network.
    """
    _check_config(folder, config_types)
    network, report = _loaded(
        folder, kind, dtype=torch.float32, use_safetensors=True, output_loading_info=True
    )
    if missing := sorted(report["missing_keys"]):
        raise CheckpointError(
            f"{folder} lacks {len(missing)} weights of the network, such as {missing[0]}"
        )
    return network.eval().requires_grad_(False).to(device)


def load_tokenizer(folder: Path, kind: str) -> Any:
    """Load a tokenizer.

    Args:
        folder: Has `tokenizer.json`, or the files of the vocabulary.
        kind: Name of the class in transformers.

    Raises:
        CheckpointError: A file is missing or damaged.
    """
    names = ("tokenizer.json", "vocab.json", "vocab.txt")
    if not any((folder / name).is_file() for name in names):
        raise CheckpointError(f"{folder} has no tokenizer; expected one of {', '.join(names)}")
    return _loaded(folder, kind)


def _loaded(folder: Path, kind: str, **options: Any) -> Any:
    """Load in a thread that runs to its end.

    A cancellation in the middle of an import would leave halves of modules behind. The caller stops
    waiting, and what the thread loads is forgotten.
    """
    call = Future(partial(_load, folder, kind, options))
    worker = Worker(call.run, lambda _: None, is_interruptible=False)
    worker.start()
    loaded = call.result()
    worker.stop()
    return loaded


def _load(folder: Path, kind: str, options: dict[str, Any]) -> Any:
    import transformers  # noqa: PLC0415 (on first use: it takes seconds)

    with _quiet():
        try:
            load = getattr(transformers, kind).from_pretrained
            return load(str(folder), **_FROM_THIS_FOLDER, **options)
        except MemoryError:
            raise
        except Exception as error:  # of json, safetensors, tokenizers, transformers, torch and more
            reason = one_line((str(error).strip().splitlines() or [type(error).__name__])[0])
            raise CheckpointError(f"{folder} cannot be loaded: {reason}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' bars and advice off standard error, where clients read the progress."""
    from transformers.utils import logging  # noqa: PLC0415 (on first use)

    verbosity, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if has_bars:
            logging.enable_progress_bar()


def _check_config(folder: Path, types: Mapping[str, str]) -> None:
    """Accept a folder's configuration before transformers, which builds whatever it names.

    Raises:
        CheckpointError: It is missing or damaged, or describes another network.
    """
    path = folder / "config.json"
    config = _read_config(path)
    for key, expected in types.items():
        part = config.get(key) if key else config
        stated = part.get("model_type") if isinstance(part, dict) else None
        if stated != expected and not (key and stated is None):
            place = f"{key}.model_type" if key else "model_type"
            shown = one_line(repr(stated)[:80])
            raise CheckpointError(f"{path}: {place} is {shown}; expected {expected}")


def _read_config(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_CONFIG_BYTES + 1)
        config = json.loads(data) if len(data) <= _MAX_CONFIG_BYTES else None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not JSON: {one_line(str(error))}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} is not a configuration; expected a short JSON object")
    return config
