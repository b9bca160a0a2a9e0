"""MMAudio's 1-D VAE between log-mel frames and audio latents. B clips, M mels, C latent channels, F frames, L latents.

Its convolutions are magnitude-preserving (`magnitude`). Modules here hold *baked* weights: normalised once, in at least
fp32, by `normalise_weights`; the released files hold raw ones. Parameter names are those of the released files.

Source: the published MMAudio equations, implemented from these alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .checks import positive_integer
from .magnitude import EPS, Attention, ResidualBlock, UnitConv1d, scaled_silu

TIME_FACTOR = 2
LEVEL_WIDTHS = (1, 2, 4)
ENCODER_BLOCKS = 2
DECODER_BLOCKS = 3
HIDDEN_LIMIT = 256.0
LOGVAR_RANGE = (-30.0, 20.0)

# A baked row has norm |w| / (|w| + EPS sqrt(N)): just below 1. Half-precision storage moves it by less than this band.
BAKED_NORMS = (0.9, 1.03)


class Middle(nn.Module):
    """The level at latent rate that sees the whole clip."""

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(channels, channels, **kwargs)
        self.attn_1 = Attention(channels, **kwargs)
        self.block_2 = ResidualBlock(channels, channels, **kwargs)

    def forward(self, hidden: Tensor) -> Tensor:
        return limit(self.block_2(self.attn_1(self.block_1(hidden))))


def limit(hidden: Tensor) -> Tensor:
    """Hidden values clipped to +-256."""
    return hidden.clamp(-HIDDEN_LIMIT, HIDDEN_LIMIT)


class Downsample(nn.Module):
    """Half the frames (an odd last one is dropped); (B, C, F) -> (B, C, floor(F / 2))."""

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__()
        self.conv1 = UnitConv1d(channels, channels, 1, **kwargs)
        self.conv2 = UnitConv1d(channels, channels, 1, **kwargs)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.conv2(functional.avg_pool1d(self.conv1(hidden), TIME_FACTOR))


class Upsample(nn.Module):
    """Every frame twice, then a convolution; (B, C, F) -> (B, C, 2 F)."""

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__()
        self.conv = UnitConv1d(channels, channels, 3, **kwargs)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.conv(hidden.repeat_interleave(TIME_FACTOR, dim=2))


class Level(nn.Module):
    """Residual blocks of one width, then the change of rate if this level has one."""

    def __init__(self, inputs: int, outputs: int, blocks: int, rate: str, **kwargs: Any) -> None:
        super().__init__()
        widths = [inputs] + [outputs] * blocks
        self.block = nn.ModuleList(ResidualBlock(widths[i], widths[i + 1], **kwargs) for i in range(blocks))
        self.downsample = Downsample(outputs, **kwargs) if rate == "down" else None
        self.upsample = Upsample(outputs, **kwargs) if rate == "up" else None

    def forward(self, hidden: Tensor) -> Tensor:
        for block in self.block:
            hidden = limit(block(hidden))
        if self.downsample is not None:
            hidden = self.downsample(hidden)
        return hidden if self.upsample is None else self.upsample(hidden)


class Encoder(nn.Module):
    """Normalised mel frames to twice the latent channels (mean, log variance)."""

    def __init__(self, mels: int, latent_channels: int, hidden_dim: int, **kwargs: Any) -> None:
        super().__init__()
        widths = [hidden_dim * factor for factor in LEVEL_WIDTHS]
        self.conv_in = UnitConv1d(mels, widths[0], 3, **kwargs)
        self.down = nn.ModuleList(
            Level(widths[max(i - 1, 0)], widths[i], ENCODER_BLOCKS, "down" if i == 0 else "same", **kwargs)
            for i in range(len(widths))
        )
        self.mid = Middle(widths[-1], **kwargs)
        self.conv_out = UnitConv1d(widths[-1], 2 * latent_channels, 3, **kwargs)
        self.learnable_gain = nn.Parameter(torch.zeros((), **kwargs))

    def forward(self, mel: Tensor) -> Tensor:
        hidden = self.conv_in(mel)
        for level in self.down:
            hidden = level(hidden)
        return self.conv_out(scaled_silu(self.mid(hidden))) * (1 + self.learnable_gain)


class Decoder(nn.Module):
    """Latents to normalised mel frames, in two steps: only the first sees the whole clip."""

    def __init__(self, mels: int, latent_channels: int, hidden_dim: int, **kwargs: Any) -> None:
        super().__init__()
        widths = [hidden_dim * factor for factor in LEVEL_WIDTHS]
        top = len(widths) - 1
        self.conv_in = UnitConv1d(latent_channels, widths[-1], 3, **kwargs)
        self.mid = Middle(widths[-1], **kwargs)
        self.up = nn.ModuleList(
            Level(widths[min(i + 1, top)], widths[i], DECODER_BLOCKS, "up" if i == 1 else "same", **kwargs)
            for i in range(len(widths))
        )
        self.conv_out = UnitConv1d(widths[0], mels, 3, **kwargs)
        self.learnable_gain = nn.Parameter(torch.zeros((), **kwargs))

    def whole_clip(self, latents: Tensor) -> Tensor:
        """Latents (B, C, L) to hidden (B, 4 hidden_dim, L); global attention, so never on a part of a clip."""
        return self.mid(self.conv_in(latents))

    def local(self, hidden: Tensor) -> Tensor:
        """Hidden (B, 4 hidden_dim, L) to mel (B, M, 2 L); convolutions only, reach `latents_needed`."""
        for level in reversed(self.up):
            hidden = level(hidden)
        return self.conv_out(scaled_silu(hidden)) * (1 + self.learnable_gain)


def latents_needed(start: int, stop: int) -> tuple[int, int]:
    """The latents that frames [start, stop) of `Decoder.local` depend on, ignoring the clip's ends.

    Follows the layers backwards: every 3-tap convolution adds one on each side, the upsampling halves the range.
    """
    level = 2 * DECODER_BLOCKS
    at_frame_rate = 1 + level + 1  # conv_out, level 0, the upsampling's convolution
    start, stop = start - at_frame_rate, stop + at_frame_rate
    start, stop = start // TIME_FACTOR, -(-stop // TIME_FACTOR)
    return start - 2 * level, stop + 2 * level  # levels 1 and 2


class AudioVAE(nn.Module):
    """The 1-D VAE: `hidden_dim` is the width of its first level, the next ones are 2 and 4 times as wide."""

    def __init__(
        self,
        mels: int,
        latent_channels: int,
        hidden_dim: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        sizes = {"mels": mels, "latent_channels": latent_channels, "hidden_dim": hidden_dim}
        for name, value in sizes.items():
            positive_integer(f"AudioVAE {name}", value)
        kwargs = {"device": device, "dtype": dtype}
        self.encoder = Encoder(**sizes, **kwargs)
        self.decoder = Decoder(**sizes, **kwargs)
        self.register_buffer("data_mean", torch.zeros(1, mels, 1, **kwargs))
        self.register_buffer("data_std", torch.ones(1, mels, 1, **kwargs))

    def encode(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """The posterior of log-mel frames.

        Args:
            mel: (B, M, F), F at least 2.

        Returns:
            mean and log variance, each (B, C, floor(F / 2)); the mean is the latent, unscaled.
        """
        mean, logvar = self.encoder((mel - self.data_mean) / self.data_std).chunk(2, dim=1)
        return mean, logvar.clamp(*LOGVAR_RANGE)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, C, L) to log-mel frames (B, M, 2 L)."""
        return self.decode_local(self.decoder.whole_clip(latents))

    def decode_local(self, hidden: Tensor) -> Tensor:
        """The part of `decode` after `decoder.whole_clip`, for all or a stretch of its output."""
        return self.decoder.local(hidden) * self.data_std + self.data_mean


