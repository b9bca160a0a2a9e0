"""Measurements of a voice clip against synthetic ones whose numbers are known, and the samples that ship."""

from __future__ import annotations

import math
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torch import Tensor

from unitalking.voice import CLIPPED_FRACTION, analyse_voice, fill_reference, resample
from unitalking.voice_frames import flat_top_fraction

ROOT = Path(__file__).resolve().parents[2]
WINDOW_S = 5.97


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def speech(seconds: float, sample_rate: int = 22050, *, level_dbfs: float = -20.0, pitch_hz: float = 120.0) -> Tensor:
    """A buzz with three formants and a gliding pitch in syllables of 0.28 s with pauses of 0.12 s, (S,)."""
    t = torch.arange(round(seconds * sample_rate), dtype=torch.float64) / sample_rate
    phase = 2 * math.pi * (pitch_hz * t + 4 * torch.sin(2 * math.pi * 0.7 * t))
    total = torch.zeros_like(t)
    for harmonic in range(1, int(3500 / (pitch_hz * 1.3))):
        frequency = harmonic * pitch_hz
        gain = sum(1 / (1 + ((frequency - formant) / 90) ** 2) for formant in (500, 1500, 2500))
        total += gain * torch.sin(harmonic * phase + 0.7 * harmonic**2)
    spoken = (t % 0.4) < 0.28
    total *= spoken
    return total * 10 ** (level_dbfs / 20) / total[spoken].square().mean().sqrt()


def sine(frequency: float, seconds: float, sample_rate: int) -> Tensor:
    return torch.sin(
        2 * math.pi * frequency * torch.arange(round(seconds * sample_rate), dtype=torch.float64) / sample_rate
    )


def level_dbfs(samples: Tensor) -> float:
    return 10 * math.log10(float(samples.square().mean()) + 1e-20)


def shipped(path: Path) -> tuple[Tensor, int]:
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
        rate = container.streams.audio[0].rate
    return torch.from_numpy(np.concatenate(frames, axis=1).astype(np.float32) / 32768), rate


VOICES = sorted((ROOT / "assets" / "voices").glob("*.flac"))


@pytest.mark.parametrize("path", VOICES, ids=lambda path: path.stem)
def test_every_shipped_voice_is_a_good_reference(path: Path) -> None:
    waveform, sample_rate = shipped(path)
    report = analyse_voice(waveform, sample_rate, window_s=WINDOW_S).report
    assert report.verdict == "good"
    assert report.problems == ()
    assert 3.4 < report.seconds < 5.0
    assert abs(report.level_dbfs + 20) < 2.5


@pytest.mark.parametrize("given_dbfs", [-10.0, -20.0, -35.0])
def test_level_is_that_of_the_speech_without_its_pauses(given_dbfs: float) -> None:
    report = analyse_voice(speech(4.0, level_dbfs=given_dbfs)[None], 22050, window_s=WINDOW_S).report
    assert report.level_dbfs == pytest.approx(given_dbfs, abs=0.7)


@pytest.mark.parametrize("given_db", [5.0, 10.0, 20.0, 30.0, 40.0])
def test_snr_is_measured_within_two_decibel(given_db: float) -> None:
    clean = speech(4.0)
    noisy = clean + noise(clean.numel()) * 10 ** ((-20 - given_db) / 20)
    report = analyse_voice(noisy[None], 22050, window_s=WINDOW_S).report
    assert report.snr_db == pytest.approx(given_db, abs=2.0)
    assert ("noisy" in report.problems) == (given_db < 14)


def test_snr_of_a_clip_without_pauses_is_not_invented() -> None:
    steady = sine(150, 4.0, 22050) + 0.5 * sine(300, 4.0, 22050)
    report = analyse_voice(0.2 * steady[None], 22050, window_s=WINDOW_S).report
    assert report.snr_db is None
    assert report.verdict == "good"
    assert "no noise found" in report.text()


def test_silence_at_both_ends_is_trimmed_and_reported() -> None:
    lead, tail = torch.zeros(round(1.3 * 22050)), torch.zeros(round(0.9 * 22050))
    clip = analyse_voice(torch.cat([lead, speech(4.0), tail])[None], 22050, window_s=WINDOW_S)
    assert clip.report.start_s == pytest.approx(1.3, abs=0.08)
    assert clip.report.seconds == pytest.approx(3.88, abs=0.15)  # the last syllable ends 0.12 s before the clip
    assert clip.report.clip_seconds == pytest.approx(6.2, abs=0.01)
    assert clip.waveform.numel() == round(clip.report.seconds * 22050)


