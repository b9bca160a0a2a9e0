"""When drawn lips speak."""

from __future__ import annotations

import numpy as np
import pytest

from unitalking.evaluation.mouth import OPEN_SHARE, spoken_span

FPS = 24.0


def track(before: int, speaking: int, after: int, floor: float = 0.05) -> np.ndarray:
    """Lips that rest, speak and rest; they close between the sounds."""
    syllables = np.where(np.arange(speaking) % 4 < 3, 0.7, 0.0)
    return np.concatenate([np.zeros(before), syllables, np.zeros(after)]) + floor


@pytest.mark.parametrize(("before", "speaking", "after"), [(6, 31, 12), (1, 7, 40), (30, 19, 3)])
def test_lips_speak_from_the_first_to_the_last_opening(before: int, speaking: int, after: int) -> None:
    begins, ends = spoken_span(track(before, speaking, after), FPS)
    # Between the last picture with the lips closed and the first one with them open, and the other way round.
    assert begins == pytest.approx((before - 1 + OPEN_SHARE) / FPS)
    assert ends == pytest.approx((before + speaking - OPEN_SHARE) / FPS)


def test_lips_that_are_open_at_once_begin_with_the_clip() -> None:
    assert spoken_span(track(0, 23, 9), FPS)[0] == 0


def test_one_wide_cry_does_not_hide_the_rest() -> None:
    cried = track(6, 31, 12)
    cried[20] = 3.0
    assert spoken_span(cried, FPS) == spoken_span(track(6, 31, 12), FPS)


@pytest.mark.parametrize("held", [0.0, 0.6])
def test_still_lips_do_not_speak(held: float) -> None:
    assert spoken_span(np.full(40, held) + 0.02 * np.sin(np.arange(40)), FPS) is None
