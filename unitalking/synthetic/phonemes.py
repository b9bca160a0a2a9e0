"""The phonemes that are told apart: espeak's mnemonics without stress, with allophones and accents' twins merged.

Merged, as no listener would call them another word: flapped and glottal t with t; the reduced vowels (@2, a#, 3) with
schwa; the i of happy with i:, so u with u:; the vowels of north and force (O@, o@, O:) with each other; start (A@) with
palm (A:); rhotic and non-rhotic forms of nurse, near, square and fire. Pauses are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

VOWELS = (
    *("I", "i:", "E", "a", "A:", "0", "O:", "U", "u:", "V", "@", "3:", "eI", "aI", "OI", "oU", "aU"),
    *("i@", "e@", "U@", "aI@", "aU@", "@l"),
)
CONSONANTS = (
    *("p", "b", "t", "d", "k", "g", "f", "v", "T", "D", "s", "z", "S", "Z", "h"),
    *("m", "n", "N", "l", "r", "j", "w", "tS", "dZ"),
)
PHONEMES = VOWELS + CONSONANTS  # number 0 is the blank

_NUMBERS = {symbol: number for number, symbol in enumerate(PHONEMES, 1)}
_TWINS = {
    **{"i": "i:", "u": "u:", "3": "@", "a#": "@", "@2": "@", "@#": "@", "@-": "@", "A@": "A:", "A": "A:", "O@": "O:"},
    **{"o@": "O:", "O": "0", "o": "oU", "@U": "oU", "oU@": "O:", "e": "eI", "e:": "eI", "aa": "a", "VR": "3:"},
    **{"IR": "3:", "@L": "@l", "aI3": "aI@", "aU3": "aU@", "i@3": "i@", "I@": "i@", "3:r": "3:", "E@": "e@"},
    **{"?": "t", "*": "t", "x": "k", "l^": "l", "R": "r", "C": "h", "o:": "oU", "W": "w", "hw": "w", "E:": "e@"},
    **{"a:": "A:", "0:": "O:", "U:": "u:", "I:": "i:", "@:": "3:", "Y:": "u:", "y:": "u:", "eI@": "e@"},
    **{"i:@": "i@", "u:@": "U@", "aI@3": "aI@", "aU@3": "aU@", "y": "u:", "Y": "u:", "Q": "g", "&": "a", "&:": "a"},
}
_STRESS = "'`,%="
_QUALIFIERS = re.compile(r"[#25~\-\[\];.]+$")


def phoneme_number(symbol: str) -> int | None:
    """The number, 1 to len(PHONEMES), of an espeak mnemonic; None for a pause.

    Raises:
        ValueError: a mnemonic that stands for no phoneme of English.
    """
    base = symbol.lstrip(_STRESS)
    if not base or base[0] in "_;|":
        return None
    if base not in _NUMBERS and base not in _TWINS:
        base = _QUALIFIERS.sub("", base) or base
    number = _NUMBERS.get(_TWINS.get(base, base))
    if number is None:
        raise ValueError(f"phoneme: got {symbol!r}, which is none of English's in espeak's mnemonics.")
    return number


def phoneme_numbers(symbols: Iterable[str]) -> list[int]:
    """The numbers of mnemonics in order, pauses left out."""
    numbers = (phoneme_number(symbol) for symbol in symbols)
    return [number for number in numbers if number is not None]
