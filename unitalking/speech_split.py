"""A long speech in parts that fit into clips: split at sentence ends, where it must be at clauses, then at words.

Source: ours, the paper does not say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

# What ends a sentence, with the quotes and brackets behind it; wide punctuation needs no space.
_SENTENCE = re.compile(r"""[.!?…]["'”’)\]]*\s+|[。！？]""")
_CLAUSE = re.compile(r"[,;:–—]\s+|[，、；：]")
_WORD = re.compile(r"\s+")


def split_speech(speech: str, lasts: Callable[[str], float], longest_s: float) -> list[str]:
    """Parts in order, each of at most `longest_s` where words allow it; joined by spaces they are the speech.

    Args:
        speech: what is said.
        lasts: seconds that a text takes to say.
        longest_s: of a part.
    """
    return _filled(_pieces(speech, _SENTENCE), lasts, longest_s, (_CLAUSE, _WORD))


def _filled(
    pieces: Sequence[str], lasts: Callable[[str], float], longest_s: float, finer: Sequence[re.Pattern[str]]
) -> list[str]:
    """Pieces joined while they fit; one that does not fit by itself is split at a finer place."""
    parts: list[str] = []
    for piece in pieces:
        joined = f"{parts[-1]} {piece}" if parts else piece
        if parts and lasts(joined) <= longest_s:
            parts[-1] = joined
        elif lasts(piece) > longest_s and finer and len(smaller := _pieces(piece, finer[0])) > 1:
            parts += _filled(smaller, lasts, longest_s, finer[1:])
        elif lasts(piece) > longest_s and finer[1:]:
            parts += _filled(_pieces(piece, finer[1]), lasts, longest_s, ())
        else:
            parts.append(piece)
    return parts


def _pieces(text: str, end: re.Pattern[str]) -> list[str]:
    """The text cut behind every `end`."""
    ends = [0, *(found.end() for found in end.finditer(text)), len(text)]
    return [piece for start, stop in pairwise(ends) if (piece := " ".join(text[start:stop].split()))]
