"""What a run that trains one part of a model leaves behind: one file with its config, and numbers over time."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import safetensors.torch
from torch import Tensor

from ..checkpoint.files import CheckpointError, read_part
from ..mapping import from_mapping, to_mapping
from .settings import TrainingError
from .trainer import Trainer

Config = TypeVar("Config")
PART_KEY = "unitalking.part"
CONFIG_KEY = "config"
STEP_KEY = "step"
# Where a model file has what a run calls a part, if it does: part of the file, field of its config, prefix.
CARRIERS = {
    "audio_vae": ("audio_vae", "audio_codec", "vae."),
    "vocoder": ("audio_vae", "audio_codec", "vocoder."),
    "video_vae": ("video_vae", "video_vae", ""),
    "text_encoder": ("text_encoder", "text_encoder", ""),
}


def save_part(path: Path, part: str, config: Any, tensors: dict[str, Tensor], step: int) -> None:
    """Writes a part as safetensors, under a temporary name first.

    Args:
        path: where to.
        part: what it is.
        config: its config dataclass.
        tensors: its state under the codec's names: filters baked, weight norm fused.
        step: steps done.

    Raises:
        OSError: the disk is full.
    """
    metadata = {"format": "pt", PART_KEY: part, CONFIG_KEY: json.dumps(to_mapping(config)), STEP_KEY: str(step)}
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    temporary = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        safetensors.torch.save_file(tensors, temporary, metadata)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_part(path: Path, part: str, config_class: type[Config]) -> tuple[Config, dict[str, Tensor]]:
    """Config and tensors (fp32) of a part that a run has written, or that a model file carries.

    Raises:
        TrainingError: no such file, or another part.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, safetensors.SafetensorError) as error:
        raise TrainingError(f"{path}: cannot be read: {error}. Train the {part} first.") from error
    if metadata.get(PART_KEY) == part:
        return from_mapping(config_class, json.loads(metadata[CONFIG_KEY]), str(path)), tensors
    held = metadata.get(PART_KEY, "something else")
    if part not in CARRIERS:
        raise TrainingError(f"{path}: holds {held}, expected {part}.")
    carrier, field, prefix = CARRIERS[part]
    try:
        model, found = read_part(tensors, metadata, carrier, path.name)
    except CheckpointError as error:
        raise TrainingError(f"{path}: holds {held}, expected {part}, or a model file that carries it.") from error
    given = getattr(model, field)
    if part == "vocoder":
        given = given["vocoder"]
    elif part == "audio_vae":
        given = {name: value for name, value in given.items() if name not in ("vocoder", "refine_steps")}
    own = {name.removeprefix(prefix): value.float() for name, value in found.items() if name.startswith(prefix)}
    return from_mapping(config_class, given, str(path)), own


class Measurements:
    """Numbers over steps and time, in TensorBoard and as lines of JSON.

    Args:
        path: of the lines.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.started = path, time.monotonic()

    def add(self, trainer: Trainer, **numbers: float) -> None:
        """One measurement at the present step; minutes are those since this process began."""
        if trainer.curves is not None:
            for name, value in numbers.items():
                trainer.curves.add_scalar(f"held_out/{name}", value, trainer.step)
        minutes = round((time.monotonic() - self.started) / 60, 2)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": trainer.step, "minutes": minutes, **numbers}) + "\n")
