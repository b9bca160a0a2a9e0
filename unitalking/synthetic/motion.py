"""What a face does beside speaking: it blinks, looks around, moves its head and its brows."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np

from .draws import between, draw
from .face import Pose

BLINK_EVERY_S = (1.2, 4.5)
# Over a tenth of a second to close and a little more to open.
_BLINK_SHAPE = ((-0.10, 0.0), (-0.02, 1.0), (0.04, 1.0), (0.16, 0.0))
GAZE_EVERY_S = (0.7, 2.2)
_SHIFT_REACH = (0.020, 0.010)
_TILT_REACH_DEG = 2.8
_EASE_S = 0.6
# Bounds of people's manners, and how much two swings of one person differ.
AMOUNTS, SPEEDS, BLINKS = (0.1, 2.0), (0.7, 2.5), (0.25, 2.5)
_SWING_SPREAD = 0.3


@dataclass(frozen=True)
class Manner:
    """How somebody moves, all through a clip.

    Attributes:
        amount: how far the head swings, as a factor of its usual reach; None: every swing's is drawn.
        speed: of the swings, as a factor.
        blinks: pause between two blinks, as a factor.
    """

    amount: float | None = None
    speed: float = 1.0
    blinks: float = 1.0


ANYBODY = Manner()


def drawn_manner(generator: random.Random) -> Manner:
    """Somebody's manner; factors twice as large and half as large are alike probable."""
    amount, speed, blinks = (
        math.exp(between(generator, math.log(low), math.log(high))) for low, high in (AMOUNTS, SPEEDS, BLINKS)
    )
    return Manner(amount, speed, blinks)


def poses(
    openness: np.ndarray, width: np.ndarray, fps: int, *purpose: str | int, manner: Manner = ANYBODY
) -> list[Pose]:
    """One pose per frame: the mouth as given, everything else drawn at random for a `purpose`, in a `manner`.

    The first one looks straight ahead with its head upright, as a portrait does.
    """
    generator = draw("motion", *purpose)
    times = np.arange(len(openness)) / fps
    blink = _blinks(generator, times, manner.blinks)
    gaze = _gazes(generator, times)
    lift = _lifts(generator, times)
    reaches = (*_SHIFT_REACH, _TILT_REACH_DEG)
    right, down, tilt = (_sway(generator, times, reach, manner) for reach in reaches)
    return [
        Pose(
            openness=float(openness[index]),
            width=float(width[index]),
            blink=float(blink[index]),
            gaze=gaze[index],
            lift=float(lift[index]),
            shift=(float(right[index]), float(down[index])),
            tilt_deg=float(tilt[index]),
        )
        for index in range(len(times))
    ]


def _blinks(generator: random.Random, times: np.ndarray, pause: float) -> np.ndarray:
    track = np.zeros(len(times))
    offsets, heights = zip(*_BLINK_SHAPE, strict=True)
    moment = between(generator, 0.3, BLINK_EVERY_S[1] * pause)
    while moment < times[-1]:
        track = np.maximum(track, np.interp(times - moment, offsets, heights))
        moment += between(generator, *BLINK_EVERY_S) * pause
    return track


def _gazes(generator: random.Random, times: np.ndarray) -> list[tuple[float, float]]:
    changes, directions = [0.0], [(0.0, 0.0)]
    while changes[-1] < times[-1]:
        changes.append(changes[-1] + between(generator, *GAZE_EVERY_S))
        straight = generator.random() < 0.5
        aside = (between(generator, -0.8, 0.8), between(generator, -0.4, 0.4))
        directions.append((0.0, 0.0) if straight else aside)
    return [directions[int(np.searchsorted(changes, time, side="right")) - 1] for time in times]


def _lifts(generator: random.Random, times: np.ndarray) -> np.ndarray:
    """Brows rise for a moment, about every other second."""
    track = np.zeros(len(times))
    moment = between(generator, 0.3, 2.0)
    while moment < times[-1]:
        height, half = between(generator, 0.5, 1.0), between(generator, 0.15, 0.35)
        track = np.maximum(track, height * np.clip(1 - np.abs(times - moment) / half, 0, 1))
        moment += between(generator, 0.9, 3.0)
    return track


def _sway(generator: random.Random, times: np.ndarray, reach: float, manner: Manner) -> np.ndarray:
    """Two slow swings that ease in from rest."""
    total = np.zeros(len(times))
    for share, slowest, fastest in ((0.65, 0.12, 0.35), (0.35, 0.4, 0.9)):
        rate, phase = between(generator, slowest, fastest) * manner.speed, between(generator, 0, 2 * math.pi)
        drawn = generator.random()
        strength = drawn if manner.amount is None else manner.amount * (1 - _SWING_SPREAD * drawn)
        total += share * reach * strength * np.sin(2 * math.pi * rate * times + phase)
    return (total - total[0] * np.exp(-times / _EASE_S)) * (1 - np.exp(-times / _EASE_S))
