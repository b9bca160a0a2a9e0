"""BigVGAN: log-mel frames to a waveform. B clips, M mels, F frames, S samples, C channels, T time steps of a layer.

Parameter names are those of the public generators with weight norm fused. The anti-aliasing filter is computed, not
stored. Source: BigVGAN equations (v1 as MMAudio uses it at 16 kHz, v2 as released for 44.1 kHz).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .checks import one_of, positive_integer, positive_integers

OUTER_KERNEL = 7
FILTER_TAPS = 12
# A sample of an activation depends on this many samples before and after it (12 taps at twice the rate, up and down).
ACTIVATION_REACH = 5
SNAKE_FLOOR = 1e-9


@dataclass(frozen=True)
class VocoderConfig:
    """A BigVGAN generator.

    Attributes:
        mels: mel bands it reads, M.
        upsample_rates: factor of each stage; their product is the samples per frame.
        upsample_kernel_sizes: transposed-convolution kernel of each stage.
        initial_channels: width before the first stage; each stage halves it.
        resblock_kernel_sizes: kernels of a stage's parallel residual blocks.
        resblock_dilations: dilations of the convolutions of each of these blocks.
        final: "tanh" (v1) or "clamp" (v2), what keeps the waveform within [-1, 1].
        final_bias: whether the last convolution has a bias.
    """

    mels: int
    upsample_rates: tuple[int, ...]
    upsample_kernel_sizes: tuple[int, ...]
    initial_channels: int
    resblock_kernel_sizes: tuple[int, ...] = (3, 7, 11)
    resblock_dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    final: str = "tanh"
    final_bias: bool = True

    def __post_init__(self) -> None:
        positive_integer("VocoderConfig.mels", self.mels)
        positive_integer("VocoderConfig.initial_channels", self.initial_channels)
        for name in ("upsample_rates", "upsample_kernel_sizes", "resblock_kernel_sizes"):
            positive_integers(f"VocoderConfig.{name}", getattr(self, name))
        one_of("VocoderConfig.final", self.final, ("tanh", "clamp"))
        one_of("VocoderConfig.final_bias", self.final_bias, (True, False))
        self._check_stages()
        self._check_resblocks()

    def _check_stages(self) -> None:
        rates, kernels = self.upsample_rates, self.upsample_kernel_sizes
        if len(kernels) != len(rates) or any(k < u or (k - u) % 2 for k, u in zip(kernels, rates, strict=False)):
            raise ValueError(
                f"VocoderConfig.upsample_kernel_sizes: got {kernels}, expected one kernel per rate of {rates}, each "
                "larger than its rate by an even number."
            )
        if self.initial_channels % 2 ** len(rates):
            raise ValueError(
                f"VocoderConfig.initial_channels: got {self.initial_channels}, expected a multiple of "
                f"{2 ** len(rates)}, because each of the {len(rates)} stages halves it."
            )

    def _check_resblocks(self) -> None:
        if any(kernel % 2 == 0 for kernel in self.resblock_kernel_sizes):
            raise ValueError(
                f"VocoderConfig.resblock_kernel_sizes: got {self.resblock_kernel_sizes}, expected odd numbers."
            )
        if len(self.resblock_dilations) != len(self.resblock_kernel_sizes):
            raise ValueError(
                f"VocoderConfig.resblock_dilations: got {len(self.resblock_dilations)} entries, expected one per "
                f"kernel of {self.resblock_kernel_sizes}."
            )
        for index, dilations in enumerate(self.resblock_dilations):
            positive_integers(f"VocoderConfig.resblock_dilations[{index}]", dilations)

    @property
    def hop(self) -> int:
        """Samples per frame."""
        return math.prod(self.upsample_rates)

    def frames_needed(self, start: int, stop: int) -> tuple[int, int]:
        """The frames that samples [start, stop) depend on, ignoring the clip's ends.

        Follows the layers backwards, widening the range by what each one reads.
        """
        outer = OUTER_KERNEL // 2
        start, stop = start - outer - ACTIVATION_REACH, stop + outer + ACTIVATION_REACH
        reach = max(map(_block_reach, self.resblock_kernel_sizes, self.resblock_dilations))
        for rate, kernel in zip(reversed(self.upsample_rates), reversed(self.upsample_kernel_sizes), strict=True):
            start, stop = start - reach, stop + reach
            padding = (kernel - rate) // 2
            start, stop = (start + padding - kernel + rate) // rate, (stop - 1 + padding) // rate + 1
        return start - outer, stop + outer


def _block_reach(kernel: int, dilations: tuple[int, ...]) -> int:
    return sum(2 * ACTIVATION_REACH + (kernel // 2) * (dilation + 1) for dilation in dilations)


def lowpass_filter() -> Tensor:
    """The 12-tap Kaiser-windowed sinc of every activation, cutoff 1/4, half-width 0.3, sum 1; float64, (12,).

    Source: BigVGAN equations (Kaiser's formula for the window's beta).
    """
    attenuation = 2.285 * (FILTER_TAPS // 2 - 1) * math.pi * (4 * 0.3) + 7.95
    beta = 0.1102 * (attenuation - 8.7)
    window = torch.kaiser_window(FILTER_TAPS, periodic=False, beta=beta, dtype=torch.float64)
    positions = torch.arange(FILTER_TAPS, dtype=torch.float64) - (FILTER_TAPS - 1) / 2
    taps = window * torch.sinc(0.5 * positions)
    return taps / taps.sum()


class SnakeBeta(nn.Module):
    """x + sin^2(x e^alpha) / (e^beta + 1e-9), per channel; (B, C, T) -> (B, C, T)."""

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(channels, **kwargs))
        self.beta = nn.Parameter(torch.zeros(channels, **kwargs))

    def forward(self, hidden: Tensor) -> Tensor:
        frequency, magnitude = self.alpha.exp()[:, None], self.beta.exp()[:, None] + SNAKE_FLOOR
        return hidden + (hidden * frequency).sin().square() / magnitude


class Activation(nn.Module):
    """SnakeBeta at twice the rate, so that its overtones do not alias; (B, C, T) -> (B, C, T)."""

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__()
        self.act = SnakeBeta(channels, **kwargs)

    def forward(self, hidden: Tensor, taps: Tensor) -> Tensor:
        """`taps` is `lowpass_filter` in the dtype and on the device of `hidden`, shared by all activations."""
        channels = hidden.shape[1]
        taps = taps.expand(channels, 1, -1)
        edge = FILTER_TAPS // 2 - 1
        hidden = functional.pad(hidden, (edge, edge), mode="replicate")
        hidden = 2 * functional.conv_transpose1d(hidden, taps, stride=2, groups=channels)
        # What the mirrored edges add: 2 * edge samples, and half a filter.
        hidden = self.act(hidden[..., 3 * edge : -3 * edge])
        hidden = functional.pad(hidden, (edge, edge + 1), mode="replicate")
        return functional.conv1d(hidden, taps, stride=2, groups=channels)


class AMPBlock(nn.Module):
    """Residual pairs of a dilated and a plain convolution, each after its activation; (B, C, T) -> (B, C, T)."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...], **kwargs: Any) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, padding=kernel // 2 * dilation, dilation=dilation, **kwargs)
            for dilation in dilations
        )
        self.convs2 = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, padding=kernel // 2, **kwargs) for _ in dilations
        )
        self.activations = nn.ModuleList(Activation(channels, **kwargs) for _ in range(2 * len(dilations)))

    def forward(self, hidden: Tensor, taps: Tensor) -> Tensor:
        before, between = self.activations[0::2], self.activations[1::2]
        for first, conv1, second, conv2 in zip(before, self.convs1, between, self.convs2, strict=True):
            hidden = hidden + conv2(second(conv1(first(hidden, taps)), taps))
        return hidden


