"""Joined clips: no picture or sample twice or missing, no step in colour or loudness, no click."""

from __future__ import annotations

import gc
import math

import pytest
import torch
from torch import Tensor

from unitalking.joining import _ROOMS, MOST_GAIN_DB, appended, gain_between, join_pictures, join_sounds
from unitalking.timeline import samples_kept

RATE = 16000


def pictures(frames: int, offset: float = 0.0, seed: int = 0) -> Tensor:
    """Noise around grey, (F, 8, 8, 3)."""
    drawn = torch.rand(frames, 8, 8, 3, generator=torch.Generator().manual_seed(seed))
    return 0.3 + 0.3 * drawn + offset


def tone(start: int, samples: int, level: float = 0.3, phase: float = 0.0) -> Tensor:
    """A part of an endless tone, (1, S)."""
    time = torch.arange(start, start + samples, dtype=torch.float64) / RATE
    return (level * torch.sin(2 * math.pi * 220 * time + phase))[None].float()


def test_pictures_follow_each_other_once() -> None:
    whole = pictures(30)
    joined = join_pictures(whole[:17], whole[8:], 9, one_scene=False)
    assert torch.allclose(joined, whole, atol=1e-6)
    assert torch.equal(joined[:17], whole[:17])


@pytest.mark.parametrize("one_scene", [True, False])
def test_colours_are_the_firsts(one_scene: bool) -> None:
    first, second = pictures(17), pictures(25, offset=0.02, seed=1)
    if not one_scene:
        second[:9] = first[-9:] + 0.02
    joined = join_pictures(first, second, 9, one_scene=one_scene)
    expected = first.mean((0, 1, 2)) if one_scene else second[9:].mean((0, 1, 2)) - 0.02
    assert torch.allclose(joined[17:].mean((0, 1, 2)), expected, atol=1e-4)
    assert len(joined) == 17 + 16


def test_a_chain_of_clips_that_drift_does_not() -> None:
    so_far = pictures(17)
    for seed in range(1, 8):
        following = torch.cat([so_far[-9:], pictures(16, offset=0.01, seed=seed) + so_far[-9:].mean() - 0.45])
        so_far = join_pictures(so_far, following, 9)
    means = so_far.mean((1, 2, 3))
    assert float((means[-16:].mean() - means[:16].mean()).abs()) < 2 / 255


def test_a_change_of_light_is_kept_where_it_is_wanted() -> None:
    first = pictures(17)
    second = torch.cat([first[-9:], pictures(16, offset=0.2)])
    assert float(join_pictures(first, second, 9, one_scene=False)[17:].mean() - first.mean()) > 0.15


def test_a_chain_of_joins_takes_the_memory_of_two_clips() -> None:
    joined = [pictures(17)]
    for seed in range(1, 41):
        joined.append(appended(joined[-1], pictures(16, seed=seed)))
    whole = torch.cat([pictures(17), *(pictures(16, seed=seed) for seed in range(1, 41))])
    assert all(torch.equal(each, whole[: len(each)]) for each in joined)
    assert len(joined[-1]) == len(whole)
    kept = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in joined}
    # As much again is reserved, and taken when it is written.
    assert sum(kept.values()) < 2 * 2.2 * whole.nbytes < 0.3 * sum(each.nbytes for each in joined)


def test_one_join_reserves_nothing() -> None:
    joined = appended(pictures(17), pictures(16))
    assert joined.untyped_storage().nbytes() == joined.nbytes


def test_two_continuations_of_one_clip_do_not_touch_each_other() -> None:
    first = appended(appended(pictures(17), pictures(9, seed=1)), pictures(5, seed=2))
    both = [appended(first, pictures(9, seed=seed)) for seed in (3, 4)]
    for joined, seed in zip(both, (3, 4), strict=True):
        assert torch.equal(joined, torch.cat([first, pictures(9, seed=seed)]))
    again = appended(both[0], pictures(9, seed=5))
    assert torch.equal(again, torch.cat([first, pictures(9, seed=3), pictures(9, seed=5)]))


def test_the_memory_of_a_chain_is_given_back() -> None:
    joined = appended(appended(pictures(17), pictures(9)), pictures(9))
    assert len(joined) == 35
    assert len(_ROOMS) == 1
    del joined
    gc.collect()
    assert not _ROOMS, "nothing but the clips themselves holds it"


