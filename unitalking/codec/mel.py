"""Log-mel spectrograms: the sound side of the audio VAE. B clips, S samples, M mel bands, F frames.

Source: MMAudio equations (its two modes); Slaney scale and area norm as in librosa's default filterbank.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .checks import one_of, positive_integer, positive_number

MAGNITUDE_FLOOR = 1e-9
MEL_FLOOR = 1e-5

# Slaney's scale is linear below 1 kHz (200/3 Hz per mel) and logarithmic above (27 mels per factor 6.4).
HZ_PER_MEL = 200 / 3
BREAK_HZ = 1000.0
BREAK_MEL = BREAK_HZ / HZ_PER_MEL
MELS_PER_E_FOLD = 27 / math.log(6.4)


@dataclass(frozen=True)
class MelConfig:
    """A mel front end; the window is as long as the transform.

    Attributes:
        sample_rate: Hz.
        n_fft: samples per window.
        hop: samples per frame.
        n_mels: mel bands, M.
        fmin: lowest band edge, Hz.
        fmax: highest band edge, Hz.
        log: "ln" or "log10", the logarithm of the magnitudes.
    """

    sample_rate: int
    n_fft: int
    hop: int
    n_mels: int
    fmin: float
    fmax: float
    log: str

    def __post_init__(self) -> None:
        for name in ("sample_rate", "n_fft", "hop", "n_mels"):
            positive_integer(f"MelConfig.{name}", getattr(self, name))
        positive_number("MelConfig.fmax", self.fmax)
        if not 0 <= self.fmin < self.fmax:
            raise ValueError(f"MelConfig.fmin: got {self.fmin!r}, expected 0 <= fmin < fmax = {self.fmax!r}.")
        if self.fmax > self.sample_rate / 2:
            raise ValueError(f"MelConfig.fmax: got {self.fmax!r}, expected at most sample_rate / 2.")
        if self.n_fft < self.hop or (self.n_fft - self.hop) % 2:
            raise ValueError(f"MelConfig.n_fft: got {self.n_fft}, expected hop + an even number, hop = {self.hop}.")
        one_of("MelConfig.log", self.log, ("ln", "log10"))

    @property
    def padding(self) -> int:
        """Samples mirrored at each end, so that S samples give floor(S / hop) frames."""
        return (self.n_fft - self.hop) // 2

    @property
    def min_samples(self) -> int:
        """The shortest waveform that has a frame and enough samples to mirror."""
        return max(self.hop, self.padding + 1)


MEL_44K = MelConfig(44100, 2048, 512, 128, 0.0, 22050.0, "ln")
MEL_16K = MelConfig(16000, 1024, 256, 80, 0.0, 8000.0, "log10")


def mel_basis(config: MelConfig) -> Tensor:
    """The triangular filterbank, (M, n_fft/2 + 1), float64 on the CPU.

    Band m rises from edge m to m+1 and falls to m+2, edges equally spaced on Slaney's scale; each triangle is scaled to
    area 1 (2 / width in Hz).

    Source: Slaney's Auditory Toolbox, as used by MMAudio.
    """
    low, high = (_hz_to_mel(torch.tensor(hz, dtype=torch.float64)) for hz in (config.fmin, config.fmax))
    steps = torch.linspace(0, 1, config.n_mels + 2, dtype=torch.float64)
    edges = _mel_to_hz(low + (high - low) * steps)  # (M + 2,)
    frequencies = torch.arange(config.n_fft // 2 + 1, dtype=torch.float64) * (config.sample_rate / config.n_fft)
    widths = edges.diff()
    rising = (frequencies - edges[:-2, None]) / widths[:-1, None]
    falling = (edges[2:, None] - frequencies) / widths[1:, None]
    triangles = torch.minimum(rising, falling).clamp_min(0)
    return triangles * (2 / (edges[2:] - edges[:-2]))[:, None]


def _hz_to_mel(hz: Tensor) -> Tensor:
    logarithmic = BREAK_MEL + MELS_PER_E_FOLD * torch.log(hz.clamp_min(BREAK_HZ) / BREAK_HZ)
    return torch.where(hz < BREAK_HZ, hz / HZ_PER_MEL, logarithmic)


def _mel_to_hz(mel: Tensor) -> Tensor:
    logarithmic = BREAK_HZ * torch.exp((mel - BREAK_MEL) / MELS_PER_E_FOLD)
    return torch.where(mel < BREAK_MEL, mel * HZ_PER_MEL, logarithmic)


class MelSpectrogram(nn.Module):
    """Waveform to log-mel frames.

    It has no parameters or buffers: filterbank and window are made from the config in float64 when asked for, so that
    the module is complete after being built on the meta device and exact in float64.
    """

    def __init__(self, config: MelConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, waveform: Tensor) -> Tensor:
        """Log-mel frames of a waveform, in at least fp32.

            log(max(basis @ sqrt(re^2 + im^2 + 1e-9), 1e-5)) of the clipped, mirrored waveform

        Args:
            waveform: (B, S), mono, nominally in [-1, 1]; clipped to that.

        Returns:
            (B, M, floor(S / hop)).

        Raises:
            ValueError: not (B, S), or fewer than `config.min_samples` samples.

        Source: MMAudio equations.
        """
        config = self.config
        if waveform.ndim != 2:
            raise ValueError(f"waveform: got shape {tuple(waveform.shape)}, expected (clips, samples), mono.")
        if waveform.shape[1] < config.min_samples:
            raise ValueError(
                f"waveform: got {waveform.shape[1]} samples, expected at least {config.min_samples} "
                f"({config.min_samples / config.sample_rate:.3f} s); pad the clip with silence."
            )
        waveform = waveform.to(torch.promote_types(waveform.dtype, torch.float32)).clamp(-1, 1)
        padded = functional.pad(waveform[:, None], (config.padding, config.padding), mode="reflect")[:, 0]
        window = torch.hann_window(config.n_fft, dtype=torch.float64).to(waveform.dtype).to(waveform.device)
        spectrum = torch.stft(
            padded, config.n_fft, config.hop, window=window, center=False, onesided=True, return_complex=True
        )  # (B, n_fft/2 + 1, F)
        magnitude = (spectrum.real.square() + spectrum.imag.square() + MAGNITUDE_FLOOR).sqrt()
        basis = mel_basis(config).to(waveform.dtype).to(waveform.device)
        mel = (basis @ magnitude).clamp_min(MEL_FLOOR)
        return mel.log() if config.log == "ln" else mel.log10()
