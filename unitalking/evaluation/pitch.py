"""The pitch of a voice by autocorrelation. S samples, T frames of 10 ms, L lags.

Source: Boersma, "Accurate short-term analysis of the fundamental frequency" (1993): the autocorrelation of a windowed
frame, divided by the window's own, with a small preference for short periods.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .sound import SAMPLE_RATE

HOP = 160
WINDOW = 960
FFT = 2048
LOWEST_HZ, HIGHEST_HZ = 60.0, 500.0
VOICED = 0.6
QUIET_DB = 30.0
OCTAVE_COST = 0.03
FEWEST_VOICED = 5


def pitch_track(waveform: Tensor) -> Tensor:
    """The pitch in every frame.

    Args:
        waveform: (S,) at 16 kHz, mono.

    Returns:
        (T,) in Hz, T = floor(S / 160); 0 where there is no pitch.
    """
    count = len(waveform) // HOP
    if not count:
        return torch.zeros(0)
    side = (WINDOW - HOP) // 2
    frames = torch.nn.functional.pad(waveform.float(), (side, side)).unfold(0, WINDOW, HOP)[:count]
    window = torch.hann_window(WINDOW)
    similar = _autocorrelation(frames * window)
    of_window = _autocorrelation(window[None])
    similar = similar / similar[:, :1].clamp_min(1e-12) * (of_window[:, :1] / of_window)
    shortest, longest = math.floor(SAMPLE_RATE / HIGHEST_HZ), math.ceil(SAMPLE_RATE / LOWEST_HZ)
    before, middle, after = (similar[:, shortest + place : longest + 1 + place] for place in (-1, 0, 1))
    offset = 0.5 * (before - after) / (before - 2 * middle + after).clamp_max(-1e-9)
    strength = middle - 0.25 * (before - after) * offset.clamp(-1, 1)  # of the parabola through three lags
    lags = torch.arange(shortest, longest + 1) + offset.clamp(-1, 1)
    preferred = strength - OCTAVE_COST * torch.log2(lags * (LOWEST_HZ / SAMPLE_RATE))
    best = preferred.masked_fill((middle < before) | (middle < after), -math.inf).argmax(dim=1, keepdim=True)
    strength, lag = strength.gather(1, best)[:, 0], lags.gather(1, best)[:, 0]
    loud = frames.square().mean(dim=1)
    heard = (loud > loud.max() * 10 ** (-QUIET_DB / 10)) & (loud > 1e-9)
    return torch.where(heard & (strength > VOICED), SAMPLE_RATE / lag, torch.zeros(()))


def median_pitch(waveform: Tensor) -> float | None:
    """The median pitch of (S,) samples at 16 kHz in Hz; None where hardly anything is voiced."""
    track = pitch_track(waveform)
    voiced = track[track > 0]
    return float(voiced.median()) if len(voiced) >= FEWEST_VOICED else None


def semitones(hz: float, reference_hz: float) -> float:
    """How far two pitches are apart, without sign."""
    return abs(12 * math.log2(hz / reference_hz))


def _autocorrelation(frames: Tensor) -> Tensor:
    return torch.fft.irfft(torch.fft.rfft(frames, FFT).abs().square(), FFT)
