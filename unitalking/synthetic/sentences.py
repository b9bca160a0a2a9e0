"""Sentences: templates filled from the word lists, and plain strings of words so that every word is spoken.

A sentence belongs to one split by a hash of its words, so none that training speaks is ever held out.
"""

from __future__ import annotations

import random
import re
from functools import lru_cache

from .draws import number
from .vocabulary import Vocabulary, templates, words

SPLITS = ("train", "held_out")
# One sentence in this many is held out.
HELD_OUT_SHARE = 10
TEMPLATE_SHARE = 0.6
# Of the strings of words.
COMMA_SHARE = 0.2
PERIOD_SHARE = 0.4

_SLOT = re.compile(r"\{(\w+)\}")


def split_of(sentence: str) -> str:
    """The split that a sentence belongs to; case and punctuation do not count."""
    spoken = " ".join(re.findall(r"[a-z']+", sentence.lower()))
    return "held_out" if number("sentence", spoken) % HELD_OUT_SHARE == 0 else "train"


def sentence(generator: random.Random, vocabulary: str, split: str, length: int) -> str:
    """A sentence of a split, of about `length` words.

    Args:
        generator: the only source of chance.
        vocabulary: of `vocabulary.KINDS`; only "open" has templates, as the others lack the small words.
        split: "train" or "held_out".
        length: how many words are wanted; a template gives what is nearest.
    """
    while True:
        if vocabulary == "open" and generator.random() < TEMPLATE_SHARE:
            found = _from_templates(generator, words(vocabulary), length)
        else:
            found = _string(generator, words(vocabulary), length)
        if split_of(found) == split:
            return found


def _from_templates(generator: random.Random, vocabulary: Vocabulary, length: int) -> str:
    fitting = _templates_by_length()
    nearest = min(fitting, key=lambda count: (abs(count - length), count))
    template = generator.choice(fitting[nearest])

    def fill(slot: re.Match[str]) -> str:
        return generator.choice(getattr(vocabulary, slot[1]))

    text = _SLOT.sub(fill, template)
    text = re.sub(r"\b([Aa]) (?=[aeio]|u(?!ni|s)|hour|honest)", r"\1n ", text)
    return text[0].upper() + text[1:]


def _string(generator: random.Random, vocabulary: Vocabulary, length: int) -> str:
    parts = [generator.choice(vocabulary.all) for _ in range(length)]
    if length > 2 and generator.random() < COMMA_SHARE:
        parts[generator.randrange(length - 1)] += ","
    return " ".join(parts) + ("." if generator.random() < PERIOD_SHARE else "")


@lru_cache(maxsize=1)
def _templates_by_length() -> dict[int, list[str]]:
    by_length: dict[int, list[str]] = {}
    for template in templates():
        by_length.setdefault(len(template.split()), []).append(template)
    return by_length
