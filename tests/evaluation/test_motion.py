"""What is measured of how a head moves follows how it was drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unitalking.evaluation.motion import Motion, head_motion
from unitalking.synthetic.face import Face
from unitalking.synthetic.look import look_of
from unitalking.synthetic.motion import Manner, poses

FPS = 24


def measured(manner: Manner, seed: int = 0) -> Motion:
    moves = poses(np.zeros(97), np.zeros(97), FPS, "measured", seed, manner=manner)
    return head_motion(torch.from_numpy(Face(look_of(5), 128).frames(moves)), FPS)


def test_more_swing_is_a_larger_amount() -> None:
    still, usual, lively = (measured(Manner(amount)).amount for amount in (0.1, 0.7, 2.0))
    assert still < 0.5 * usual < 0.25 * lively


def test_quicker_swings_are_a_higher_speed_of_about_the_same_amount() -> None:
    slow, quick = (measured(Manner(1.5, speed)) for speed in (0.7, 2.5))
    assert quick.speed > 1.5 * slow.speed
    assert 0.4 < quick.amount / slow.amount < 2.5


def test_blinks_are_counted() -> None:
    for pause in (0.3, 1.0, 2.5):
        moves = poses(np.zeros(97), np.zeros(97), FPS, "measured", 0, manner=Manner(1.0, blinks=pause))
        shut = np.array([move.blink for move in moves]) > 0.5
        blinked = int((np.diff(shut.astype(int)) == 1).sum())
        assert measured(Manner(1.0, blinks=pause)).blinks * 97 / FPS == pytest.approx(blinked, abs=1)


def test_a_clip_too_short_to_move_is_refused() -> None:
    with pytest.raises(ValueError, match="at least half a second"):
        head_motion(torch.zeros(8, 128, 128, 3, dtype=torch.uint8), FPS)
