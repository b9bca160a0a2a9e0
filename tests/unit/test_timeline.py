"""Lengths and positions: exact, reversible, covering, and independent of each other's rounding."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from unitalking import timeline

RATES = [
    (24, 44100, 1024),
    (24, 16000, 512),
    (25, 44100, 1024),
    (Fraction(24000, 1001), 44100, 1024),
    (12.5, 16000, 512),
]
FRAMES = [4 * n + 1 for n in range(0, 70)]


@pytest.mark.parametrize(
    ("rate", "exact"),
    [
        (24, Fraction(24)),
        (24.0, Fraction(24)),
        (23.976, Fraction(24000, 1001)),
        (23.976023976, Fraction(24000, 1001)),
        (29.97, Fraction(30000, 1001)),
        (59.94, Fraction(60000, 1001)),
        (12.5, Fraction(25, 2)),
        (44100, Fraction(44100)),
        (Fraction(30000, 1001), Fraction(30000, 1001)),
    ],
)
def test_rates_become_the_fractions_they_stand_for(rate: float, exact: Fraction) -> None:
    assert timeline.rational(rate) == exact


@pytest.mark.parametrize("rate", [0, -24, math.nan, math.inf, Fraction(0)])
def test_a_rate_that_is_not_positive_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="rate"):
        timeline.rational(rate)


@pytest.mark.parametrize(
    ("frames", "snapped"), [(-3, 1), (0, 1), (1, 1), (2, 1), (3, 5), (4, 5), (5, 5), (119, 121), (122, 121), (123, 125)]
)
def test_frames_snap_to_the_nearest_valid_length(frames: int, snapped: int) -> None:
    assert timeline.snap_frames(frames) == snapped


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 5, 8])
def test_snapping_is_nearest_with_ties_to_the_longer_clip(stride: int) -> None:
    valid = [stride * n + 1 for n in range(120)]
    for frames in range(1, 100):
        nearest = min(valid, key=lambda length, frames=frames: (abs(length - frames), -length))
        assert timeline.snap_frames(frames, stride) == nearest


@pytest.mark.parametrize(
    ("pixels", "snapped"), [(1, 32), (0, 32), (47, 32), (48, 64), (704, 704), (719, 704), (720, 736)]
)
def test_sides_snap_to_the_nearest_multiple(pixels: int, snapped: int) -> None:
    assert timeline.snap_side(pixels, 32) == snapped


def test_snapping_twice_changes_nothing() -> None:
    for number in range(1, 300):
        assert timeline.snap_frames(timeline.snap_frames(number)) == timeline.snap_frames(number)
        assert timeline.snap_side(timeline.snap_side(number, 32), 32) == timeline.snap_side(number, 32)


@pytest.mark.parametrize("stride", [1, 4, 8])
def test_video_latents_and_frames_are_inverse(stride: int) -> None:
    for latents in range(80):
        assert timeline.video_latents(timeline.frames_of(latents, stride), stride) == latents


def test_strides_default_to_wans() -> None:
    assert timeline.video_latents(121) == 31
    assert timeline.frames_of(31) == 121
    assert timeline.video_latents(0) == timeline.frames_of(0) == 0


@pytest.mark.parametrize("frames", [-1, -3, 2, 4, 120, 122])
def test_frames_that_no_codec_makes_are_refused_with_the_nearest(frames: int) -> None:
    with pytest.raises(ValueError, match=f"got {frames}.*{timeline.snap_frames(frames)}"):
        timeline.video_latents(frames)


@pytest.mark.parametrize("rates", RATES)
def test_audio_latents_are_the_fewest_that_cover_the_pictures(rates: tuple) -> None:
    fps, rate, per_latent = rates
    for frames in FRAMES:
        latents = timeline.audio_latents(frames, fps, rate, per_latent)
        exact = timeline.exact_samples(frames, fps, rate)
        assert latents * per_latent >= exact > (latents - 1) * per_latent
        assert latents * per_latent >= timeline.samples_kept(frames, fps, rate), "enough to cut the file from"


@pytest.mark.parametrize("rates", RATES)
def test_audio_latents_within_are_the_most_that_the_pictures_determine(rates: tuple) -> None:
    fps, rate, per_latent = rates
    for frames in FRAMES:
        latents = timeline.audio_latents_within(frames, fps, rate, per_latent)
        exact = timeline.exact_samples(frames, fps, rate)
        assert latents * per_latent <= exact < (latents + 1) * per_latent


def test_the_default_clip_has_218_audio_latents_of_which_217_are_determined() -> None:
    assert timeline.audio_latents(121, 24, 44100, 1024) == 218
    assert timeline.audio_latents_within(121, 24, 44100, 1024) == 217


@pytest.mark.parametrize(
    ("frames", "samples"), [(1, 1838), (3, 5513), (5, 9188), (49, 90038), (121, 222338), (241, 442838)]
)
def test_samples_kept_rounds_the_half_up(frames: int, samples: int) -> None:
    assert timeline.exact_samples(frames, 24, 44100) == samples - Fraction(1, 2)
    assert timeline.samples_kept(frames, 24, 44100) == samples


@pytest.mark.parametrize("rates", RATES)
def test_samples_kept_is_the_nearest_whole_number(rates: tuple) -> None:
    fps, rate, _ = rates
    for frames in FRAMES:
        exact = timeline.exact_samples(frames, fps, rate)
        assert abs(timeline.samples_kept(frames, fps, rate) - exact) <= Fraction(1, 2)


def test_duration_is_exact() -> None:
    assert timeline.duration_s(121, 24) == Fraction(121, 24)
    assert timeline.duration_s(30, 29.97) == Fraction(1001, 1000)


@pytest.mark.parametrize("fps", [24, 25, Fraction(24000, 1001), 12.5])
def test_frames_for_is_the_shortest_clip_that_lasts_long_enough(fps: float) -> None:
    for tenths in range(0, 120):
        seconds = tenths / 10
        frames = timeline.frames_for(seconds, fps)
        assert (frames - 1) % 4 == 0
        assert timeline.duration_s(frames, fps) >= Fraction(tenths, 10)
        assert frames == 1 or timeline.duration_s(frames - 4, fps) < Fraction(tenths, 10)


def test_frames_for_gives_a_clips_own_length_back() -> None:
    for frames in FRAMES:
        assert timeline.frames_for(float(timeline.duration_s(frames, 24)), 24) == frames


@pytest.mark.parametrize("rates", RATES)
def test_position_scale_puts_equal_seconds_at_equal_positions(rates: tuple) -> None:
    fps, rate, per_latent = rates
    scale = timeline.position_scale(fps, 4, rate, per_latent)
    audio_latents_per_s, video_latents_per_s = Fraction(rate, per_latent), timeline.rational(fps) / 4
    assert audio_latents_per_s * scale == video_latents_per_s


def test_position_scale_of_the_full_model_is_exact() -> None:
    assert timeline.position_scale(24, 4, 44100, 1024) == Fraction(512, 3675)
    assert timeline.position_scale(24, 4, 16000, 512) == Fraction(24, 125)


def test_a_rate_is_only_ntsc_where_it_is_close() -> None:
    assert timeline.rational(23.98) == Fraction(24000, 1001)
    assert timeline.rational(2.995) == Fraction(2995, 1000)
    assert timeline.rational(1.003) == Fraction(1003, 1000)


def test_a_rate_too_small_to_be_told_from_zero_is_refused() -> None:
    assert timeline.rational(0.004) == Fraction(1, 250)
    with pytest.raises(ValueError, match="at least 1e-06"):
        timeline.rational(1e-9)
