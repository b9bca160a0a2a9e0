"""The tone of a voice: what a filter took from a sound comes back, and what is said stays out of it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from unitalking.codec.mel import MEL_16K, MelConfig
from unitalking.codec.tone import MOST_LOG10, matched, reference_frames, speech_frames, tone_difference

SAMPLES = Path(__file__).resolve().parents[3] / "assets" / "voices"
RATE = MEL_16K.sample_rate
MEL_LN = MelConfig(16000, 1024, 256, 80, 0.0, 8000.0, "ln")


def voice(name: str = "alice_clear") -> Tensor:
    """A sample voice, (S,) at 16 kHz."""
    import av

    with av.open(str(SAMPLES / f"{name}.flac")) as container:
        resampler = av.AudioResampler(format="fltp", rate=RATE, layout="mono")
        parts = [part.to_ndarray()[0] for frame in container.decode(audio=0) for part in resampler.resample(frame)]
    return torch.from_numpy(np.concatenate(parts))


def halves() -> tuple[Tensor, Tensor]:
    """Two stretches of one voice that say different things."""
    whole = voice()
    return whole[: len(whole) // 2], whole[len(whole) // 2 :]


def tilted(waveform: Tensor, decibels: float) -> Tensor:
    """Frequencies louder by up to so many decibels towards the top, as a straight line over the logarithm."""
    spectrum = torch.fft.rfft(waveform)
    hertz = torch.linspace(0, RATE / 2, len(spectrum)).clamp(min=100)
    share = torch.log(hertz / 100) / math.log(RATE / 2 / 100)
    return torch.fft.irfft(spectrum * 10 ** (decibels * share / 20), n=len(waveform))


def apart(sound: Tensor, reference: Tensor) -> Tensor:
    """Difference in tone, without what is only louder, in log10."""
    difference = tone_difference(speech_frames(sound, MEL_16K), speech_frames(reference, MEL_16K))
    return difference - difference.mean()


def made_up(sound: Tensor, wanted: Tensor, strength: float) -> Tensor:
    """What matching changed in each band, on average, in log10, without what is only louder."""
    frames = speech_frames(matched(sound, wanted, MEL_16K, strength), MEL_16K)
    change = frames.mean(1) - speech_frames(sound, MEL_16K).mean(1)
    return change - change.mean()


@pytest.mark.parametrize("decibels", [8.0, -8.0])
def test_a_tone_that_was_lost_comes_back(decibels: float) -> None:
    spoken, reference = halves()
    coloured, wanted = tilted(spoken, decibels), reference_frames(reference, MEL_16K)
    restored = matched(coloured, wanted, MEL_16K, 1.0)
    lost, left = apart(coloured, spoken), apart(restored, matched(spoken, wanted, MEL_16K, 1.0))
    assert float(lost.abs().mean()) > 0.05
    assert abs(float((left * lost).sum() / lost.square().sum())) < 0.5


def test_the_strength_is_the_share_that_is_made_up() -> None:
    spoken, reference = halves()
    wanted = reference_frames(reference, MEL_16K)
    all_of_it = made_up(spoken, wanted, 1.0)
    for strength in (0.25, 0.5):
        share = (made_up(spoken, wanted, strength) * all_of_it).sum() / all_of_it.square().sum()
        assert float(share) == pytest.approx(strength, abs=0.03)
    assert torch.equal(matched(spoken, wanted, MEL_16K, 0.0), spoken)


def test_what_is_said_stays_out_of_it() -> None:
    """The mean spectra of two stretches differ by their vowels; the tone, compared where both say alike, far less."""
    first, second = (speech_frames(half, MEL_16K) for half in halves())
    plain = second.mean(1) - first.mean(1)
    assert float(tone_difference(first, second).std()) < 0.75 * float(plain.std())


def test_another_voice_has_another_tone() -> None:
    own, reference = halves()
    assert float(apart(voice("martin_deep"), reference).std()) > 2 * float(apart(own, reference).std())


def test_the_sound_is_as_loud_and_as_early_as_before() -> None:
    spoken, reference = halves()
    coloured = 0.3 * tilted(spoken, 8.0)
    restored = matched(coloured, reference_frames(reference, MEL_16K), MEL_16K, 1.0)
    assert restored.shape == coloured.shape
    assert float(restored.square().mean()) == pytest.approx(float(coloured.square().mean()), rel=1e-4)
    size = 2 * len(coloured)
    product = torch.fft.rfft(restored, n=size) * torch.fft.rfft(coloured, n=size).conj()
    lag = int(torch.fft.irfft(product).argmax())
    assert min(lag, size - lag) == 0


def test_peaks_are_not_clipped() -> None:
    full, reference = voice("clara_calm"), reference_frames(voice(), MEL_16K)
    full = full / full.abs().max()
    loud, soft = matched(full, reference, MEL_16K, 1.0), matched(0.1 * full, reference, MEL_16K, 1.0)
    assert float(soft.abs().max()) > 0.12
    assert float(loud.abs().max()) <= 0.96
    assert float(torch.corrcoef(torch.stack((loud, soft)))[0, 1]) > 0.9999


def test_how_loud_the_reference_was_recorded_does_not_count() -> None:
    spoken, reference = halves()
    loud, soft = (matched(spoken, reference_frames(gain * reference, MEL_16K), MEL_16K, 1.0) for gain in (1.0, 0.05))
    torch.testing.assert_close(soft, loud, rtol=0, atol=1e-4)


def test_pauses_do_not_count() -> None:
    """Neither in the sound nor in the reference, however long they are."""
    spoken, reference = halves()
    pause = torch.zeros(30 * RATE)
    plain = matched(spoken, reference_frames(reference, MEL_16K), MEL_16K, 1.0)
    paused = reference_frames(torch.cat((pause, reference)), MEL_16K)
    restored = matched(torch.cat((spoken, pause)), paused, MEL_16K, 1.0)[: len(spoken)]
    assert float((restored - plain).norm() / plain.norm()) < 0.05


def test_the_tone_that_is_bounded_is_no_loudness() -> None:
    """What all bands have in common is taken away before the bound."""
    spoken, reference = halves()
    wanted = reference_frames(reference, MEL_16K)
    plain = matched(spoken, wanted, MEL_16K, 1.0)
    louder = matched(spoken, wanted.float() + 1.0, MEL_16K, 1.0)
    assert float((louder - plain).norm()) < 0.6 * float((spoken - plain).norm())


def test_both_logarithms_give_one_tone() -> None:
    spoken, reference = halves()
    decimal, natural = (
        matched(spoken, reference_frames(reference, config), config, 1.0) for config in (MEL_16K, MEL_LN)
    )
    torch.testing.assert_close(natural, decimal, rtol=0, atol=1e-5)


def test_no_band_changes_by_more_than_12_decibels() -> None:
    spoken, reference = halves()
    wanted = reference_frames(reference, MEL_16K)
    wanted[len(wanted) // 2 :] += 2  # 40 dB
    restored = matched(spoken, wanted, MEL_16K, 1.0)
    window = torch.hann_window(1024)
    spectra = [torch.stft(each, 1024, window=window, return_complex=True) for each in (restored, spoken)]
    gains = torch.log10(spectra[0].abs().square().sum(1) / spectra[1].abs().square().sum(1)) / 2
    assert MOST_LOG10 < float(gains[8:-8].max() - gains[8:-8].min()) < 2 * MOST_LOG10 + 0.1


@pytest.mark.parametrize("samples", [100, RATE])
def test_silence_and_a_voice_without_speech_change_nothing(samples: int) -> None:
    silence, spoken = torch.zeros(samples), voice()
    reference = speech_frames(spoken, MEL_16K)
    assert torch.equal(matched(silence, reference, MEL_16K, 1.0), silence)
    nothing = speech_frames(silence, MEL_16K)
    assert nothing.shape == (80, 0)
    assert torch.equal(matched(spoken, nothing, MEL_16K, 1.0), spoken)


def test_frames_of_another_front_end_are_refused() -> None:
    with pytest.raises(ValueError, match=r"frames of shape \(128, 9\), expected \(80 mel bands"):
        matched(voice(), torch.zeros(128, 9), MEL_16K, 1.0)
