"""How words are said: espeak-ng's pronunciations, alone and among other words."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from ..synthetic.phonemes import phoneme_number
from ..synthetic.speech import utterance
from ..synthetic.voices import RATE_WPM, Voice

# Phonemes hardly depend on the voice.
SPEAKER = Voice("m1", "man", 50, 50, RATE_WPM)
RARE = 0.04
MOST = 4
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")

Form = tuple[str, ...]


def lexicon(words: Iterable[str], sentences: Iterable[str]) -> dict[str, list[str]]:
    """Pronunciations of words as "p1 p2 ..." in espeak's mnemonics without stress, the most usual first.

    Args:
        words: small letters.
        sentences: in which the words are heard among others; forms below 4 % of a word's cases are left out, and those
            that `phonemes` merges count as one.
    """
    alone = {word: pronounce(word) for word in words}
    found: dict[str, Counter[Form]] = defaultdict(Counter)
    for word, form in alone.items():
        found[word][form] += 1
    for sentence in sentences:
        said = _WORD.findall(sentence.lower())
        expected = [alone.get(word) or pronounce(word) for word in said]
        for word, form in zip(said, divided(pronounce(sentence), expected), strict=True):
            if word in alone and form:
                found[word][form] += 1
    return {word: _usual(found[word]) for word in sorted(alone)}


def pronounce(text: str) -> Form:
    """The phonemes of a text in espeak's mnemonics, without stress and pauses."""
    symbols = (symbol for _, symbol in utterance(text, SPEAKER).phonemes)
    return tuple(symbol.lstrip("',%=").rstrip(";") for symbol in symbols if phoneme_number(symbol) is not None)


def divided(heard: Form, words: Sequence[Form]) -> list[Form]:
    """The phonemes of a sentence, divided among its words by likeness to how each is said alone.

    espeak's own word times will not do: it announces neighbours together, and a final l or n in the next word. What is
    between two words (a linking r) belongs to the first.
    """
    expected = [(phoneme_number(symbol), word) for word, form in enumerate(words) for symbol in form]
    numbers = [phoneme_number(symbol) for symbol in heard]
    costs = [
        [place + row for place in range(len(expected) + 1)] if not row else [row] for row in range(len(numbers) + 1)
    ]
    for row, number in enumerate(numbers, 1):
        for place, (wanted, _) in enumerate(expected, 1):
            replaced = costs[row - 1][place - 1] + 1.5 * (number != wanted)
            costs[row].append(min(replaced, costs[row - 1][place] + 1, costs[row][place - 1] + 1))
    forms: list[list[str]] = [[] for _ in words]
    row, place = len(numbers), len(expected)
    while row:
        wanted, word = expected[place - 1] if place else (None, 0)
        if place and costs[row][place] == costs[row - 1][place - 1] + 1.5 * (numbers[row - 1] != wanted):
            row, place = row - 1, place - 1
            forms[word].append(heard[row])
        elif costs[row][place] == costs[row - 1][place] + 1:
            row -= 1
            forms[word].append(heard[row])
        else:
            place -= 1
    return [tuple(form[::-1]) for form in forms]


def _usual(said: Counter[Form]) -> list[str]:
    """The forms that are common enough, one for each that sounds alike."""
    total = sum(said.values())
    alike: dict[tuple[int | None, ...], Counter[Form]] = defaultdict(Counter)
    for form, count in said.items():
        alike[tuple(phoneme_number(symbol) for symbol in form)][form] += count
    kept = sorted(alike.values(), key=lambda forms: -sum(forms.values()))[:MOST]
    usual = [forms for place, forms in enumerate(kept) if not place or sum(forms.values()) / total >= RARE]
    return [" ".join(forms.most_common(1)[0][0]) for forms in usual]
