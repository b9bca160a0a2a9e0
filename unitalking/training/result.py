"""The file that training leaves behind: a UniTalking model in the pack's one-file format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from ..checkpoint.files import CONFIG_TENSOR, METADATA_KEY, config_tensors
from ..checkpoint.keys import to_file_keys
from ..config import UniTalkingConfig
from ..domain import Domain
from ..latents import LatentStatistics
from .settings import TrainingError
from .start import Start

ABOUT_KEY = "unitalking.training"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
TRAINED = ("network.video", "network.audio", "text_encoder")
# In half precision these would lose what they are for.
WIDE = ("data_mean", "data_std")


def write_model(
    path: Path,
    start: Start,
    state: Mapping[str, Tensor],
    about: Mapping[str, str],
    dtype: torch.dtype = torch.bfloat16,
) -> None:
    """Writes what a run has trained, with the codecs and statistics that it started from.

    Args:
        path: where to.
        start: config, codecs and statistics.
        state: of the objective, `network.*` and, where it trained along, `text_encoder.*`.
        about: what the metadata says of the run: recipe, versions.
        dtype: of the trained weights; codecs keep theirs, since cached latents belong to their very bits.

    Raises:
        ValueError, TrainingError, OSError: as `write_bundle`.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    for part in TRAINED:
        weights = {key.removeprefix(f"{part}."): value for key, value in state.items() if key.startswith(f"{part}.")}
        if weights:
            parts[part.removeprefix("network.")] = {
                key: value.to(dtype) for key, value in to_file_keys(weights).items()
            }
    statistics = dict(zip(("video", "audio"), start.statistics, strict=True))
    write_bundle(
        path, start.config, parts | start.codecs, statistics, start.rgb, about, dtype=None, domain=start.domain
    )


def write_bundle(
    path: Path,
    config: UniTalkingConfig,
    parts: Mapping[str, Mapping[str, Tensor]],
    statistics: Mapping[str, LatentStatistics],
    rgb: Tensor | None,
    about: Mapping[str, str],
    dtype: torch.dtype | None = torch.float16,
    domain: Domain | None = None,
) -> int:
    """Writes a model as safetensors, under a temporary name first.

    Args:
        path: where to.
        config: of the model.
        parts: tensors of "video", "audio" (under the names of files), "text_encoder", "video_vae" and "audio_vae".
        statistics: of "video" and "audio" latents.
        rgb: preview factors, (C + 1, 3), or None.
        about: what the metadata says of the runs.
        dtype: of the weights, None: as they come; statistics are float32.
        domain: the first pictures that the model knows, or None: all.

    Returns:
        Bytes written.

    Raises:
        ValueError: a weight that is not finite in `dtype`.
        OSError: the disk is full.
    """
    text, config_tensor = config_tensors(config)
    tensors: dict[str, Tensor] = {CONFIG_TENSOR: config_tensor}
    for part, weights in parts.items():
        for name, value in weights.items():
            kept = torch.float32 if name.endswith(WIDE) else dtype or value.dtype
            tensors[f"{part}.{name}"] = value.detach().cpu().to(kept).contiguous()
    for stream, measured in statistics.items():
        tensors |= {f"latents.{stream}.mean": measured.mean.float(), f"latents.{stream}.std": measured.std.float()}
    if rgb is not None:
        tensors["latents.video.rgb"] = rgb.float().contiguous()
    if domain is not None:
        tensors |= domain.tensors()
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise ValueError(f"{name}: holds values that are not finite in {value.dtype}; train it again.")
    temporary = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        metadata = {"format": "pt", METADATA_KEY: text, ABOUT_KEY: json.dumps(dict(about))}
        safetensors.torch.save_file(tensors, temporary, metadata)
        size = temporary.stat().st_size
        temporary.replace(path)
    except safetensors.SafetensorError as error:
        raise TrainingError(f"{path} could not be written: {error}. Free some space and try again.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return size
