"""GGUF files, through the operations of ComfyUI-GGUF where that pack is installed.

What this asks of it: the module of its node UnetLoaderGGUF has `gguf_sd_loader`, `GGMLOps` and `GGUFModelPatcher`.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import folder_paths
import torch
from torch import Tensor

from ..unitalking.checkpoint.files import CheckpointError
from ..unitalking.checkpoint.gguf_files import GGUF_ENDING, read_metadata

GGUF_FOLDER = "unet_gguf"  # the other pack's key for models/diffusion_models with its own ending
LOADER = "UnetLoaderGGUF"


def is_gguf(path: str) -> bool:
    """Whether a file is one, by its name, as in the other pack."""
    return Path(path).suffix == GGUF_ENDING


def gguf_choices() -> list[str]:
    """GGUF files of the host; none without ComfyUI-GGUF."""
    return folder_paths.get_filename_list(GGUF_FOLDER) if GGUF_FOLDER in folder_paths.folder_names_and_paths else []


def read_gguf(path: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Everything in a GGUF file: quantised tensors as ComfyUI-GGUF's own class, others as plain ones; and its config.

    Raises:
        CheckpointError: ComfyUI-GGUF is not installed, or the file cannot be used.
    """
    pack, name = _gguf_pack(path), Path(path).name
    metadata = read_metadata(Path(path))
    try:
        tensors = pack.gguf_sd_loader(path)
    except (ValueError, TypeError, OSError) as error:
        raise CheckpointError(f"{name} cannot be read by ComfyUI-GGUF: {error}") from error
    return {key: value if _is_packed(value) else value.as_subclass(Tensor) for key, value in tensors.items()}, metadata


def gguf_operations(path: str) -> type:
    """Layers whose weights are unpacked when they are needed."""
    return _gguf_pack(path).GGMLOps


def gguf_patcher(patcher: Any, path: str) -> Any:
    """The host's patcher as ComfyUI-GGUF's, which adds LoRAs to weights as they are unpacked."""
    return _gguf_pack(path).GGUFModelPatcher.clone(patcher)


def _is_packed(value: Tensor) -> bool:
    return value.dtype not in (torch.float32, torch.float16)


def _gguf_pack(path: str) -> ModuleType:
    node = importlib.import_module("nodes").NODE_CLASS_MAPPINGS.get(LOADER)
    if node is None:
        raise CheckpointError(
            f"{Path(path).name} is a GGUF file, which takes the pack ComfyUI-GGUF: install that, or choose "
            "a .safetensors file."
        )
    return sys.modules[node.__module__]
