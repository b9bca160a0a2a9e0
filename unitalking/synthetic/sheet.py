"""A picture to look at: some clips, one per row, frames from left to right over the spectrogram of the sound."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .clips import SyntheticClips
from .draws import draw

_COLUMNS = 12
_SOUND_HEIGHT = 64
_FLOOR_DB = 70.0


def contact_sheet(clips: SyntheticClips, rows: int) -> Image.Image:
    """`rows` clips of the set, drawn at random from its seed; frames evenly from the first to the last."""
    generator = draw("sheet", clips.config.seed, clips.config.split)
    numbers = sorted(generator.sample(range(len(clips)), min(rows, len(clips))))
    bands = []
    for number in numbers:
        clip = clips.clip(number)
        places = np.linspace(0, len(clip.frames) - 1, _COLUMNS).round().astype(int)
        bands.append(np.concatenate(list(clip.frames.numpy()[places]), axis=1))
        bands.append(spectrogram(clip.samples, bands[-1].shape[1], _SOUND_HEIGHT))
    return Image.fromarray(np.concatenate(bands))


def spectrogram(samples: Tensor, width: int, height: int) -> np.ndarray:
    """Samples (S,) as a picture (height, width, 3), uint8, high frequencies on top."""
    window = torch.hann_window(512)
    power = torch.stft(samples, 512, 128, window=window, return_complex=True).abs().square()
    level = 10 * torch.log10(power + 1e-9)
    shade = ((level - level.max() + _FLOOR_DB) / _FLOOR_DB).clamp(0, 1).flip(0)
    image = Image.fromarray((shade.numpy() * 255).astype(np.uint8))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR).convert("RGB"))
