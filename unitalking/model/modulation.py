"""Noise level -> shift, scale and gate of every block, one set per run of tokens with the same level."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..types import wide


class Modulation(NamedTuple):
    """One normalisation's modulation, each (B, R, D); the gate weighs what the branch adds to the stream."""

    shift: Tensor
    scale: Tensor
    gate: Tensor


class ModulationTable(nn.Module):
    """A learned offset for each of `rows` modulation vectors.

    A leaf module, because a host moves, casts and patches (LoRA) the weights of leaf modules only. Files name it
    after its parent, `blocks.N.modulation`, as Wan2.2 does; inside it is `blocks.N.modulation.weight`.
    """

    def __init__(self, rows: int, dim: int, *, device: torch.device | None, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(1, rows, dim, device=device, dtype=dtype))

    def forward(self, level: Tensor) -> Tensor:
        """Offset plus level, in at least float32: level (B, R, rows or 1, D) -> (B, R, rows, D)."""
        dtype = torch.promote_types(level.dtype, torch.float32)
        return self.weight.to(level.device, dtype) + level.to(dtype)


def modulation_table(operations: Any, rows: int, dim: int, **factory: Any) -> nn.Module:
    """A `ModulationTable`, or the host's own kind where its operations have one (to cast and patch the weight)."""
    return getattr(operations, "ModulationTable", ModulationTable)(rows, dim, **factory)


def timestep_sinusoid(timestep: Tensor, dim: int) -> Tensor:
    """cos then sin of timestep * 10000 ** (-i / half), (...,) -> (..., dim), in the widest float of the device.

    Source: Wan2.2 (reference.md A1).
    """
    half = dim // 2
    dtype = wide(timestep.device)
    exponents = torch.arange(half, dtype=torch.float64) / half
    frequencies = torch.exp(-math.log(10000.0) * exponents).to(timestep.device, dtype)
    angle = timestep.to(dtype)[..., None] * frequencies
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


def modulate(tokens: Tensor, shift: Tensor, scale: Tensor, lengths: tuple[int, ...]) -> Tensor:
    """tokens * (1 + scale) + shift, run by run.

    Args:
        tokens: normalised stream, (B, T, D).
        shift, scale: (B, R, D), at least float32; 1 + scale is rounded to the stream's dtype once per run.
        lengths: tokens of each run.
    """
    factor, offset = (1 + scale).to(tokens.dtype), shift.to(tokens.dtype)
    return _by_run(lambda part, run: torch.addcmul(run[1], part[0], run[0]), (tokens,), (factor, offset), lengths)


def add_gated(tokens: Tensor, branch: Tensor, gate: Tensor, lengths: tuple[int, ...]) -> Tensor:
    """tokens + gate * branch, run by run: (B, T, D), gate (B, R, D)."""
    gate = gate.to(tokens.dtype)
    return _by_run(lambda part, run: torch.addcmul(part[0], part[1], run[0]), (tokens, branch), (gate,), lengths)


def _by_run(
    function: Callable[[tuple[Tensor, ...], tuple[Tensor, ...]], Tensor],
    tokens: tuple[Tensor, ...],
    levels: tuple[Tensor, ...],
    lengths: tuple[int, ...],
) -> Tensor:
    """Applies `function` with each run's (B, 1, D) levels; equal runs go through one broadcast, without copies."""
    if len(set(lengths)) == 1:
        parts = tuple(tensor.unflatten(1, (len(lengths), lengths[0])) for tensor in tokens)  # (B, R, T / R, D)
        return function(parts, tuple(level[:, :, None] for level in levels)).flatten(1, 2)
    split = zip(*(tensor.split(lengths, dim=1) for tensor in tokens), strict=True)
    runs = zip(*(level.split(1, dim=1) for level in levels), strict=True)
    return torch.cat([function(part, run) for part, run in zip(split, runs, strict=True)], dim=1)