def test_room_noise_at_both_ends_is_trimmed_too() -> None:
    clip = torch.cat([torch.zeros(22050), speech(4.0), torch.zeros(22050)])
    report = analyse_voice((clip + 0.003 * noise(clip.numel()))[None], 22050, window_s=WINDOW_S).report
    assert report.start_s == pytest.approx(1.0, abs=0.1)
    assert report.seconds == pytest.approx(3.88, abs=0.2)


def test_a_click_before_the_speech_does_not_count_as_its_start() -> None:
    lead = torch.zeros(2 * 22050, dtype=torch.float64)
    lead[4000] = 0.5
    report = analyse_voice(torch.cat([lead, speech(4.0)])[None], 22050, window_s=WINDOW_S).report
    assert report.start_s == pytest.approx(2.0, abs=0.1)


def test_without_trim_the_clip_stays_as_it_is_up_to_ten_seconds() -> None:
    waveform = torch.cat([torch.zeros(22050), speech(14.0)])[None].float()
    clip = analyse_voice(waveform, 22050, window_s=WINDOW_S, trim=False)
    assert torch.equal(clip.waveform, waveform[0, : 10 * 22050])
    assert clip.report.start_s == 0


def test_the_best_voiced_stretch_of_a_long_clip_is_used() -> None:
    rustle = 0.02 * noise(8 * 22050)
    clip = torch.cat([rustle, speech(6.4), 0.02 * noise(8 * 22050, seed=1)])
    report = analyse_voice(clip[None], 22050, window_s=4.0).report
    assert 7.9 < report.start_s
    assert report.start_s + report.seconds < 14.5
    assert 3.2 < report.seconds <= 4.0 + 1e-6


def test_a_window_starts_and_ends_in_pauses() -> None:
    waveform = speech(12.0)
    clip = analyse_voice(waveform[None], 22050, window_s=4.15)
    edge = round(0.01 * 22050)
    assert level_dbfs(clip.waveform[:edge]) < -50
    assert level_dbfs(clip.waveform[-edge:]) < -50


@pytest.mark.parametrize("path", VOICES, ids=lambda path: path.stem)
def test_a_window_gives_up_little_for_its_pauses(path: Path) -> None:
    report = analyse_voice(*shipped(path), window_s=3.07).report
    assert 0.9 * 3.07 <= report.seconds <= 3.07 + 1e-4  # a whole sample
    assert report.verdict == "good"


def test_clipping_is_counted_where_the_wave_is_cut_off() -> None:
    loud = speech(4.0, level_dbfs=-3.0)
    cut = loud.clamp(-1, 1)
    report = analyse_voice(cut[None], 22050, window_s=WINDOW_S).report
    expected = float((loud.abs() >= 1).double().mean())
    assert "clipped" in report.problems
    assert report.clipped_fraction == pytest.approx(expected, rel=0.35)
    assert "restored" in report.text()


def test_clipping_is_found_after_the_level_was_lowered() -> None:
    cut = 0.3 * speech(4.0, level_dbfs=-3.0).clamp(-1, 1)
    assert "clipped" in analyse_voice(cut[None], 22050, window_s=WINDOW_S).report.problems


@pytest.mark.parametrize("sample_rate", [8000, 44100, 192000])
def test_a_clean_clip_at_full_scale_is_not_clipped(sample_rate: int) -> None:
    clean = speech(4.0, sample_rate)
    assert flat_top_fraction(clean / clean.abs().max()) < CLIPPED_FRACTION / 10


def test_flat_tops_are_counted_exactly() -> None:
    samples = torch.zeros(1000)
    samples[100:105] = 1.0
    samples[300:302] = 1.0  # two in a row are a peak, not a flat top
    samples[500:503] = -1.0
    assert flat_top_fraction(samples) == pytest.approx(8 / 1000)


def test_quiet_speech_is_named() -> None:
    report = analyse_voice(speech(4.0, level_dbfs=-48.0)[None], 22050, window_s=WINDOW_S).report
    assert report.problems == ("too quiet",)