def normalise_weights(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Raw VAE weights to baked ones, in at least fp32; to be applied exactly once.

        w <- w / (r + 1e-4) / sqrt(N),  r = sqrt(sum w^2 / N) over the N weights of each output channel

    A second application would shrink every convolution by up to 0.8 %. Other entries are passed on.

    Args:
        state_dict: keys of the released files, any floating dtype.

    Source: MMAudio equations.
    """
    return {key: _normalised(value) if key.endswith(".weight") else value for key, value in state_dict.items()}


def _normalised(weight: Tensor) -> Tensor:
    weight = weight.to(torch.promote_types(weight.dtype, torch.float32))
    root = math.sqrt(weight[0].numel())
    rms = weight.flatten(1).norm(dim=1)[:, None, None] / root
    return weight / (rms + EPS) / root


def weights_are_raw(state_dict: Mapping[str, Tensor]) -> bool:
    """Whether VAE weights still need `normalise_weights`, told by the norms of their filters.

    Baked filters have norm 1 (0.9 to 1.03 after storage in half precision); raw ones, about sqrt(N), lie elsewhere.

    Raises:
        ValueError: no convolution weights, weights that are not finite, or some filters of norm 1 and some not.
    """
    filters = [value.detach().float() for key, value in state_dict.items() if key.endswith(".weight")]
    norms = [value.flatten(1).norm(dim=1) for value in filters]
    if not norms:
        raise ValueError("audio VAE: no convolution weights (*.weight) found, so raw or normalised cannot be told.")
    rows = torch.cat(norms)
    if not bool(torch.isfinite(rows).all()):
        raise ValueError("audio VAE: the weights contain NaN or Inf; the file is damaged.")
    share = float(((rows >= BAKED_NORMS[0]) & (rows <= BAKED_NORMS[1])).double().mean())
    if 0.5 < share < 0.99:
        raise ValueError(
            f"audio VAE: {share:.0%} of the filters have norm 1, expected all (normalised weights) or few (raw, as "
            "released by MMAudio); the file mixes both or was changed: take the original one."
        )
    return share <= 0.5
