"""The file that a run leaves behind: a UniTalking model in the pack's one-file format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from ..checkpoint.files import CONFIG_TENSOR, METADATA_KEY, config_tensors
from ..checkpoint.keys import to_file_keys
from .start import Start

ABOUT_KEY = "unitalking.training"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def write_model(
    path: Path,
    start: Start,
    state: Mapping[str, Tensor],
    about: Mapping[str, str],
    dtype: torch.dtype = torch.bfloat16,
) -> None:
    """Writes a model as safetensors, under a temporary name first.

    Args:
        path: where to.
        start: config, codecs and statistics.
        state: of the objective, `network.*` and, where it trained along, `text_encoder.*`.
        about: what the metadata says of the run: recipe, seed, steps.
        dtype: of the weights; codecs keep theirs, statistics are float32.

    Raises:
        OSError: the disk is full.
    """
    text, config = config_tensors(start.config)
    network = {key.removeprefix("network."): value for key, value in state.items() if key.startswith("network.")}
    tensors = {CONFIG_TENSOR: config}
    tensors |= {key: value.to(dtype) for key, value in to_file_keys(network).items()}
    tensors |= {key: value.to(dtype) for key, value in state.items() if key.startswith("text_encoder.")}
    for part, weights in start.codecs.items():
        tensors |= {f"{part}.{key}": value for key, value in weights.items()}
    for stream, statistics in zip(("video", "audio"), start.statistics, strict=True):
        tensors |= {f"latents.{stream}.mean": statistics.mean, f"latents.{stream}.std": statistics.std}
    if start.rgb is not None:
        tensors["latents.video.rgb"] = start.rgb
    tensors = {key: value.contiguous() for key, value in tensors.items()}
    temporary = path.with_name(path.name + ".part")
    try:
        metadata = {"format": "pt", METADATA_KEY: text, ABOUT_KEY: json.dumps(dict(about))}
        safetensors.torch.save_file(tensors, temporary, metadata)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
