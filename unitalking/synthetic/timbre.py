"""Other people's voices from one espeak-ng variant: its formants and tone, changed as people differ.

espeak-ng has some fifty variants, which a network can learn by heart. When a variant speaks, and what, stays the same:
a changed timbre has the same phonemes at the same times.
"""

from __future__ import annotations

import math
from random import Random

from .draws import between, draw

# Vocal tracts of grown-ups differ by about a quarter in length, and formants with them.
TRACT = 0.13
FORMANT_SPREAD = 0.06
# Natural logarithms of the largest factors of strengths, widths, and of voicing and consonants.
STRENGTH, WIDTH, PART = 0.4, 0.35, 0.3
# What espeak-ng takes where a variant says nothing.
PART_DEFAULT, FORMANT_DEFAULT = 100, (100, 100, 100)
FORMANTS = 9
# Frequency in Hz and the weakest strength of 255 at it; every other voice keeps its variant's tone.
TONES = ((500, 140), (1500, 80), (2800, 50))
TONE_SHARE = 0.5


def changed(variant: str, timbre: int) -> str:
    """A variant's file with another timbre.

    Args:
        variant: text of the file of an espeak-ng voice variant.
        timbre: number of the change.
    """
    random = draw("timbre", timbre)
    lines = [line for line in map(str.strip, variant.splitlines()) if line and line[0] not in "#/"]
    tract = between(random, 1 - TRACT, 1 + TRACT)
    for number in range(FORMANTS):
        place = 1.0 if number == 0 else tract * between(random, 1 - FORMANT_SPREAD, 1 + FORMANT_SPREAD)
        factors = (place, _factor(random, STRENGTH), _factor(random, WIDTH))
        _scale(lines, f"formant {number}", factors, FORMANT_DEFAULT)
    for part in ("voicing", "consonants"):
        _scale(lines, part, (_factor(random, PART),) * 2, (PART_DEFAULT,) * 2)
    tones = " ".join(f"{hertz} {random.randint(weakest, 255)}" for hertz, weakest in TONES)
    if random.random() < TONE_SHARE:
        lines = [line for line in lines if not line.startswith("tone ")] + [f"tone {tones}"]
    return "\n".join(lines) + "\n"


def _factor(random: Random, spread: float) -> float:
    return math.exp(between(random, -spread, spread))


def _scale(lines: list[str], name: str, factors: tuple[float, ...], default: tuple[int, ...]) -> None:
    """Multiplies the numbers of one setting, in place; those that the variant leaves out are the default's."""
    own = [line for line in lines if line.startswith(f"{name} ")]
    numbers = [float(number) for line in own[-1:] for number in line.removeprefix(name).split()]
    numbers += default[len(numbers) :]
    numbers[: len(factors)] = (number * factor for number, factor in zip(numbers, factors, strict=False))
    lines[:] = [line for line in lines if line not in own]
    lines.append(" ".join([name, *(str(round(number)) for number in numbers)]))
