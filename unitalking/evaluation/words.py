"""Words from phoneme scores: the best sequence of a lexicon's words, and the share of words that are wrong.

T frames, P phonemes, the blank included as 0; a lexicon maps words to pronunciations, which are tuples of phonemes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

BLANK = 0
NEVER = -1e30

Pronunciation = tuple[int, ...]
Lexicon = Mapping[str, Sequence[Pronunciation]]


@dataclass(frozen=True)
class Errors:
    """How many of how many are wrong; a rate above 1 is possible where too much was said.

    Attributes:
        wrong: substitutions, insertions and deletions.
        total: length of what should have been said.
    """

    wrong: int
    total: int

    @property
    def rate(self) -> float:
        """Wrong per expected; 1 where nothing was expected and something was heard."""
        return self.wrong / self.total if self.total else float(self.wrong > 0)


class WordNet:
    """A lexicon laid out for decoding: any word may follow any other.

    Pronunciations share one flat array of states, phoneme and blank in turn: p1 _ p2 _ ... pn. A blank may be left out
    between two phonemes that differ. Between words there may be any number of blanks, none included.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        """
        Raises:
            ValueError: no pronunciation at all, or an empty one.
        """
        entries = sorted({tuple(said) for sayings in lexicon.values() for said in sayings})
        if not entries or not entries[0]:
            raise ValueError(f"lexicon: {'an empty pronunciation' if entries else 'no words'}, expected phonemes.")
        self.pronunciations = entries
        symbols, first, last, skips = [], [], [], []
        for said in entries:
            first.append(len(symbols))
            for place, phoneme in enumerate(said):
                if place:
                    symbols.append(BLANK)
                    skips.append(False)
                symbols.append(phoneme)
                skips.append(place > 0 and said[place - 1] != phoneme)
            last.append(len(symbols) - 1)
        self.symbols, self.skips = np.array(symbols), np.array(skips)
        self.first, self.last = np.array(first), np.array(last)

    def decode(self, log_probs: np.ndarray, penalty: float) -> list[Pronunciation]:
        """The pronunciations of the best sequence of words.

        Args:
            log_probs: (T, P) natural logarithms.
            penalty: subtracted for every word, so that long words are not heard as many short ones.

        Returns:
            one pronunciation per word; none where silence is best.
        """
        score = np.full(len(self.symbols), NEVER)
        entered = np.zeros(len(self.symbols), dtype=np.int64)
        silence, before = 0.0, 0.0  # best path in the blanks between words; best path that a word may follow
        silence_entered = 0
        ends: list[tuple[float, int, int]] = []  # per frame: (score, pronunciation or -1, frame of entry)
        for frame, heard in enumerate(log_probs):
            score, entered = self._advance(score, entered, heard, before - penalty, frame)
            if before > silence:
                silence, silence_entered = before, frame
            silence += heard[BLANK]
            best = int(np.argmax(score[self.last]))
            state = self.last[best]
            if score[state] > silence:
                ends.append((score[state], best, int(entered[state])))
            else:
                ends.append((silence, -1, silence_entered))
            before = ends[-1][0]
        return self._words(ends)

    def _advance(
        self, score: np.ndarray, entered: np.ndarray, heard: np.ndarray, entry: float, frame: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """One frame: stay, come from the state before, or leave out a blank; first states may be entered."""
        from_one, when_one = _shifted(score, entered, 1)
        from_two, when_two = _shifted(score, entered, 2)
        from_two = np.where(self.skips, from_two, NEVER)
        from_one[self.first], when_one[self.first] = entry, frame
        came = np.where(from_one > score, from_one, score)
        when = np.where(from_one > score, when_one, entered)
        skipped = from_two > came
        return np.where(skipped, from_two, came) + heard[self.symbols], np.where(skipped, when_two, when)

    def _words(self, ends: list[tuple[float, int, int]]) -> list[Pronunciation]:
        words = []
        frame = len(ends) - 1
        while frame >= 0:
            _, word, start = ends[frame]
            if word >= 0:
                words.append(self.pronunciations[word])
            frame = start - 1
        return words[::-1]


def _shifted(score: np.ndarray, entered: np.ndarray, places: int) -> tuple[np.ndarray, np.ndarray]:
    from_before, when = np.full_like(score, NEVER), np.zeros_like(entered)
    from_before[places:], when[places:] = score[:-places], entered[:-places]
    return from_before, when


def word_errors(heard: Sequence[Pronunciation], said: Sequence[str], lexicon: Lexicon) -> Errors:
    """Words that are wrong; a heard pronunciation is right if the word may be said so (two = too).

    Raises:
        KeyError: a word of `said` that the lexicon lacks.
    """
    expected = [frozenset(map(tuple, lexicon[word])) for word in said]
    return Errors(edit_distance(heard, expected, lambda sound, word: sound in word), len(expected))


def phoneme_errors(heard: Sequence[int], said: Sequence[int]) -> Errors:
    """Phonemes that are wrong."""
    return Errors(edit_distance(heard, said, lambda one, other: one == other), len(said))


def edit_distance(
    heard: Sequence[Hashable], expected: Sequence[Hashable], same: Callable[[Hashable, Hashable], bool]
) -> int:
    """Fewest substitutions, insertions and deletions that make one of the other.

    Own, as torchaudio's compares by equality and a word may have several pronunciations.
    """
    row = list(range(len(expected) + 1))
    for count, item in enumerate(heard, 1):
        diagonal, row[0] = row[0], count
        for place, wanted in enumerate(expected, 1):
            replaced = diagonal + (not same(item, wanted))
            diagonal = row[place]
            row[place] = min(replaced, row[place] + 1, row[place - 1] + 1)
    return row[-1]


def greedy(log_probs: np.ndarray) -> list[int]:
    """The phonemes of the best path: repeats merged, blanks dropped; (T, P) -> phonemes."""
    best = log_probs.argmax(axis=1)
    changed = np.concatenate(([True], best[1:] != best[:-1]))
    return [int(phoneme) for phoneme in best[changed] if phoneme != BLANK]
