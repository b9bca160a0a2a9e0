"""Lip sync as agreement of two tracks of the mouth's opening: the one that is seen and the one that is heard."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LARGEST_LAG = 8
FEWEST_FRAMES = 12


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


def sync(seen: np.ndarray, heard: np.ndarray) -> Sync | None:
    """The agreement of two tracks on the same frames, each (F,).

    The longer one is cut. A track that does not move agrees with nothing: correlation 0.

    Returns:
        None where fewer than 12 frames are left at the largest lag of 8.
    """
    frames = min(len(seen), len(heard))
    if frames < FEWEST_FRAMES + LARGEST_LAG:
        return None
    seen, heard = seen[:frames], heard[:frames]
    lags = range(-LARGEST_LAG, LARGEST_LAG + 1)
    found = [
        correlation(seen[max(0, lag) : frames + min(0, lag)], heard[max(0, -lag) : frames - max(0, lag)])
        for lag in lags
    ]
    best = max(range(len(found)), key=lambda place: (found[place], -abs(lags[place])))
    return Sync(found[LARGEST_LAG], found[best], lags[best])


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's correlation; 0 where one of both is constant."""
    one, other = one - one.mean(), other - other.mean()
    scale = np.sqrt((one**2).sum() * (other**2).sum())
    return float((one * other).sum() / scale) if scale > 1e-9 else 0.0
