"""Magnitude-preserving 1-D layers, the parts of MMAudio's VAE. B clips, C channels, F frames.

Source: the published MMAudio equations, implemented from these alone.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

EPS = 1e-4
# SiLU of a standard normal has root mean square 0.596.
SILU_MAGNITUDE = 0.596
BRANCH_SHARE = 0.3


class UnitConv1d(nn.Conv1d):
    """Bias-free "same" convolution whose filters have norm 1, fresh or baked; (B, C_in, F) -> (B, C_out, F)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, **kwargs: Any) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2, bias=False, **kwargs)

    def reset_parameters(self) -> None:
        """Random filters, each of norm 1."""
        with torch.no_grad():
            self.weight.normal_()
            self.weight /= self.weight.flatten(1).norm(dim=1)[:, None, None]


def pixel_norm(hidden: Tensor) -> Tensor:
    """x / (1e-4 + rms over channels), at every frame; (B, C, F) -> (B, C, F)."""
    return hidden / (EPS + hidden.square().mean(dim=1, keepdim=True).sqrt())


def scaled_silu(hidden: Tensor) -> Tensor:
    """SiLU that keeps the magnitude of a standard normal input."""
    return functional.silu(hidden) / SILU_MAGNITUDE


def mix(skip: Tensor, branch: Tensor) -> Tensor:
    """(0.7 skip + 0.3 branch) / sqrt(0.58): the residual sum that keeps the magnitude."""
    share = BRANCH_SHARE
    return ((1 - share) * skip + share * branch) / math.sqrt((1 - share) ** 2 + share**2)


class ResidualBlock(nn.Module):
    """mix(x, conv2(act(conv1(act(x))))) with x normalised first; (B, C_in, F) -> (B, C_out, F)."""

    def __init__(self, inputs: int, outputs: int, **kwargs: Any) -> None:
        super().__init__()
        self.conv1 = UnitConv1d(inputs, outputs, 3, **kwargs)
        self.conv2 = UnitConv1d(outputs, outputs, 3, **kwargs)
        self.nin_shortcut = UnitConv1d(inputs, outputs, 1, **kwargs) if inputs != outputs else None

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = pixel_norm(hidden)
        branch = self.conv2(scaled_silu(self.conv1(scaled_silu(hidden))))
        skip = hidden if self.nin_shortcut is None else self.nin_shortcut(hidden)
        return mix(skip, branch)


class Attention(nn.Module):
    """One head over all frames, with normalised q, k and v; (B, C, F) -> (B, C, F)."""

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__()
        self.qkv = UnitConv1d(channels, 3 * channels, 1, **kwargs)
        self.proj_out = UnitConv1d(channels, channels, 1, **kwargs)

    def forward(self, hidden: Tensor) -> Tensor:
        # The projection's channels alternate q, k, v.
        q, k, v = self.qkv(hidden).unflatten(1, (-1, 3)).unbind(2)  # each (B, C, F)
        q, k, v = (pixel_norm(part).transpose(1, 2)[:, None] for part in (q, k, v))  # (B, 1, F, C)
        attended = functional.scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2)
        return mix(hidden, self.proj_out(attended))
