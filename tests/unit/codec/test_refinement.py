"""A vocoder's waveform brought to its mel frames' magnitudes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from unitalking.codec.mel import MEL_16K, MEL_44K, MelConfig, MelSpectrogram
from unitalking.codec.refinement import refine

RATE = 16000


def voice(seconds: float = 1.0, rate: int = RATE) -> Tensor:
    """Twenty harmonics of a gliding voice, (1, S)."""
    time = torch.arange(int(seconds * rate), dtype=torch.float64) / rate
    turns = 2 * math.pi * (110 * time + 20 * time.square())
    harmonics = sum(torch.sin(k * turns + k * k) / k for k in range(1, 21))
    return (0.1 * harmonics)[None].float()


def coloured(waveform: Tensor) -> Tensor:
    """The waveform as a poor vocoder makes it: highs lost, too quiet, hoarse."""
    smooth = torch.nn.functional.conv1d(waveform[:, None], torch.full((1, 1, 5), 0.2), padding=2)[:, 0]
    return 0.5 * smooth + 0.06 * torch.randn(waveform.shape, generator=torch.Generator().manual_seed(0))


def distance(one: Tensor, other: Tensor, config: MelConfig = MEL_16K) -> float:
    front_end, inner = MelSpectrogram(config), slice(2048, 14000)
    return float((front_end(one[:, inner]) - front_end(other[:, inner])).abs().mean())


@pytest.mark.parametrize("config", [MEL_16K, MEL_44K], ids=["16k", "44k"])
def test_a_poor_vocoders_waveform_gets_the_magnitudes_back_in_place(config: MelConfig) -> None:
    real = voice(rate=config.sample_rate)
    samples = real.shape[1] // config.hop * config.hop
    real = real[:, :samples]
    poor, mel = coloured(real), MelSpectrogram(config)(real)
    before = distance(poor, real, config)
    near, nearer = (distance(refine(poor, mel, config, steps), real, config) for steps in (0, 30))
    assert near < 0.6 * before
    assert nearer < 0.9 * near
    refined = refine(poor, mel, config, 30)
    assert refined.shape == poor.shape
    fits = [float((refined.roll(shift, 1) * real).sum()) for shift in (-config.hop // 2, 0, config.hop // 2)]
    assert fits[1] == max(fits)
    assert fits[1] > 0.4 * float(refined.norm() * real.norm())  # the vocoder's own phases are kept


def test_a_loud_one_stays_within_the_range() -> None:
    loud = 8 * voice(0.3)[:, : 18 * 256]
    mel = MelSpectrogram(MEL_16K)(loud) + 0.3
    assert refine(loud.clamp(-1, 1), mel, MEL_16K, 3).abs().max() == 1


def test_it_needs_no_precision_of_the_inputs_and_nan_stays() -> None:
    real = voice(0.2)[:, : 12 * 256]
    mel = MelSpectrogram(MEL_16K)(real)
    assert refine(real.bfloat16(), mel.bfloat16(), MEL_16K, 2).dtype == torch.float32
    assert refine(real.double(), mel.double(), MEL_16K, 2).dtype == torch.float64
    assert refine(real * math.nan, mel, MEL_16K, 2).isnan().any()
    assert refine(real, mel * math.nan, MEL_16K, 2).isnan().any()


def test_silence_stays_silent() -> None:
    mel = MelSpectrogram(MEL_16K)(torch.zeros(1, 5120))
    assert refine(torch.zeros(1, 5120), mel, MEL_16K, 5).abs().max() < 1e-3
