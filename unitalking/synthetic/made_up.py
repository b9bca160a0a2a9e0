"""Words that nobody has ever said, spelt as English is: what teaches letters to sounds beyond any list of words.

espeak-ng pronounces any string of letters by its rules. A chain over three letters at a time, learnt from real words,
gives strings that those rules are made for ("brestle", "chaving").
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from .draws import draw

COUNT = 20_000
ORDER = 3
LENGTHS = range(3, 12)
_START, _END = "^", "$"
_PRONOUNCEABLE = re.compile(r"[a-z]*[aeiouy][a-z]*")


def made_up_words(examples: Sequence[str], avoided: Collection[str], count: int = COUNT) -> tuple[str, ...]:
    """Words that are spelt like the examples and are none of them, sorted; always the same ones.

    Args:
        examples: real words; those with other characters than letters are passed over.
        avoided: more words that may not come out, in small letters.
        count: how many.
    """
    real = {word.lower() for word in examples}
    following = _chain(word for word in sorted(real) if word.isalpha())
    generator = draw("made up words")
    found: set[str] = set()
    while len(found) < count:
        letters = _START * ORDER
        while not letters.endswith(_END) and len(letters) <= ORDER + max(LENGTHS):
            letters += generator.choice(following[letters[-ORDER:]])
        word = letters[ORDER:-1]
        is_new = word not in real and word not in avoided
        if letters.endswith(_END) and len(word) in LENGTHS and is_new and _PRONOUNCEABLE.fullmatch(word):
            found.add(word)
    return tuple(sorted(found))


def _chain(examples: Iterable[str]) -> dict[str, str]:
    """What may follow each three letters, as often as it does."""
    following: dict[str, str] = {}
    for word in examples:
        letters = _START * ORDER + word + _END
        for place in range(ORDER, len(letters)):
            before = letters[place - ORDER : place]
            following[before] = following.get(before, "") + letters[place]
    return following
