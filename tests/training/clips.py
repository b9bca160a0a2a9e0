"""Small stand-ins for a set of clips: tones that start after a silence, and moving squares."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SAMPLE_RATE = 16000


@dataclass(frozen=True)
class Tone:
    """One clip."""

    samples: Tensor
    frames: Tensor
    mouth_box: tuple[int, int, int, int] = (6, 16, 22, 28)


class Tones:
    """Clip k: silence, then a tone with overtones; pictures in which a square of one colour moves to the right."""

    def __init__(self, clips: int = 6, samples: int = 6000, frames: int = 13, size: int = 32) -> None:
        self.clips, self.samples, self.frames, self.size = clips, samples, frames, size

    def __len__(self) -> int:
        return self.clips

    def speech(self, index: int) -> Tone:
        """The sound of clip `index`."""
        time = torch.arange(self.samples + 100 * index) / SAMPLE_RATE
        wave = sum(torch.sin(2 * math.pi * (110 + 30 * index) * k * time) / k for k in range(1, 12))
        wave[: self.samples // 4] = 0
        return Tone((0.1 * wave * 32768).round() / 32768, torch.empty(0))

    def clip(self, index: int) -> Tone:
        """Sound and pictures of clip `index`."""
        frames = torch.full((self.frames, self.size, self.size, 3), 40 + 20 * index, dtype=torch.uint8)
        for number in range(self.frames):
            frames[number, 10:22, number : number + 8, index % 3] = 230
        return Tone(self.speech(index).samples, frames)
