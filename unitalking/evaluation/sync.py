"""Lip sync as agreement of two tracks of the mouth's opening: the one that is seen and the one that is heard."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LARGEST_LAG_S = 1 / 3
FEWEST_S, FEWEST_FRAMES = 0.5, 12
# A network's rounding alone moves a track less: on a grey picture it would agree with the sound by chance.
STILL = 1e-4


@dataclass(frozen=True)
class Sync:
    """How a mouth follows the sound.

    Attributes:
        correlation: at lag 0.
        best: correlation at the best lag.
        lag: frames by which the mouth moves after the sound; negative where it moves before.
    """

    correlation: float
    best: float
    lag: int


def sync(seen: np.ndarray, heard: np.ndarray, fps: float = 24.0) -> Sync | None:
    """The agreement of two tracks on the same frames, each (F,), at lags of up to 1/3 s: 8 frames of 24 a second.

    The longer one is cut. A track that does not move agrees with nothing: correlation 0.

    Returns:
        None where less than 0.5 s, or fewer than 12 frames, are left at the largest lag.
    """
    frames, largest = min(len(seen), len(heard)), max(1, round(fps * LARGEST_LAG_S))
    if frames < max(FEWEST_FRAMES, round(fps * FEWEST_S)) + largest:
        return None
    seen, heard = seen[:frames], heard[:frames]
    lags = range(-largest, largest + 1)
    found = [
        correlation(seen[max(0, lag) : frames + min(0, lag)], heard[max(0, -lag) : frames - max(0, lag)])
        for lag in lags
    ]
    best = max(range(len(found)), key=lambda place: (found[place], -abs(lags[place])))
    return Sync(found[largest], found[best], lags[best])


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's correlation; 0 where one of both is constant."""
    one, other = one - one.mean(), other - other.mean()
    moved = [float(np.sqrt((track**2).mean())) for track in (one, other)]
    return float((one * other).mean() / (moved[0] * moved[1])) if min(moved) > STILL else 0.0
