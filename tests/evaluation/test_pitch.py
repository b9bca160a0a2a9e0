"""The pitch of a voice."""

from __future__ import annotations

import math

import pytest
import torch

from unitalking.evaluation.pitch import median_pitch, pitch_track, semitones


def buzz(hz: float, seconds: float = 1.0) -> torch.Tensor:
    """A voiced sound: harmonics that get weaker, and a little noise."""
    time = torch.arange(int(16000 * seconds)) / 16000
    noise = torch.randn(len(time), generator=torch.Generator().manual_seed(0))
    harmonics = [torch.sin(2 * math.pi * hz * n * time) / n for n in range(1, int(7000 / hz))]
    return 0.1 * torch.stack(harmonics).sum(dim=0) + 0.005 * noise


@pytest.mark.parametrize("hz", [65.0, 110.0, 187.0, 260.0, 480.0])
def test_pitch_of_a_buzz_is_its_own(hz: float) -> None:
    assert semitones(median_pitch(buzz(hz)), hz) < 0.05


def test_a_missing_fundamental_does_not_matter() -> None:
    time = torch.arange(16000) / 16000
    waveform = torch.stack([torch.sin(2 * math.pi * 120 * n * time) for n in range(3, 9)]).sum(dim=0) * 0.05
    assert semitones(median_pitch(waveform), 120) < 0.05


def test_noise_and_silence_have_no_pitch() -> None:
    assert median_pitch(torch.randn(16000, generator=torch.Generator().manual_seed(0)) * 0.1) is None
    assert median_pitch(torch.zeros(16000)) is None
    assert median_pitch(torch.zeros(10)) is None


def test_pauses_are_unvoiced() -> None:
    track = pitch_track(torch.cat((buzz(150, 0.5), torch.zeros(8000))))
    assert len(track) == 100
    assert (track[5:45] > 0).all()
    assert (track[56:] == 0).all()


def test_an_octave_is_twelve_semitones_in_both_directions() -> None:
    assert semitones(200, 100) == semitones(100, 200) == pytest.approx(12)
