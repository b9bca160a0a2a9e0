"""How far a waveform is from another by its spectrograms alone. B clips, S samples, M mels, F frames.

Source: multi-scale mel and multi-resolution STFT losses as in BigVGAN v2 and Parallel WaveGAN; weights are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..codec.mel import MelConfig, mel_basis
from .settings import require

# Keeps the slope of a magnitude finite at silence.
POWER_FLOOR = 1e-9
# -100 dB of full scale: what is below is not heard, and digital silence must not outweigh speech.
LOG_FLOOR = 1e-5
# Speech has a mean magnitude of about 1e-3; the relative difference is none to silence.
SMALLEST_MEAN = 1e-4


@dataclass(frozen=True)
class SpectralLossConfig:
    """Which spectrograms are compared.

    Attributes:
        windows: samples per window; windows are a quarter of it apart.
        mels: mel bands at each of them.
        stft: weight of the magnitudes themselves beside the mel bands.
    """

    windows: tuple[int, ...] = (128, 256, 512, 1024, 2048)
    mels: tuple[int, ...] = (16, 32, 64, 80, 128)
    stft: float = 0.5

    def __post_init__(self) -> None:
        require(len(self.windows) == len(self.mels) > 0, "spectral.mels", self.mels, "one number per window")
        require(min(self.windows) >= 32 and min(self.mels) > 0, "spectral.windows", self.windows, "at least 32 samples")
        require(self.stft >= 0, "spectral.stft", self.stft, "at least 0")


class SpectralLoss(nn.Module):
    """Mean absolute difference of natural-log mel frames, plus the same and a relative one of the magnitudes."""

    def __init__(self, config: SpectralLossConfig, sample_rate: int) -> None:
        super().__init__()
        self.config = config
        for place, (window, mels) in enumerate(zip(config.windows, config.mels, strict=True)):
            mel = MelConfig(sample_rate, window, window // 4, mels, 0.0, sample_rate / 2, "ln")
            # Area 1 makes bands differ in size with the window; their sum 1 makes them averages.
            basis = mel_basis(mel)
            basis = basis / basis.sum(1, keepdim=True).clamp_min(1e-12)
            self.register_buffer(f"basis_{place}", basis.float(), persistent=False)
            self.register_buffer(f"window_{place}", torch.hann_window(window), persistent=False)

    def forward(self, made: Tensor, real: Tensor) -> dict[str, Tensor]:
        """Waveforms (B, S) to losses "mel" and "stft", each (B,)."""
        with torch.autocast(made.device.type, enabled=False):
            scales = [self._at(place, made.float(), real.float()) for place in range(len(self.config.windows))]
        return {name: torch.stack([scale[name] for scale in scales]).mean(0) for name in ("mel", "stft")}

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """Their weighted sum, (B,)."""
        return losses["mel"] + self.config.stft * losses["stft"]

    def _at(self, place: int, made: Tensor, real: Tensor) -> dict[str, Tensor]:
        basis, window = self.get_buffer(f"basis_{place}"), self.get_buffer(f"window_{place}")
        with torch.no_grad():
            wanted = _magnitudes(real, window)
        got = _magnitudes(made, window)
        mel = (_log(basis @ got) - _log(basis @ wanted)).abs().mean((1, 2))
        logs = (_log(got) - _log(wanted)).abs().mean((1, 2))
        relative = (got - wanted).abs().mean((1, 2)) / wanted.mean((1, 2)).clamp_min(SMALLEST_MEAN)
        return {"mel": mel, "stft": 0.5 * logs + 0.5 * relative}


def _magnitudes(waveform: Tensor, window: Tensor) -> Tensor:
    """(B, S) to (B, n_fft / 2 + 1, F); a full-scale sine has magnitude about 1/2."""
    size = window.numel()
    spectrum = torch.stft(waveform, size, size // 4, window=window, return_complex=True)
    power = spectrum.real.square() + spectrum.imag.square()
    return (power + POWER_FLOOR * size).sqrt() * (2 / size)


def _log(magnitudes: Tensor) -> Tensor:
    return magnitudes.clamp_min(LOG_FLOOR).log()
