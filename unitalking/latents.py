"""Latent statistics: what brings a VAE's latents to zero mean and unit variance, channel by channel.

    normalised = (latent - mean) / std

A model's own statistics travel in its file (`latents.video.mean` and so on); these are the public ones that a model on
Wan2.2's video VAE starts from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

# Wan2.2's VAE, 48 channels (reference.md A1).
# fmt: off
WAN22_MEAN = (
    -0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557,
    -0.1382, 0.0542, 0.2813, 0.0891, 0.157, -0.0098, 0.0375, -0.1825,
    -0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502,
    -0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.123,
    -0.0313, -0.1649, 0.0117, 0.0723, -0.2839, -0.2083, -0.052, 0.3748,
    0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667,
)
WAN22_STD = (
    0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.499, 0.4818, 0.5013,
    0.8158, 1.0344, 0.5894, 1.0901, 0.6885, 0.6165, 0.8454, 0.4978,
    0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659,
    0.7069, 0.5338, 0.4889, 0.4917, 0.4069, 0.4999, 0.6866, 0.4093,
    0.5709, 0.6065, 0.6415, 0.4944, 0.5726, 1.2042, 0.5458, 1.6887,
    0.3971, 1.06, 0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744,
)
# fmt: on


@dataclass(frozen=True)
class LatentStatistics:
    """Mean and standard deviation of one stream's latent channels, each (C,) float32."""

    mean: Tensor
    std: Tensor

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], stream: str, channels: int) -> LatentStatistics:
        """`latents.<stream>.mean` and `.std` of a file, 0 and 1 where it has none.

        Raises:
            ValueError: not (channels,) numbers, not finite, or a standard deviation that is not above 0.
        """
        mean = tensors.get(f"latents.{stream}.mean", torch.zeros(channels)).float()
        std = tensors.get(f"latents.{stream}.std", torch.ones(channels)).float()
        for name, value in (("mean", mean), ("std", std)):
            if value.shape != (channels,):
                raise ValueError(f"latents.{stream}.{name}: got {tuple(value.shape)}, expected ({channels},).")
            if not value.isfinite().all():
                raise ValueError(f"latents.{stream}.{name}: holds NaN or Inf; the file is damaged.")
        if not (std > 0).all():
            raise ValueError(f"latents.{stream}.std: holds values that are not above 0; the file is damaged.")
        return cls(mean, std)

    def normalise(self, latent: Tensor) -> Tensor:
        """VAE space -> what the network sees, (B, C, ...)."""
        mean, std = self._like(latent)
        return (latent - mean) / std

    def restore(self, latent: Tensor) -> Tensor:
        """What the network sees -> VAE space, (B, C, ...)."""
        mean, std = self._like(latent)
        return latent * std + mean

    def _like(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        shape = (1, -1) + (1,) * (latent.ndim - 2)
        return self.mean.reshape(shape).to(latent), self.std.reshape(shape).to(latent)
