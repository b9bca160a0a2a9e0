"""The portraits, voices and clips that ship with the pack, so that a fresh install runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from comfy_api.latest import InputImpl
from PIL import Image, ImageOps
from torch import Tensor

from ..unitalking.samples import CLIPS, PORTRAITS, VOICES


def load_clip(name: str) -> Any:
    """A built-in clip as VIDEO, pictures and sound."""
    return InputImpl.VideoFromFile(str(_find(CLIPS, name)))


def load_portrait(name: str) -> Tensor:
    """A built-in portrait, (1, H, W, 3) in [0, 1]."""
    with Image.open(_find(PORTRAITS, name)) as image:
        pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGB"), dtype=np.float32)
    return torch.from_numpy(pixels / 255)[None]


def sample_voice_path(name: str) -> Path:
    """The file of a built-in voice."""
    return _find(VOICES, name)


def load_voice(name: str) -> dict[str, Tensor | int]:
    """A built-in voice as AUDIO: waveform (1, channels, S) and its sample rate."""
    with av.open(sample_voice_path(name)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
        rate = container.streams.audio[0].rate
    samples = np.concatenate(frames, axis=1)
    scale = float(np.iinfo(samples.dtype).max) + 1 if np.issubdtype(samples.dtype, np.integer) else 1.0
    return {"waveform": torch.from_numpy(samples.astype(np.float32) / scale)[None], "sample_rate": rate}


def _find(folder: Path, name: str) -> Path:
    for file in folder.glob(f"{name}.*"):
        return file
    names = ", ".join(sorted(file.stem for file in folder.iterdir()))
    raise FileNotFoundError(f"{name} is not among the pack's {folder.name}: {names}.")
