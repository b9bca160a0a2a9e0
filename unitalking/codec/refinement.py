"""A vocoder's waveform with the magnitudes that its mel frames ask for: Griffin and Lim's iteration from its phases.

A small vocoder learns the words long before it learns to keep a low voice's harmonics in step, and loses the voice; its
phases are good enough to start from. B clips, M mel bands, F frames, K = n_fft / 2 + 1 bins. Source: Griffin and Lim
(1984) with the momentum of Perraudin et al. (2013), magnitudes by Lee and Seung's multiplicative updates (2001); that a
vocoder begins it is ours.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .mel import MelConfig, mel_basis

INVERSION_STEPS = 60
MOMENTUM = 0.9
SMALLEST = 1e-10


def refine(waveform: Tensor, mel: Tensor, config: MelConfig, steps: int) -> Tensor:
    """The waveform whose spectra are as near as `steps` rounds bring them to the magnitudes of the mel frames.

    Args:
        waveform: (B, F * hop), what a vocoder made of the frames.
        mel: (B, M, F), logarithms as the front end `config` makes them.
        config: the front end.
        steps: rounds; 0 takes the vocoder's phases as they are.

    Returns:
        (B, F * hop), in [-1, 1], at least fp32; NaN stays NaN.
    """
    waveform = waveform.to(torch.promote_types(waveform.dtype, torch.float32))
    window = torch.hann_window(config.n_fft, dtype=waveform.dtype, device=waveform.device)
    frame = {"n_fft": config.n_fft, "hop_length": config.hop, "window": window}
    # Frames centred on multiples of the hop; the front end's are half a hop later, so there is one more at each end.
    magnitude = functional.pad(mel_magnitudes(mel.to(waveform), config), (1, 1), mode="replicate")
    before, samples = config.hop // 2, waveform.shape[1]
    padded = functional.pad(waveform, (before, config.hop - before))
    rebuilt = previous = torch.stft(padded, **frame, return_complex=True)
    phase = _phase(rebuilt)
    for step in range(steps):
        rebuilt = torch.stft(torch.istft(magnitude * phase, **frame), **frame, return_complex=True)
        moved = rebuilt - previous * (MOMENTUM / (1 + MOMENTUM)) if step else rebuilt
        phase, previous = _phase(moved), rebuilt
    return torch.istft(magnitude * phase, **frame)[:, before:][:, :samples].clamp(-1, 1)


def mel_magnitudes(mel: Tensor, config: MelConfig) -> Tensor:
    """Spectra that are nowhere negative and whose mel bands are closest in squares; (B, M, F) -> (B, K, F)."""
    bands = mel.exp() if config.log == "ln" else 10**mel
    basis = mel_basis(config).to(mel)
    wanted, square = basis.T @ bands, basis.T @ basis
    magnitude = wanted.clamp_min(SMALLEST)
    for _ in range(INVERSION_STEPS):
        magnitude = magnitude * wanted / (square @ magnitude).clamp_min(SMALLEST)
    return magnitude


def _phase(spectrum: Tensor) -> Tensor:
    return spectrum / spectrum.abs().clamp_min(SMALLEST)
