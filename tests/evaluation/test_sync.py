"""Agreement of the seen and the heard mouth."""

from __future__ import annotations

import numpy as np
import pytest

from unitalking.evaluation.sync import correlation, sync


def mouth(frames: int = 60, seed: int = 0) -> np.ndarray:
    """A mouth that opens and closes."""
    noise = np.random.default_rng(seed).normal(0, 1, frames + 4)
    return np.convolve(noise, [0.2, 0.6, 1.0, 0.6, 0.2], mode="valid")


@pytest.mark.parametrize("lag", [-8, -3, 0, 1, 6])
def test_best_lag_is_how_much_later_the_mouth_moves(lag: int) -> None:
    track = mouth(80)
    found = sync(track[10 - lag : 70 - lag], track[10:70])
    assert found.lag == lag
    assert found.best == pytest.approx(1.0)
    assert (found.correlation == pytest.approx(1.0)) == (lag == 0)


@pytest.mark.parametrize(("fps", "lag"), [(240.0, -60), (48.0, 12), (24.0, 6)])
def test_lags_are_looked_for_by_the_clock(fps: float, lag: int) -> None:
    track = mouth(400)
    assert sync(track[80 - lag : 300 - lag], track[80:300], fps).lag == lag


def test_other_speech_does_not_agree() -> None:
    assert abs(sync(mouth(400, 0), mouth(400, 1)).correlation) < 0.3


def test_a_still_mouth_agrees_with_nothing() -> None:
    for still in (np.full(60, 0.3), 0.3 + 1e-6 * mouth()):
        found = sync(still, mouth())
        assert found.correlation == found.best == 0.0
        assert found.lag == 0


def test_scale_and_offset_of_a_track_do_not_matter() -> None:
    assert correlation(3 * mouth() + 7, mouth()) == pytest.approx(1.0)
    assert correlation(-mouth(), mouth()) == pytest.approx(-1.0)


def test_the_longer_track_is_cut() -> None:
    assert sync(mouth()[:40], mouth()).correlation == pytest.approx(1.0)


def test_too_short_a_clip_has_no_verdict() -> None:
    assert sync(mouth(19), mouth(19)) is None
    assert sync(mouth(20), mouth(20)) is not None
    assert sync(mouth(199), mouth(199), 240.0) is None
    assert sync(mouth(200), mouth(200), 240.0) is not None
    assert sync(mouth(12), mouth(12), 1.0) is None
    assert sync(mouth(13), mouth(13), 1.0) is not None
