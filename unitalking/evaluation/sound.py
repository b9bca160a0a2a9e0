"""What every judge hears: a levelled log-mel spectrogram, and its mild distortions in training.

B clips, S samples, M mel bands, F mel frames. A mel value of 0 is silence, so that padding with zeros is padding with
silence.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ..codec.mel import MEL_16K, MelSpectrogram

SAMPLE_RATE = MEL_16K.sample_rate
FRAMES_PER_S = MEL_16K.sample_rate / MEL_16K.hop
MELS = MEL_16K.n_mels

LEVEL_RMS = 0.1
SILENT_RMS = 1e-4
MEL_FLOOR_LOG10 = -5.0
MEL_SCALE = 0.5

BLUR = 0.2
MEL_NOISE = 0.25
LEVEL_JITTER_DB = 4.0
SNR_DB = (15.0, 45.0)
WARP = 0.08
LOWEST_CUTOFF = 56
LIMITED_SHARE = 0.25
NOISY_SHARE = 0.5
# The mel magnitude of white noise of RMS 1: sqrt(sum of the squared window) times the area-normalised triangle's sum.
NOISE_BAND = 1.25
NOISE_SPREAD = 0.3


def levelled(waveform: Tensor) -> Tensor:
    """The waveform at an RMS of 0.1; what is nearly silent stays as it is. (B, S) -> (B, S)."""
    rms = waveform.square().mean(dim=1, keepdim=True).sqrt()
    return torch.where(rms > SILENT_RMS, waveform * (LEVEL_RMS / rms.clamp_min(SILENT_RMS)), waveform)


def features(waveform: Tensor) -> Tensor:
    """What the judges hear of a waveform, whatever its level.

    Args:
        waveform: (B, S) at 16 kHz, mono; short ones are filled up with silence.

    Returns:
        (B, M, F), 0 where silent, about 0 .. 2.5.
    """
    return (mel_features(levelled(waveform)) - MEL_FLOOR_LOG10) * MEL_SCALE


def mel_features(waveform: Tensor) -> Tensor:
    """Log10-mel of a waveform that may be shorter than the front end needs; (B, S) -> (B, M, F)."""
    missing = max(0, MEL_16K.min_samples - waveform.shape[1])
    return MelSpectrogram(MEL_16K)(functional.pad(waveform, (0, missing)))


def distorted(mel: Tensor, random: torch.Generator, warp: float = WARP) -> Tensor:
    """Mel features as a codec or a room might return them.

    A vocal tract of another length, another level, white noise (half of the clips), a blur along time and frequency,
    noise on the mel frames themselves, and a missing top (a quarter).

    Args:
        mel: (B, M, F), 0 where silent.
        random: where all chance comes from.
        warp: largest relative shift of the frequency axis; 0 where the voice itself is judged.

    Returns:
        (B, M, F).
    """
    if warp:
        mel = _warped(mel, 1 + warp * (2 * torch.rand(mel.shape[0], generator=random) - 1))
    mel = _noisy(mel, random)
    for axis in (1, 2):
        mel = _blurred(mel, BLUR * _each(mel, random), axis)
    strength = MEL_NOISE * MEL_SCALE * _each(mel, random) ** 2
    mel = (mel + strength * torch.randn(mel.shape, generator=random)).clamp_min(0)
    cutoff = LOWEST_CUTOFF + (MELS - LOWEST_CUTOFF) * _each(mel, random)
    limited = _each(mel, random) < LIMITED_SHARE
    return mel * ~(limited & (torch.arange(MELS)[:, None] > cutoff))


def _each(mel: Tensor, random: torch.Generator) -> Tensor:
    """One number of 0 .. 1 for every clip, (B, 1, 1)."""
    return torch.rand(mel.shape[0], 1, 1, generator=random)


def _noisy(mel: Tensor, random: torch.Generator) -> Tensor:
    """White noise under half of the clips, and all of them at another level."""
    level_db = LEVEL_JITTER_DB * (2 * _each(mel, random) - 1)
    snr_db = SNR_DB[0] + (SNR_DB[1] - SNR_DB[0]) * _each(mel, random)
    floor = NOISE_BAND * LEVEL_RMS * 10 ** (-snr_db / 20) * (_each(mel, random) < NOISY_SHARE)
    noise = floor * (1 + NOISE_SPREAD * torch.randn(mel.shape, generator=random))
    band = 10 ** (mel / MEL_SCALE + MEL_FLOOR_LOG10)
    heard = (band.square() + noise.square()).sqrt() * 10 ** (level_db / 20)
    return (heard.log10() - MEL_FLOOR_LOG10).clamp_min(0) * MEL_SCALE


def _warped(mel: Tensor, factor: Tensor) -> Tensor:
    """Each clip's frequency axis stretched by its factor."""
    bands = mel.shape[1]
    position = (torch.arange(bands) / factor[:, None]).clamp(0, bands - 1)  # (B, M)
    below = position.floor().clamp_max(bands - 2)
    share = (position - below)[:, :, None]
    index = below.long()[:, :, None].expand_as(mel)
    return mel.gather(1, index) * (1 - share) + mel.gather(1, index + 1) * share


def _blurred(mel: Tensor, amount: Tensor, axis: int) -> Tensor:
    """A three-point blur along one axis."""
    size = mel.shape[axis]
    padding = (1, 1) if axis == 2 else (0, 0, 1, 1)
    padded = functional.pad(mel, padding)
    before, after = padded.narrow(axis, 0, size), padded.narrow(axis, 2, size)
    return (1 - 2 * amount) * mel + amount * (before + after)
