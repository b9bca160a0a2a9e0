"""Mel-frequency cepstra as SyncNet was trained on: 100 frames a second, 13 coefficients.

S samples, T frames. Source: the defaults of python_speech_features (HTK's definitions), which SyncNet's authors use.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.fft import dct

SAMPLE_RATE = 16000
WINDOW = 400
HOP = 160
FFT = 512
FILTERS = 26
COEFFICIENTS = 13
LIFTER = 22
PREEMPHASIS = 0.97
SMALLEST = np.finfo(np.float64).eps


def mfcc(waveform: np.ndarray) -> np.ndarray:
    """Cepstra of a waveform; the first coefficient is the log energy.

    Args:
        waveform: (S,) at 16 kHz, in [-1, 1]; scaled to 16-bit integers' range as in the files SyncNet reads.

    Returns:
        (13, T), T = 1 + ceil((S - 400) / 160), at least 1; the last window is filled up with zeros.

    Raises:
        ValueError: not one-dimensional, or empty.
    """
    if waveform.ndim != 1 or not waveform.size:
        raise ValueError(f"waveform: got shape {waveform.shape}, expected (samples,), mono, not empty.")
    signal = np.clip(np.round(waveform.astype(np.float64) * 32768), -32768, 32767)
    signal = np.append(signal[0], signal[1:] - PREEMPHASIS * signal[:-1])
    frames = 1 + max(0, math.ceil((len(signal) - WINDOW) / HOP))
    padded = np.append(signal, np.zeros(max(0, (frames - 1) * HOP + WINDOW - len(signal))))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:frames]
    power = np.abs(np.fft.rfft(windows, FFT)) ** 2 / FFT  # (T, 257)
    energy = np.maximum(power.sum(axis=1), SMALLEST)
    bands = np.maximum(power @ _filters().T, SMALLEST)
    cepstra = dct(np.log(bands), type=2, axis=1, norm="ortho")[:, :COEFFICIENTS]
    cepstra *= 1 + LIFTER / 2 * np.sin(np.pi * np.arange(COEFFICIENTS) / LIFTER)
    cepstra[:, 0] = np.log(energy)
    return cepstra.T


def _filters() -> np.ndarray:
    """Triangles between 0 and 8 kHz, equally spaced in HTK's mel, with edges rounded down to bins; (26, 257)."""
    top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    hertz = 700 * (10 ** (np.linspace(0, top, FILTERS + 2) / 2595) - 1)
    edges = np.floor((FFT + 1) * hertz / SAMPLE_RATE)
    bins = np.arange(FFT // 2 + 1)
    low, middle, high = (edges[start : start + FILTERS, None] for start in range(3))
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    return np.where(bins < middle, rising, falling).clip(0) * ((bins >= low) & (bins < high))
