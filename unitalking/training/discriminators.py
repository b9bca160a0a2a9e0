"""Two kinds of judges for the vocoder's GAN: of samples a period apart, and of spectrograms of several resolutions.

B clips, S samples, F features, N values of a layer. Small versions of HiFi-GAN's and UnivNet's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from .settings import require

SLOPE = 0.1
# Below the fourth root of this no spectrogram value goes: the root's slope at 0 is not finite.
POWER_FLOOR = 1e-6


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Sizes of the judges.

    Attributes:
        periods: samples that are this far apart are judged side by side; none: no such judge.
        windows: samples per window of the spectrograms, a quarter of it apart.
        period_width: channels of a period judge's first layer; they double up to four times that.
        window_width: channels of a spectrogram judge.
    """

    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    windows: tuple[int, ...] = (256, 512, 1024)
    period_width: int = 16
    window_width: int = 16

    def __post_init__(self) -> None:
        require(bool(self.periods or self.windows), "discriminator", "no periods, no windows", "at least one judge")
        for name in ("periods", "windows"):
            require(all(each >= 1 for each in getattr(self, name)), name, getattr(self, name), "numbers above 0")
        for name in ("period_width", "window_width"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")


class Verdict(NamedTuple):
    """What one judge says of B clips.

    Attributes:
        score: (B, N): 1 real, 0 made.
        features: what its layers saw, each (B, F, ...).
    """

    score: Tensor
    features: list[Tensor]


class _Layers(nn.Module):
    """Convolutions with leaky ReLU, and one more to the score; (B, 1, height, width) to a verdict."""

    def __init__(self, convolutions: Sequence[nn.Conv2d], last: nn.Conv2d) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(weight_norm(each) for each in convolutions)
        self.last = weight_norm(last)

    def forward(self, plane: Tensor) -> Verdict:
        features = []
        for convolution in self.convolutions:
            plane = functional.leaky_relu(convolution(plane), SLOPE)
            features.append(plane)
        return Verdict(self.last(plane).flatten(1), features)


class PeriodDiscriminator(nn.Module):
    """Folds the waveform into rows of `period` samples and looks along the columns."""

    def __init__(self, period: int, width: int) -> None:
        super().__init__()
        self.period = period
        widths = [1, width, 2 * width, 4 * width, 4 * width]
        steps = [3, 3, 3, 1]
        self.layers = _Layers(
            [
                nn.Conv2d(widths[i], widths[i + 1], (5, 1), (steps[i], 1), padding=(2, 0))
                for i in range(len(widths) - 1)
            ],
            nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0)),
        )

    def forward(self, waveform: Tensor) -> Verdict:
        """(B, S) to a verdict."""
        missing = -waveform.shape[1] % self.period
        waveform = functional.pad(waveform[:, None], (0, missing), mode="reflect")
        return self.layers(waveform.unflatten(2, (-1, self.period)))


class SpectrogramDiscriminator(nn.Module):
    """Looks at the magnitudes of one resolution, compressed by a root."""

    def __init__(self, window: int, width: int) -> None:
        super().__init__()
        self.window = window
        self.layers = _Layers(
            [
                nn.Conv2d(1, width, (9, 3), padding=(4, 1)),
                *(nn.Conv2d(width, width, (9, 3), (2, 1), padding=(4, 1)) for _ in range(3)),
                nn.Conv2d(width, width, 3, padding=1),
            ],
            nn.Conv2d(width, 1, 3, padding=1),
        )

    def forward(self, waveform: Tensor) -> Verdict:
        """(B, S) to a verdict."""
        with torch.autocast(waveform.device.type, enabled=False):
            waveform = waveform.float()
            shape = torch.hann_window(self.window, device=waveform.device)
            spectrum = torch.stft(waveform, self.window, self.window // 4, window=shape, return_complex=True)
            power = spectrum.real.square() + spectrum.imag.square()
            plane = (power + POWER_FLOOR).pow(0.25)[:, None]
        return self.layers(plane)


class Discriminators(nn.Module):
    """All judges."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        judges: list[nn.Module] = [PeriodDiscriminator(each, config.period_width) for each in config.periods]
        judges += [SpectrogramDiscriminator(each, config.window_width) for each in config.windows]
        self.judges = nn.ModuleList(judges)

    def forward(self, waveform: Tensor) -> list[Verdict]:
        """(B, S) to a verdict of every judge."""
        return [judge(waveform) for judge in self.judges]


def discriminator_loss(real: Sequence[Verdict], made: Sequence[Verdict]) -> Tensor:
    """(1 - D(real))^2 + D(made)^2, mean over judges; (B,)."""
    losses = [
        (1 - one.score.float()).square().mean(1) + two.score.float().square().mean(1)
        for one, two in zip(real, made, strict=True)
    ]
    return torch.stack(losses).mean(0)


def adversarial_loss(made: Sequence[Verdict]) -> Tensor:
    """(1 - D(made))^2, mean over judges; (B,)."""
    return torch.stack([(1 - one.score.float()).square().mean(1) for one in made]).mean(0)


def feature_loss(real: Sequence[Verdict], made: Sequence[Verdict]) -> Tensor:
    """Mean absolute difference of features relative to the real ones' size, mean over layers and judges; (B,)."""
    losses = []
    for one, two in zip(real, made, strict=True):
        for wanted, got in zip(one.features, two.features, strict=True):
            wanted = wanted.detach().float()
            difference = (got.float() - wanted).abs().flatten(1).mean(1)
            losses.append(difference / wanted.abs().mean().clamp_min(1e-3))
    return torch.stack(losses).mean(0)