def test_a_short_clip_is_named() -> None:
    report = analyse_voice(speech(1.2)[None], 22050, window_s=WINDOW_S).report
    assert report.verdict == "too short"


def test_several_problems_are_all_named_with_their_advice() -> None:
    quiet = speech(1.2, level_dbfs=-48.0)
    clip = quiet + noise(quiet.numel()) * 10 ** (-53 / 20)
    report = analyse_voice(clip[None], 22050, window_s=WINDOW_S).report
    assert report.problems == ("too short", "too quiet", "noisy")
    text = report.text()
    for word in ("Too short:", "Too quiet:", "Noisy:"):
        assert word in text


def test_noise_without_a_voice_is_noisy() -> None:
    report = analyse_voice(0.1 * noise(1, 4 * 22050), 22050, window_s=WINDOW_S).report
    assert report.verdict == "noisy"


def test_fifty_milliseconds_are_too_short_but_no_error() -> None:
    clip = analyse_voice(speech(0.05)[None], 22050, window_s=WINDOW_S)
    assert clip.waveform.numel() > 0
    assert clip.report.verdict == "too short"


def test_less_than_a_moment_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"only 1 samples \(0\.0 ms\)"):
        analyse_voice(torch.tensor([[0.5]]), 44100, window_s=WINDOW_S)


@pytest.mark.parametrize("offset", [0.0, 0.4])
def test_a_silent_clip_is_an_error(offset: float) -> None:
    with pytest.raises(ValueError, match="silent"):
        analyse_voice(torch.full((2, 44100), offset), 44100, window_s=WINDOW_S)


def test_an_empty_clip_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"empty \(shape \(2, 0\)\)"):
        analyse_voice(torch.zeros(2, 0), 44100, window_s=WINDOW_S)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_bad_samples_are_counted_in_the_error(value: float) -> None:
    waveform = speech(3.0)[None].clone()
    waveform[0, 5:8] = value
    with pytest.raises(ValueError, match="3 samples that are NaN or infinite"):
        analyse_voice(waveform, 22050, window_s=WINDOW_S)


@pytest.mark.parametrize("sample_rate", [7999, 192001])
def test_an_impossible_sample_rate_is_named(sample_rate: int) -> None:
    with pytest.raises(ValueError, match=f"{sample_rate} Hz"):
        analyse_voice(speech(3.0)[None], sample_rate, window_s=WINDOW_S)


def test_a_wrong_rank_is_named() -> None:
    with pytest.raises(ValueError, match=r"shape \(100,\)"):
        analyse_voice(torch.zeros(100), 44100, window_s=WINDOW_S)


def test_eight_equal_channels_equal_one() -> None:
    mono = speech(4.0)[None]
    one = analyse_voice(mono, 22050, window_s=WINDOW_S)
    eight = analyse_voice(mono.expand(8, -1), 22050, window_s=WINDOW_S)
    torch.testing.assert_close(eight.waveform, one.waveform)
    assert "8 channels were mixed to one." in eight.report.notes


def test_channels_in_antiphase_do_not_cancel() -> None:
    mono = speech(4.0)
    clip = analyse_voice(torch.stack([0.9 * mono, -mono]), 22050, window_s=WINDOW_S)
    assert clip.report.level_dbfs == pytest.approx(-20, abs=0.7)
    assert any("Channel 2 of 2" in note for note in clip.report.notes)


def test_a_voice_on_one_of_eight_channels_keeps_its_level() -> None:
    channels = torch.zeros(8, 4 * 22050, dtype=torch.float64)
    channels[5] = speech(4.0)
    report = analyse_voice(channels, 22050, window_s=WINDOW_S).report
    assert report.level_dbfs == pytest.approx(-20, abs=0.7)
    assert any("Channel 6 of 8" in note for note in report.notes)


def test_a_constant_offset_changes_nothing_but_a_note() -> None:
    plain = analyse_voice(speech(4.0)[None], 22050, window_s=WINDOW_S)
    moved = analyse_voice(speech(4.0)[None] + 0.2, 22050, window_s=WINDOW_S)
    assert moved.report.level_dbfs == pytest.approx(plain.report.level_dbfs, abs=0.05)
    assert moved.report.problems == plain.report.problems
    assert "A constant offset was removed." in moved.report.notes