class Vocoder(nn.Module):
    """BigVGAN v1 or v2."""

    def __init__(
        self,
        config: VocoderConfig,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        kwargs = {"device": device, "dtype": dtype}
        self.config = config
        widths = [config.initial_channels // 2**stage for stage in range(len(config.upsample_rates) + 1)]
        padding = OUTER_KERNEL // 2
        self.conv_pre = nn.Conv1d(config.mels, widths[0], OUTER_KERNEL, padding=padding, **kwargs)
        # One-element lists give the public names ups.I.0.
        self.ups = nn.ModuleList(
            nn.ModuleList([nn.ConvTranspose1d(widths[i], widths[i + 1], k, u, padding=(k - u) // 2, **kwargs)])
            for i, (u, k) in enumerate(zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True))
        )
        self.resblocks = nn.ModuleList(
            AMPBlock(width, kernel, dilations, **kwargs)
            for width in widths[1:]
            for kernel, dilations in zip(config.resblock_kernel_sizes, config.resblock_dilations, strict=True)
        )
        self.activation_post = Activation(widths[-1], **kwargs)
        self.conv_post = nn.Conv1d(widths[-1], 1, OUTER_KERNEL, padding=padding, bias=config.final_bias, **kwargs)

    def forward(self, mel: Tensor) -> Tensor:
        """Log-mel frames (B, M, F) to samples (B, F * hop) in [-1, 1]."""
        hidden = self.conv_pre(mel)
        taps = lowpass_filter().to(hidden.dtype).to(hidden.device)
        parallel = len(self.config.resblock_kernel_sizes)
        for stage, (upsample,) in enumerate(self.ups):
            hidden = upsample(hidden)
            blocks = self.resblocks[parallel * stage : parallel * (stage + 1)]
            hidden = sum(block(hidden, taps) for block in blocks) / parallel
        samples = self.conv_post(self.activation_post(hidden, taps))[:, 0]
        return samples.tanh() if self.config.final == "tanh" else samples.clamp(-1, 1)


WEIGHT_NORM_SUFFIXES = {
    ".weight_g": ".weight_v",
    ".parametrizations.weight.original0": ".parametrizations.weight.original1",
}


def fuse_weight_norm(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A generator's weights with weight norm multiplied out and the stored filters dropped.

        w = g * v / |v|, the norm over all dimensions but the first, in at least fp32

    Args:
        state_dict: `X.weight_g` and `X.weight_v`, or torch's `X.parametrizations.weight.original0` and `1`, or
            `X.weight` already fused; mixed as they come.

    Raises:
        ValueError: one half of a pair is missing.

    Source: BigVGAN equations; a transposed convolution's first dimension is its input channels.
    """
    fused = {key: value for key, value in state_dict.items() if not key.endswith(".filter")}
    for size, direction in WEIGHT_NORM_SUFFIXES.items():
        layers = {key.removesuffix(end) for end in (size, direction) for key in fused if key.endswith(end)}
        for layer in sorted(layers):
            pair = [fused.pop(layer + end, None) for end in (size, direction)]
            if pair[0] is None or pair[1] is None:
                missing = layer + (size if pair[0] is None else direction)
                raise ValueError(f"vocoder: {missing} is missing, so {layer}.weight cannot be made; take a whole file.")
            fused[f"{layer}.weight"] = _fused(*pair)
    return fused


def _fused(size: Tensor, direction: Tensor) -> Tensor:
    dtype = torch.promote_types(direction.dtype, torch.float32)
    size, direction = size.to(dtype), direction.to(dtype)
    norm = direction.flatten(1).norm(dim=1).view_as(size)
    return direction * (size / norm)
