"""Latent statistics and preview factors of a data set, added up clip by clip in float64.

The sums of parts of a data set add up to those of the whole, in any division into parts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..dataset import ChannelStatistics

# Share of a channel's variance that is added before solving: two channels that always agree have no single solution.
RIDGE = 1e-9
FACTOR_DIGITS = 9


@dataclass
class ChannelSums:
    """Count, sum and sum of squares of every channel."""

    count: int
    total: Tensor
    squares: Tensor

    @classmethod
    def zero(cls, channels: int) -> ChannelSums:
        """Of nothing."""
        return cls(0, torch.zeros(channels, dtype=torch.float64), torch.zeros(channels, dtype=torch.float64))

    def add(self, latents: Tensor) -> None:
        """Takes in latents (C, ...)."""
        values = latents.double().flatten(1)
        self.count += values.shape[1]
        self.total += values.sum(1)
        self.squares += values.square().sum(1)

    def merge(self, other: ChannelSums) -> None:
        """Takes in another part of the data set."""
        self.count += other.count
        self.total += other.total
        self.squares += other.squares

    def statistics(self) -> ChannelStatistics | None:
        """Mean and standard deviation; None of nothing. A channel that never changes gets 1: it is only shifted."""
        if not self.count:
            return None
        mean = self.total / self.count
        variance = (self.squares / self.count - mean.square()).clamp(min=0)
        # Rounding of the sums leaves a constant channel a variance of about 1e-16 of its square.
        varies = variance > 1e-12 * mean.square().clamp(min=1e-12)
        return ChannelStatistics(tuple(mean.tolist()), tuple(torch.where(varies, variance.sqrt(), 1.0).tolist()))


@dataclass
class ColourSums:
    """Normal equations from latent cells to the mean colours of what they stand for."""

    products: Tensor
    targets: Tensor

    @classmethod
    def zero(cls, channels: int) -> ColourSums:
        """Of nothing."""
        wide = {"dtype": torch.float64}
        return cls(torch.zeros(channels + 1, channels + 1, **wide), torch.zeros(channels + 1, 3, **wide))

    def add(self, latents: Tensor, frames: Tensor, time_stride: int) -> None:
        """Takes in video latents (C, F, h, w) of frames (time_stride (F - 1) + 1, H, W, 3) uint8."""
        colours = mean_colours(frames, tuple(latents.shape[1:]), time_stride).reshape(-1, 3)
        cells = latents.double().flatten(1).T
        cells = torch.cat((cells, cells.new_ones(len(cells), 1)), dim=1)  # (cells, C + 1)
        self.products += cells.T @ cells
        self.targets += cells.T @ colours

    def merge(self, other: ColourSums) -> None:
        """Takes in another part of the data set."""
        self.products += other.products
        self.targets += other.targets

    def factors(self, statistics: ChannelStatistics) -> tuple[tuple[float, ...], ...]:
        """(C + 1, 3): from *normalised* latents to colours in [-1, 1], the last row the bias; least squares."""
        ridge = RIDGE * self.products.diagonal().clamp(min=1e-12)
        raw = torch.linalg.solve(self.products + torch.diag(ridge), self.targets)
        mean, std = (torch.tensor(values, dtype=torch.float64) for values in (statistics.mean, statistics.std))
        normalised = torch.cat((raw[:-1] * std[:, None], (raw[-1] + mean @ raw[:-1])[None]))
        # The last digits of a solution depend on how many threads found it; the description's bytes must not.
        return tuple(tuple(round(value, FACTOR_DIGITS) for value in row) for row in normalised.tolist())


def mean_colours(frames: Tensor, cells: tuple[int, int, int], time_stride: int) -> Tensor:
    """Mean colour in [-1, 1] of the pictures and pixels that every latent cell stands for, (F, h, w, 3) float64."""
    latent_frames, height, width = cells
    pixels = frames.float().unflatten(2, (width, -1)).unflatten(1, (height, -1))
    blocks = pixels.sum((2, 4)).double() / (
        pixels.shape[2] * pixels.shape[4]
    )  # sums of bytes are exact; (frames, h, w, 3)
    later = blocks[1:].unflatten(0, (latent_frames - 1, time_stride)).mean(1)
    return torch.cat((blocks[:1], later)) / 127.5 - 1


@dataclass
class DataSums:
    """All that is added up over a data set."""

    video: ChannelSums
    audio: ChannelSums
    colours: ColourSums

    @classmethod
    def zero(cls, video_channels: int, audio_channels: int) -> DataSums:
        """Of nothing."""
        return cls(ChannelSums.zero(video_channels), ChannelSums.zero(audio_channels), ColourSums.zero(video_channels))

    def merge(self, other: DataSums) -> None:
        """Takes in another part of the data set."""
        self.video.merge(other.video)
        self.audio.merge(other.audio)
        self.colours.merge(other.colours)

    def to_mapping(self) -> dict[str, Any]:
        """As JSON; `from_mapping` gives the same bits back."""
        return {name: _plain(getattr(self, name)) for name in ("video", "audio", "colours")}

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> DataSums:
        """The sums of `to_mapping`."""
        classes = {"video": ChannelSums, "audio": ChannelSums, "colours": ColourSums}
        return cls(**{name: kind(**_tensors(mapping[name])) for name, kind in classes.items()})


def _plain(sums: ChannelSums | ColourSums) -> dict[str, Any]:
    return {name: value.tolist() if isinstance(value, Tensor) else value for name, value in vars(sums).items()}


def _tensors(mapping: Mapping[str, Any]) -> dict[str, Any]:
    found = {
        name: torch.tensor(value, dtype=torch.float64) if isinstance(value, list) else value
        for name, value in mapping.items()
    }
    if not all(math.isfinite(value) if isinstance(value, int) else value.isfinite().all() for value in found.values()):
        raise ValueError("sums: not finite")
    return found
