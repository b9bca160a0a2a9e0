"""A small causal video VAE with the strides of Wan2.2's: 4 frames, 16 x 16 pixels per latent.

Latent k holds frames 4k-3 .. 4k (latent 0 only frame 0) and depends on no later ones; its frames depend on no later
latents. Pictures are convolved per latent; a light causal convolution along latent time keeps neighbours consistent.

B clips, C channels, F frames, L latent frames (F = 4 (L - 1) + 1), H W pixels, T = B * L pictures in one batch.
Source: ours, for the small model a bundle carries; the paper's video VAE is Wan2.2's.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .checks import positive_integer, positive_integers

TIME_STRIDE = 4
SPACE_STRIDE = 16
PATCH = 4
COLOURS = 3
TIME_KERNEL = 3
EPS = 1e-6
LOGVAR_RANGE = (-30.0, 20.0)


@dataclass(frozen=True)
class VideoVAEConfig:
    """A small video VAE.

    Attributes:
        latent_channels: channels of a latent.
        widths: channels at 1/4, 1/8 and 1/16 of the picture's size.
        blocks: residual blocks at each of these sizes.
    """

    latent_channels: int = 24
    widths: tuple[int, ...] = (64, 128, 176)
    blocks: int = 2

    def __post_init__(self) -> None:
        positive_integer("VideoVAEConfig.latent_channels", self.latent_channels)
        positive_integer("VideoVAEConfig.blocks", self.blocks)
        positive_integers("VideoVAEConfig.widths", self.widths)
        if len(self.widths) != 3:
            raise ValueError(f"VideoVAEConfig.widths: got {self.widths}, expected 3 widths (at 1/4, 1/8 and 1/16).")


VIDEO_VAE_TINY = VideoVAEConfig(widths=(16, 32, 48), blocks=1)


class ChannelNorm(nn.Module):
    """Divide by the root mean square over channels, then scale; the same at every pixel, so that tiles agree."""

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, **kwargs))

    def forward(self, hidden: Tensor) -> Tensor:
        wide = hidden.to(torch.promote_types(hidden.dtype, torch.float32))
        scale = (wide.square().mean(dim=1, keepdim=True) + EPS).rsqrt()
        return (wide * scale).to(hidden.dtype) * self.weight.view(-1, *[1] * (hidden.ndim - 2))


class PictureBlock(nn.Module):
    """x + conv2(act(conv1(act(x)))) within each picture; (T, C, h, w) -> (T, C, h, w)."""

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(channels, **kwargs)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, **kwargs)
        self.norm2 = ChannelNorm(channels, **kwargs)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, **kwargs)

    def forward(self, hidden: Tensor) -> Tensor:
        branch = self.conv1(functional.silu(self.norm1(hidden)))
        return hidden + self.conv2(functional.silu(self.norm2(branch)))


class TimeMix(nn.Module):
    """x + conv(act(x)) over this latent frame and the two before; (T, C, h, w) -> (T, C, h, w)."""

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels, **kwargs)
        self.conv = nn.Conv3d(channels, channels, (TIME_KERNEL, 1, 1), **kwargs)

    def forward(self, hidden: Tensor, clips: int) -> Tensor:
        """`clips` is B, to take the T pictures apart."""
        branch = functional.silu(self.norm(hidden)).unflatten(0, (clips, -1)).transpose(1, 2)  # (B, C, L, h, w)
        past_only = (0, 0, 0, 0, TIME_KERNEL - 1, 0)
        branch = self.conv(functional.pad(branch, past_only))
        return hidden + branch.transpose(1, 2).flatten(0, 1)


class Level(nn.Module):
    """Residual blocks and one time mix at one picture size; (T, C, h, w) -> (T, C, h, w)."""

    def __init__(self, channels: int, blocks: int, **kwargs: Any) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(PictureBlock(channels, **kwargs) for _ in range(blocks))
        self.time = TimeMix(channels, **kwargs)

    def forward(self, hidden: Tensor, clips: int) -> Tensor:
        for block in self.blocks:
            hidden = block(hidden)
        return self.time(hidden, clips)


class Encoder(nn.Module):
    """Stacked pictures at 1/4 size to twice the latent channels (mean, log variance) at 1/16."""

    def __init__(self, config: VideoVAEConfig, **kwargs: Any) -> None:
        super().__init__()
        widths = config.widths
        self.conv_in = nn.Conv2d(TIME_STRIDE * COLOURS * PATCH**2, widths[0], 3, padding=1, **kwargs)
        self.levels = nn.ModuleList(Level(width, config.blocks, **kwargs) for width in widths)
        self.downs = nn.ModuleList(
            nn.Conv2d(wide, narrow, 3, stride=2, padding=1, **kwargs) for wide, narrow in pairwise(widths)
        )
        self.norm_out = ChannelNorm(widths[-1], **kwargs)
        self.conv_out = nn.Conv2d(widths[-1], 2 * config.latent_channels, 3, padding=1, **kwargs)

    def forward(self, pictures: Tensor, clips: int) -> Tensor:
        hidden = self.levels[0](self.conv_in(pictures), clips)
        for down, level in zip(self.downs, self.levels[1:], strict=True):
            hidden = level(down(hidden), clips)
        return self.conv_out(functional.silu(self.norm_out(hidden)))


class Decoder(nn.Module):
    """Latents at 1/16 size to stacked pictures at 1/4."""

    def __init__(self, config: VideoVAEConfig, **kwargs: Any) -> None:
        super().__init__()
        widths = config.widths[::-1]
        self.conv_in = nn.Conv2d(config.latent_channels, widths[0], 3, padding=1, **kwargs)
        self.levels = nn.ModuleList(Level(width, config.blocks, **kwargs) for width in widths)
        self.ups = nn.ModuleList(nn.Conv2d(before, after, 3, padding=1, **kwargs) for before, after in pairwise(widths))
        self.norm_out = ChannelNorm(widths[-1], **kwargs)
        self.conv_out = nn.Conv2d(widths[-1], TIME_STRIDE * COLOURS * PATCH**2, 3, padding=1, **kwargs)

    def forward(self, latents: Tensor, clips: int) -> Tensor:
        hidden = self.levels[0](self.conv_in(latents), clips)
        for up, level in zip(self.ups, self.levels[1:], strict=True):
            hidden = level(up(functional.interpolate(hidden, scale_factor=2, mode="nearest")), clips)
        return self.conv_out(functional.silu(self.norm_out(hidden)))


class VideoVAE(nn.Module):
    """Frames to latents and back, causal in time in both directions."""

    def __init__(
        self,
        config: VideoVAEConfig,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        kwargs = {"device": device, "dtype": dtype}
        self.config = config
        self.encoder = Encoder(config, **kwargs)
        self.decoder = Decoder(config, **kwargs)

    def encode(self, frames: Tensor) -> Tensor:
        """The latents of frames: the mean of `encode_distribution`; deterministic."""
        return self.encode_distribution(frames)[0]

    def encode_distribution(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """The posterior of frames.

        Args:
            frames: (B, 3, F, H, W) in [-1, 1]; F = 4 n + 1, H and W multiples of 16.

        Returns:
            mean and log variance, each (B, C, n + 1, H / 16, W / 16).

        Raises:
            ValueError: another shape; the message names the nearest valid numbers.
        """
        _check_frames(frames)
        clips = frames.shape[0]
        first = frames[:, :, :1].expand(-1, -1, TIME_STRIDE - 1, -1, -1)
        frames = torch.cat((first, frames), dim=2).transpose(1, 2)  # (B, 4 L, 3, H, W)
        pictures = frames.unflatten(1, (-1, TIME_STRIDE)).flatten(0, 1).flatten(1, 2)  # (T, 12, H, W)
        hidden = self.encoder(functional.pixel_unshuffle(pictures, PATCH), clips)
        mean, logvar = hidden.unflatten(0, (clips, -1)).transpose(1, 2).chunk(2, dim=1)
        return mean, logvar.clamp(*LOGVAR_RANGE)

    def decode(self, latents: Tensor) -> Tensor:
        """The frames of latents.

        Args:
            latents: (B, C, L, h, w).

        Returns:
            (B, 3, 4 (L - 1) + 1, 16 h, 16 w), nominally in [-1, 1], not clamped.

        Raises:
            ValueError: another rank or other channels, or no latents.
        """
        channels = self.config.latent_channels
        if latents.ndim != 5 or latents.shape[1] != channels or 0 in latents.shape:
            raise ValueError(
                f"video latents: got shape {tuple(latents.shape)}, expected (clips, {channels}, latents, h, w)."
            )
        clips = latents.shape[0]
        pictures = self.decoder(latents.transpose(1, 2).flatten(0, 1), clips)
        pictures = functional.pixel_shuffle(pictures, PATCH)  # (T, 12, H, W)
        frames = pictures.unflatten(0, (clips, -1)).unflatten(2, (TIME_STRIDE, COLOURS)).flatten(1, 2)
        # Latent 0 stands for frame 0 alone, which the encoder saw four times.
        return frames.transpose(1, 2)[:, :, TIME_STRIDE - 1 :]


def _check_frames(frames: Tensor) -> None:
    if frames.ndim != 5 or frames.shape[1] != COLOURS or 0 in frames.shape:
        raise ValueError(f"frames: got shape {tuple(frames.shape)}, expected (clips, 3, frames, height, width).")
    _, _, count, height, width = frames.shape
    if count % TIME_STRIDE != 1:
        below = (count - 1) // TIME_STRIDE * TIME_STRIDE + 1
        nearest = [number for number in (below, below + TIME_STRIDE) if number > 0]
        raise ValueError(f"frames: got {count}, expected 4 n + 1, e.g. {' or '.join(map(str, nearest))}.")
    for name, size in (("height", height), ("width", width)):
        if size % SPACE_STRIDE:
            below = size // SPACE_STRIDE * SPACE_STRIDE
            nearest = [number for number in (below, below + SPACE_STRIDE) if number > 0]
            raise ValueError(
                f"{name}: got {size} pixels, expected a multiple of {SPACE_STRIDE}, e.g. "
                f"{' or '.join(map(str, nearest))}."
            )
