"""Rotary positions on one time axis that both streams share ("anisotropic", UniTalking Sec. 3).

A head's dimensions are split over the axes time, height and width as Wan2.2 does. Video tokens have a position on each
axis; audio tokens move along time only and stay at 0 on the spatial axes, where the rotation is the identity.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..config import UniTalkingConfig
from ..types import Rope


def axis_widths(head_dim: int) -> tuple[int, int, int]:
    """How many of a head's dimensions rotate with time, height and width: 44, 42, 42 of 128 (Wan2.2)."""
    spatial = 2 * (head_dim // 6)
    return head_dim - 2 * spatial, spatial, spatial


def video_positions(grid: tuple[int, int, int]) -> Tensor:
    """(time, height, width) of every token of a (F, H, W) token grid, row-major, (Tv, 3) float64 on the CPU."""
    axes = [torch.arange(length, dtype=torch.float64) for length in grid]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3)


def audio_positions(length: int, scale: float, start: float = 0.0) -> Tensor:
    """(time, 0, 0) of every audio token, time in video latents from `start` on, (Ta, 3) float64 on the CPU."""
    time = torch.arange(length, dtype=torch.float64) * scale + start
    return torch.stack([time, torch.zeros_like(time), torch.zeros_like(time)], dim=-1)


def rope_table(positions: Tensor, config: UniTalkingConfig, device: torch.device, dtype: torch.dtype) -> Rope:
    """Cosines and sines of every token's angles.

        angle = position * rope_theta ** (-2 j / axis width)        pair j of the axis

    Args:
        positions: (T, 3), float64, on the CPU; angles are made there, since some devices lack float64.
        config: head width and rope_theta.
        device: where the table goes.
        dtype: of the table, at least float32.

    Source: Wan2.2 (reference.md A1); theta and the audio positions are per model, ours.
    """
    angles = []
    for axis, width in enumerate(axis_widths(config.head_dim)):
        exponents = torch.arange(0, width, 2, dtype=torch.float64) / width
        angles.append(positions[:, axis : axis + 1] * config.rope_theta**-exponents)
    angle = torch.cat(angles, dim=1)
    return Rope(angle.cos().to(device, dtype), angle.sin().to(device, dtype))


def apply_rope(heads: Tensor, rope: Rope) -> Tensor:
    """Rotates neighbouring pairs of a head's dimensions.

    Args:
        heads: queries or keys, (B, T, N, Dh).
        rope: table of the same T tokens; the rotation is computed in its dtype.

    Returns:
        (B, T, N, Dh) in the dtype of `heads`.
    """
    even, odd = heads.to(rope.cos.dtype).unflatten(-1, (-1, 2)).unbind(-1)  # (B, T, N, Dh / 2)
    cos, sin = rope.cos[:, None], rope.sin[:, None]
    rotated = heads.new_empty(*even.shape, 2)
    rotated[..., 0] = even * cos - odd * sin
    rotated[..., 1] = even * sin + odd * cos
    return rotated.flatten(-2)