def test_of_several_clips_the_first_is_used() -> None:
    first, second = speech(4.0), speech(4.0, pitch_hz=200)
    clip = analyse_voice(torch.stack([first, second])[:, None], 22050, window_s=WINDOW_S)
    torch.testing.assert_close(clip.waveform, analyse_voice(first[None], 22050, window_s=WINDOW_S).waveform)
    assert any("2 clips" in note for note in clip.report.notes)


@pytest.mark.parametrize("sample_rate", [8000, 11025, 16000, 44100, 96000, 192000])
def test_the_same_voice_is_measured_alike_at_every_rate(sample_rate: int) -> None:
    clip = torch.cat([torch.zeros(sample_rate), speech(4.0, sample_rate)])
    report = analyse_voice(clip[None], sample_rate, window_s=WINDOW_S).report
    assert report.problems == ()
    assert report.start_s == pytest.approx(1.0, abs=0.08)
    assert report.level_dbfs == pytest.approx(-20, abs=0.8)
    assert report.voiced_share > 0.8


def test_double_precision_gives_single_precision_samples() -> None:
    clip = analyse_voice(speech(3.0)[None], 22050, window_s=WINDOW_S)
    assert clip.waveform.dtype == torch.float32


def test_telephone_bandwidth_is_noted() -> None:
    waveform = speech(4.0, 8000)[None]
    report = analyse_voice(waveform, 8000, window_s=WINDOW_S, codec_sample_rate=44100).report
    assert any("telephone bandwidth, nothing above 4 kHz" in note for note in report.notes)
    assert not analyse_voice(waveform, 8000, window_s=WINDOW_S, codec_sample_rate=8000).report.notes


def test_the_report_says_used_seconds_level_snr_and_verdict() -> None:
    report = analyse_voice(speech(4.0)[None], 22050, window_s=WINDOW_S).report
    lines = report.text().splitlines()
    assert lines[0].startswith(f"Used {report.seconds:.2f} s of 4.00 s")
    assert f"{report.level_dbfs:.1f} dBFS" in lines[1]
    assert "SNR" in lines[1]
    assert lines[2] == "Verdict: good."


@pytest.mark.parametrize(("source", "target"), [(8000, 44100), (192000, 44100), (22050, 16000), (44100, 16000)])
def test_resampling_keeps_a_tone(source: int, target: int) -> None:
    resampled = resample(sine(1000, 1.0, source), source, target)
    assert resampled.shape == (math.ceil(source * target / source),)
    inner = slice(target // 10, -target // 10)
    torch.testing.assert_close(resampled[inner], sine(1000, 1.0, target)[inner], atol=2e-3, rtol=0)


def test_resampling_between_rates_without_a_small_ratio_is_short_work() -> None:
    resampled = resample(sine(1000, 1.0, 47999), 47999, 44100)
    assert resampled.shape == (44100,)
    torch.testing.assert_close(resampled[4410:-4410], sine(1000, 1.0, 44100)[4410:-4410], atol=2e-2, rtol=0)


def test_resampling_removes_what_the_target_rate_cannot_hold() -> None:
    resampled = resample(sine(12000, 1.0, 44100), 44100, 16000)
    assert level_dbfs(resampled[1600:-1600]) < -90


def test_resampling_to_the_same_rate_is_the_same_tensor() -> None:
    waveform = noise(2, 100)
    assert resample(waveform, 44100, 44100) is waveform


def test_resampling_refuses_rates_that_are_not_positive() -> None:
    with pytest.raises(ValueError, match="0 Hz"):
        resample(noise(10), 0, 44100)


def test_a_short_reference_is_repeated_to_fill() -> None:
    latents = noise(2, 3, 5)
    filled = fill_reference(latents, 12)
    assert filled.shape == (2, 3, 12)
    assert torch.equal(filled[..., :5], latents)
    assert torch.equal(filled[..., 5:10], latents)
    assert torch.equal(filled[..., 10:], latents[..., :2])


def test_a_long_reference_is_cropped() -> None:
    latents = noise(1, 3, 20)
    assert torch.equal(fill_reference(latents, 12), latents[..., :12])


def test_a_reference_without_latents_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"\(1, 20, 0\)"):
        fill_reference(torch.zeros(1, 20, 0), 257)
