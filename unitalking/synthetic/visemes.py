"""What the mouth does to each phoneme, and the smooth track that follows from an utterance."""

from __future__ import annotations

import numpy as np

from .speech import PAUSE

# Per sound: how far the mouth opens (0 to 1; below 0 presses the lips shut in spite of the smoothing), and how wide it
# is (-1 rounded, 1 spread). Diphthongs go from the first to the second.
Target = tuple[float, float]

_SOUNDS: dict[Target, str] = {
    (-0.30, 0.0): "m b p",
    (0.02, 0.15): "f v",
    (0.16, 0.45): "s z t d n t# t2 l- ?",
    (0.18, -0.55): "S Z tS dZ",
    (0.22, 0.25): "T D",
    (0.28, 0.10): "l k g N x @L @l n-",
    (0.20, -0.45): "r r- R",
    (0.08, -0.95): "w",
    (0.16, 0.70): "j",
    (0.30, 0.10): "h",
    (0.26, 0.95): "i i: I# i2",
    (0.36, 0.65): "I I2",
    (0.55, 0.60): "E e",
    (0.92, 0.40): "a aa a#",
    (0.62, 0.05): "V @2",
    (0.38, 0.0): "@ @- 3 3: @5",
    (1.00, -0.05): "A: A@ 0 A#",
    (0.74, -0.60): "O: O2 O@ O o@ 0#",
    (0.30, -0.75): "U",
    (0.16, -1.00): "u: u",
}
_DIPHTHONGS: dict[str, tuple[str, str]] = {
    "aI": ("a", "I"), "aU": ("a", "U"), "OI": ("O:", "I"), "oU": ("O:", "u:"), "eI": ("E", "i"), "e@": ("E", "@"),
    "i@": ("i:", "@"), "i@3": ("i:", "@"), "U@": ("U", "@"), "aI@": ("a", "@"), "aI3": ("a", "@"), "aU@": ("a", "@"),
}  # fmt: skip
_REST: Target = (0.0, 0.0)
VISEMES: dict[str, Target] = {symbol: target for target, symbols in _SOUNDS.items() for symbol in symbols.split()}
VISEMES |= {PAUSE: _REST}

_STEPS_PER_S = 200
_SIGMA_S = 0.028


def targets(symbol: str) -> tuple[Target, Target]:
    """What the mouth aims at in the first and in the second half of a phoneme.

    A phoneme that is not in the tables counts as its longest beginning that is, else as silence.
    """
    while symbol and symbol not in _DIPHTHONGS and symbol not in VISEMES:
        symbol = symbol[:-1]
    first, second = _DIPHTHONGS.get(symbol, (symbol or PAUSE, symbol or PAUSE))
    return VISEMES[first], VISEMES[second]


def mouth_track(phonemes: tuple[tuple[float, str], ...], times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Openness (0 to 1) and width (-1 to 1) of the mouth at some times.

    Args:
        phonemes: (start in seconds, symbol), the last one a pause.
        times: in seconds, evenly rising.
    """
    grid = np.arange(-0.25, times[-1] + 0.25, 1 / _STEPS_PER_S)
    starts, aims = [grid[0]], [_REST]
    for (start, symbol), (stop, _) in zip(phonemes, [*phonemes[1:], phonemes[-1]], strict=True):
        first, second = targets(symbol)
        starts += [start, (start + stop) / 2]
        aims += [first, second]
    track = np.array(aims)[np.searchsorted(starts, grid, side="right") - 1]
    reach = round(4 * _SIGMA_S * _STEPS_PER_S)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (_SIGMA_S * _STEPS_PER_S)) ** 2)
    kernel /= kernel.sum()
    smooth = [np.interp(times, grid, np.convolve(track[:, side], kernel, mode="same")) for side in (0, 1)]
    return smooth[0].clip(0, 1), smooth[1].clip(-1, 1)
