"""What the judges of pictures see, and its mild distortions in training. B pictures, H W pixels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SHARPEST, COARSEST = 1.0, 0.45
PIXEL_NOISE = 0.06
BRIGHTNESS = 0.08
CONTRAST = 0.1
REACH = 6


def scaled(frames: Tensor, height: int, width: int) -> Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, height, width) in -1 .. 1."""
    pictures = frames.permute(0, 3, 1, 2).float() / 127.5 - 1
    if pictures.shape[2:] != (height, width):
        pictures = functional.interpolate(pictures, (height, width), mode="bilinear", antialias=True)
    return pictures


def blemished(pictures: Tensor, random: torch.Generator) -> Tensor:
    """Pictures as a codec or a model might give them back: softer, noisy, a little brighter or duller.

    Args:
        pictures: (B, 3, H, W) in -1 .. 1; a whole batch gets the same softness.
        random: where all chance comes from.
    """
    size = pictures.shape[2:]
    sharpness = COARSEST + (SHARPEST - COARSEST) * float(torch.rand((), generator=random)) ** 0.5
    smaller = [max(2, round(side * sharpness)) for side in size]
    softer = functional.interpolate(pictures, smaller, mode="bilinear", antialias=True)
    pictures = functional.interpolate(softer, size, mode="bilinear")
    contrast = 1 + CONTRAST * (2 * _each(pictures, random) - 1)
    brightness = BRIGHTNESS * (2 * _each(pictures, random) - 1)
    noise = PIXEL_NOISE * _each(pictures, random) * torch.randn(pictures.shape, generator=random)
    return (pictures * contrast + brightness + noise).clamp(-1, 1)


def shifted(pictures: Tensor, random: torch.Generator) -> Tensor:
    """Pictures moved by up to 6 pixels, edges repeated, half of them mirrored; (B, 3, H, W) -> (B, 3, H, W)."""
    height, width = pictures.shape[2:]
    padded = functional.pad(pictures, (REACH,) * 4, mode="replicate")
    moves = torch.randint(0, 2 * REACH + 1, (len(pictures), 2), generator=random).tolist()
    moved = [
        each[:, down : down + height, right : right + width] for each, (down, right) in zip(padded, moves, strict=True)
    ]
    mirrored = torch.rand(len(pictures), 1, 1, 1, generator=random) < 0.5
    pictures = torch.stack(moved)
    return torch.where(mirrored, pictures.flip(3), pictures)


def _each(pictures: Tensor, random: torch.Generator) -> Tensor:
    return torch.rand(pictures.shape[0], 1, 1, 1, generator=random)
