"""Pictures and sounds to judge a codec by: real beside decoded. B clips, M mels, F frames, S samples, H W pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.io import wavfile
from torch import Tensor

SHOWN = 6
GAP = 4


def save_spectrograms(path: Path, real: Tensor, decoded: Tensor) -> None:
    """Log-mel frames (B, M, F) of both as one picture: a row a clip, real left, decoded right; low pitch below."""
    real, decoded = real[:SHOWN].float().cpu(), decoded[:SHOWN].float().cpu()
    low, high = float(real.min()), float(real.max())
    both = torch.cat((torch.nn.functional.pad(real, (0, GAP), value=high), decoded), dim=2).flip(1)
    rows = torch.nn.functional.pad(both, (0, 0, 0, GAP), value=high).flatten(0, 1)
    grey = ((rows - low) / max(high - low, 1e-6)).clamp(0, 1) * 255
    _save(path, grey.round().to(torch.uint8).numpy())


def save_contact_sheet(path: Path, real: Tensor, decoded: Tensor) -> None:
    """Frames (B, 3, F, H, W) in [-1, 1] as one picture: two rows a clip, real above decoded, time to the right."""
    pairs = torch.stack((real[:SHOWN].float().cpu(), decoded[:SHOWN].float().cpu()), dim=1)  # (B, 2, 3, F, H, W)
    rows = pairs.permute(0, 1, 4, 3, 5, 2).flatten(3, 4).flatten(0, 2)  # (B 2 H, F W, 3)
    _save(path, ((rows.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy())


def save_wave(path: Path, waveform: Tensor, sample_rate: int) -> None:
    """Clips (B, S) one after the other as one 16-bit WAV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = (waveform[:SHOWN].float().cpu().clamp(-1, 1).flatten() * 32767).round()
    wavfile.write(path, sample_rate, samples.to(torch.int16).numpy())


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
