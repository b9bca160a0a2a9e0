"""The tone of a voice, which frequencies are strong in it, and a filter that brings a sound to it.

S samples, M mel bands, F mel frames, K = n_fft / 2 + 1 bins.

A codec and a network each take a little of a voice's tone, the same all through a clip, which one filter gives back.
How strong a band is depends on what is said far more than on who says it, so every frame of the sound is compared with
the frames of the reference that are most alike in shape, and only the mean difference counts. Source: ours; looking a
voice up by its nearest frames is kNN-VC's idea (Baas et al. 2023), which replaces the frames themselves.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from .mel import MelConfig, MelSpectrogram
from .refinement import band_shares

NEIGHBOURS = 8
# Of the log-mel frame, the constant left out: how loud a moment is says nothing about its shape.
CEPSTRA = 13
LEVEL_RMS = 0.1
# Speech is at most this far below the loudest frame, as a ratio of powers.
SPEECH_POWER = 1e-3
# No band becomes more than 12 dB stronger or weaker: what is further apart is no tone.
MOST_LOG10 = 0.6
# Other sample rates, as files have them, raise peaks a little.
HIGHEST_PEAK = 0.95
SMALLEST = 1e-8


def speech_frames(waveform: Tensor, config: MelConfig) -> Tensor:
    """The mel frames in which somebody speaks, at a level of their own; what `matched` compares.

    Args:
        waveform: (S,), mono, at `config.sample_rate`.
        config: the mel front end.

    Returns:
        (M, F) in log10, at least fp32; none where all is silent.
    """
    waveform = waveform.to(torch.promote_types(waveform.dtype, torch.float32))
    waveform = functional.pad(waveform, (0, max(0, config.min_samples - waveform.shape[0])))
    level = waveform.square().mean().sqrt()
    # The front end clips what is louder than 1, as short speech between long pauses would be.
    gain = torch.minimum(LEVEL_RMS / level.clamp_min(SMALLEST), 1 / waveform.abs().max().clamp_min(SMALLEST))
    mel = MelSpectrogram(config)((gain * waveform)[None])[0]
    mel = mel / math.log(10) if config.log == "ln" else mel
    power = (10 ** (2 * mel)).sum(0)
    return mel[:, (power >= SPEECH_POWER * power.max()) & (level > SMALLEST)]


def reference_frames(waveform: Tensor, config: MelConfig) -> Tensor:
    """What is kept of a voice to compare with: every second of its `speech_frames`, which overlap, (M, F) in fp16."""
    return speech_frames(waveform, config)[:, ::2].half()


def tone_difference(frames: Tensor, reference: Tensor) -> Tensor:
    """How much stronger each band of a reference is than the sound's, in log10, where both say alike: (M,).

    Args:
        frames: of the sound, (M, F), from `speech_frames`.
        reference: of the voice, (M, F').
    """
    sound, voice = frames.T, reference.to(frames).T
    both = torch.cat((sound, voice))
    spread = both.std(0).clamp_min(0.1)
    shapes = [(part - both.mean(0)) / spread @ _cosines(len(spread)).to(both) for part in (sound, voice)]
    nearest = torch.cdist(*shapes).topk(min(NEIGHBOURS, len(voice)), largest=False).indices
    return (voice[nearest].mean(1) - sound).mean(0)


def matched(waveform: Tensor, reference: Tensor, config: MelConfig, strength: float) -> Tensor:
    """A sound in the tone of a voice: one filter for all of it, without delay, as loud as before where peaks allow it.

    Args:
        waveform: (S,), mono, at `config.sample_rate`.
        reference: of the voice, (M, F), from `reference_frames`; without any the sound stays as it is.
        config: the mel front end.
        strength: share of the difference that is made up; 0 leaves the sound as it is, 1 makes up all of it.

    Returns:
        (S,); what is silent stays as it is.

    Raises:
        ValueError: frames of another front end.
    """
    if reference.ndim != 2 or reference.shape[0] != config.n_mels:
        raise ValueError(
            f"reference: got frames of shape {tuple(reference.shape)}, expected ({config.n_mels} mel bands, frames): "
            "make them with this codec."
        )
    frames = speech_frames(waveform, config)
    if not strength or 0 in (frames.shape[1], reference.shape[1]):
        return waveform
    difference = tone_difference(frames, reference)
    gains = (strength * (difference - difference.mean())).clamp(-MOST_LOG10, MOST_LOG10)
    bins = 10 ** (band_shares(config).to(gains) @ gains)  # (K,)
    taps = torch.fft.irfft(bins, n=config.n_fft).roll(config.n_fft // 2)
    filtered = _filtered(waveform.to(taps), taps * torch.hann_window(config.n_fft).to(taps))
    louder = waveform.square().mean().sqrt() / filtered.square().mean().sqrt().clamp_min(SMALLEST)
    unclipped = HIGHEST_PEAK / filtered.abs().max().clamp_min(SMALLEST)
    return (filtered * torch.minimum(louder, unclipped)).to(waveform.dtype)


def _filtered(waveform: Tensor, taps: Tensor) -> Tensor:
    """A waveform through a filter whose middle tap is now: (S,), (n,) -> (S,)."""
    # Sizes with large prime factors take many times as long.
    size = 1 << (len(waveform) + len(taps) - 1).bit_length()
    spectrum = torch.fft.rfft(waveform, n=size) * torch.fft.rfft(taps, n=size)
    return torch.fft.irfft(spectrum, n=size)[len(taps) // 2 :][: len(waveform)]


def _cosines(bands: int) -> Tensor:
    """Takes the first cosine coefficients of frames, the constant left out: (M, CEPSTRA)."""
    places = (torch.arange(bands, dtype=torch.float64)[:, None] + 0.5) / bands
    return (math.pi * places * torch.arange(1, CEPSTRA + 1)).cos()