@pytest.mark.parametrize(
    ("second", "overlap", "match"),
    [
        (torch.zeros(20, 8, 9, 3), 9, "pictures of 8x8 and 9x8"),
        (pictures(5), 9, "expected 1 to 5"),
        (pictures(9), 0, "expected 1 to 9"),
    ],
)
def test_clips_that_do_not_fit_are_refused(second: Tensor, overlap: int, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        join_pictures(pictures(17), second, overlap)


@pytest.mark.parametrize("fps", [24, 23.976, 25])
@pytest.mark.parametrize("frames", [(49, 57), (50, 61), (9, 9)])
def test_the_sound_is_as_long_as_the_pictures_and_has_no_click(fps: float, frames: tuple[int, int]) -> None:
    first = tone(0, samples_kept(frames[0], fps, RATE))
    start = samples_kept(frames[0] - 9, fps, RATE)
    total = samples_kept(sum(frames) - 9, fps, RATE)
    second = tone(start, total - start)
    joined = join_sounds(first, second, frames, 9, fps, RATE)
    assert joined.shape == (1, total)
    steps = (joined[0, 1:] - joined[0, :-1]).abs()
    inside = (first[0, 1:] - first[0, :-1]).abs().max()
    assert float(steps.max()) < 1.1 * float(inside)
    assert torch.allclose(joined[0], tone(0, total)[0], atol=1e-3), "the same sound twice is that sound"
    end = first.shape[1] - round(0.02 * RATE)
    assert torch.equal(joined[:, :end], first[:, :end])
    assert torch.allclose(joined[:, first.shape[1] :], tone(first.shape[1], total - first.shape[1]), atol=1e-3)


def test_another_phase_makes_no_click() -> None:
    first = tone(0, samples_kept(49, 24, RATE))
    start = samples_kept(40, 24, RATE)
    second = tone(start, samples_kept(57, 24, RATE), phase=math.pi / 2)
    joined = join_sounds(first, second, (49, 57), 9, 24, RATE)[0]
    assert float((joined[1:] - joined[:-1]).abs().max()) < 1.2 * float((first[0, 1:] - first[0, :-1]).abs().max())


@pytest.mark.parametrize("alike", [0.0, 0.5, 0.9, 1.0])
def test_the_level_is_kept_however_alike_the_sounds_are(alike: float) -> None:
    """Noise of many channels, so that the level of a few samples can be measured; none is 1 dB off."""
    drawn = torch.Generator().manual_seed(0)
    frames, overlap, channels = (49, 57), 9, 256
    first = torch.randn(channels, samples_kept(49, 24, RATE), generator=drawn)
    second = torch.randn(channels, samples_kept(57, 24, RATE), generator=drawn)
    shared = samples_kept(overlap, 24, RATE)
    second[:, :shared] = alike * first[:, -shared:] + math.sqrt(1 - alike**2) * second[:, :shared]
    joined = join_sounds(first, second, frames, overlap, 24, RATE)
    levels = joined.square().mean(0)[first.shape[1] - 640 : first.shape[1] + 320].reshape(-1, 32).mean(1).sqrt()
    assert float((levels - 1).abs().max()) < 0.1


@pytest.mark.parametrize("more", [0, 20])
def test_opposite_phases_make_no_click(more: int) -> None:
    """What cancels is not divided by nothing: the fade goes through zero once, smoothly."""
    first = tone(more, samples_kept(49, 24, RATE))
    second = tone(more + samples_kept(40, 24, RATE), samples_kept(57, 24, RATE), phase=math.pi)
    joined = join_sounds(first, second, (49, 57), 9, 24, RATE)[0]
    assert float((joined[1:] - joined[:-1]).abs().max()) < 1.1 * float((first[0, 1:] - first[0, :-1]).abs().max())


def test_the_second_is_as_loud_as_the_first() -> None:
    quiet = join_sounds(tone(0, 32000), tone(26000, 38000, level=0.2), (48, 57), 9, 24, RATE)
    assert float(quiet[0, 40000:].abs().max()) == pytest.approx(0.3, rel=0.02)
    assert gain_between(tone(0, RATE), tone(0, RATE, level=0.01), RATE) == pytest.approx(10 ** (MOST_GAIN_DB / 20))
    assert gain_between(tone(0, RATE), torch.zeros(1, RATE), RATE) == 1.0
    half_silent = torch.cat([tone(0, RATE), torch.zeros(1, 3 * RATE)], dim=1)
    assert gain_between(tone(0, RATE), half_silent, RATE) == pytest.approx(1.0, abs=0.02)
