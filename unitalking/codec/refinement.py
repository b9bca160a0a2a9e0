"""A vocoder's waveform brought to the mel frames that it was made of: its phases, their magnitudes, band by band.

A small vocoder learns the words long before it learns to keep a low voice's harmonics in step, and loses the voice; its
phases are good enough to start from. A few of Griffin and Lim's rounds put them in step; after those, each round makes
every band as much louder or softer as the waveform's own mel frames are off, which Griffin and Lim never look at. B
clips, M mel bands, F frames, K = n_fft / 2 + 1 bins. Source: Griffin and Lim (1984), magnitudes by Lee and Seung's
multiplicative updates (2001); the vocoder's start and the bands are ours.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from .mel import MelConfig, MelSpectrogram, mel_basis

INVERSION_STEPS = 60
PHASE_STEPS = 4
# What a round may change a band by, as log10: bands without sound would grow without end.
SOFTEST, LOUDEST = -1.0, 0.5
SMALLEST = 1e-10


def refine(waveform: Tensor, mel: Tensor, config: MelConfig, steps: int) -> Tensor:
    """The waveform whose mel frames are as near as `steps` rounds bring them to the given ones.

    Args:
        waveform: (B, F * hop), what a vocoder made of the frames.
        mel: (B, M, F), logarithms as the front end `config` makes them.
        config: the front end.
        steps: rounds of the bands; with 0 the magnitudes of the frames have the vocoder's phases, put in step.

    Returns:
        (B, F * hop), in [-1, 1], at least fp32; NaN stays NaN.
    """
    waveform = waveform.to(torch.promote_types(waveform.dtype, torch.float32))
    window = torch.hann_window(config.n_fft, dtype=waveform.dtype, device=waveform.device)
    frame = {"n_fft": config.n_fft, "hop_length": config.hop, "window": window}
    # Frames centred on multiples of the hop; the front end's are half a hop later, so there is one more at each end.
    mel = mel.to(waveform)
    magnitude = functional.pad(mel_magnitudes(mel, config), (1, 1), mode="replicate")
    before, samples = config.hop // 2, waveform.shape[1]
    padded = functional.pad(waveform, (before, config.hop - before))
    spectrum = magnitude * _phase(torch.stft(padded, **frame, return_complex=True))
    for _ in range(PHASE_STEPS):
        spectrum = magnitude * _phase(torch.stft(torch.istft(spectrum, **frame), **frame, return_complex=True))
    front_end, share = MelSpectrogram(config), band_shares(config).to(waveform)
    for _ in range(steps):
        padded = torch.istft(spectrum, **frame)
        missing = (mel - front_end(padded[:, before:][:, :samples])) * (1 / math.log(10) if config.log == "ln" else 1)
        gain = functional.pad(share @ 10 ** missing.clamp(SOFTEST, LOUDEST), (1, 1), mode="replicate")
        spectrum = gain * torch.stft(padded, **frame, return_complex=True)
    return torch.istft(spectrum, **frame)[:, before:][:, :samples].clamp(-1, 1)


def mel_magnitudes(mel: Tensor, config: MelConfig) -> Tensor:
    """Spectra that are nowhere negative and whose mel bands are closest in squares; (B, M, F) -> (B, K, F)."""
    bands = mel.exp() if config.log == "ln" else 10**mel
    basis = mel_basis(config).to(mel)
    wanted, square = basis.T @ bands, basis.T @ basis
    magnitude = wanted.clamp_min(SMALLEST)
    for _ in range(INVERSION_STEPS):
        magnitude = magnitude * wanted / (square @ magnitude).clamp_min(SMALLEST)
    return magnitude


def band_shares(config: MelConfig) -> Tensor:
    """How much of each bin belongs to each band, (K, M); rows sum to 1, or to 0 where no band reaches."""
    basis = mel_basis(config).T
    return basis / basis.sum(1, keepdim=True).clamp_min(SMALLEST)


def _phase(spectrum: Tensor) -> Tensor:
    return spectrum / spectrum.abs().clamp_min(SMALLEST)
