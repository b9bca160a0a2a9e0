"""Words out of phoneme scores."""

from __future__ import annotations

import numpy as np
import pytest

from unitalking.evaluation.words import Errors, WordNet, edit_distance, greedy, phoneme_errors, word_errors
from unitalking.synthetic.phonemes import PHONEMES, phoneme_number, phoneme_numbers

SYMBOLS = len(PHONEMES) + 1
LEXICON = {"too": [(1, 2)], "two": [(1, 2)], "noon": [(3, 2, 3)], "anna": [(4, 3, 4), (4, 3, 3, 4)], "a": [(4,)]}


def scores(path: list[int], right: float = 0.9) -> np.ndarray:
    """Log probabilities that follow a path, the rest spread over all other symbols."""
    probabilities = np.full((len(path), SYMBOLS), (1 - right) / (SYMBOLS - 1))
    probabilities[np.arange(len(path)), path] = right
    return np.log(probabilities)


def test_words_that_follow_each_other_are_heard_in_order() -> None:
    path = [0, 1, 1, 2, 0, 0, 3, 2, 0, 3, 4, 3, 0, 3, 4, 0]
    assert WordNet(LEXICON).decode(scores(path), 1.0) == [(1, 2), (3, 2, 3), (4, 3, 3, 4)]


def test_one_noisy_phoneme_does_not_change_the_word() -> None:
    path = [0, 3, 5, 3, 0]
    assert WordNet(LEXICON).decode(scores(path), 1.0) == [(3, 2, 3)]


def test_silence_has_no_words() -> None:
    assert WordNet(LEXICON).decode(scores([0] * 20), 1.0) == []


def test_a_phoneme_said_twice_needs_a_pause_within_a_word() -> None:
    net = WordNet({"aa": [(4, 4)], "a": [(4,)]})
    assert net.decode(scores([4, 4, 4, 4]), 0.0) == [(4,)]
    assert net.decode(scores([4, 4, 0, 4]), 3.0) == [(4, 4)]


def test_a_higher_penalty_hears_fewer_words() -> None:
    path = scores([4, 0, 3, 3, 4], right=0.3)
    counts = [len(WordNet(LEXICON).decode(path, penalty)) for penalty in (-3.0, 0.5, 50.0)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


def test_best_words_are_those_of_all_sequences_tried_one_by_one() -> None:
    """Against the plain sum over every alignment's best path, for every sequence of up to three words."""
    lexicon = {"a": [(1,)], "b": [(2, 1)], "c": [(1, 2)], "d": [(2, 2)]}
    net = WordNet(lexicon)
    random = np.random.default_rng(3)
    for _ in range(20):
        logits = random.normal(0, 2, (5, 3))
        log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        heard = net.decode(log_probs, 0.7)
        entries = [(), *[(one,) for one in net.pronunciations]]
        entries += [(one, two) for one in net.pronunciations for two in net.pronunciations]
        entries += [(*pair, three) for pair in entries if len(pair) == 2 for three in net.pronunciations]
        best = max(entries, key=lambda words: plain_score(log_probs, words, 0.7))
        assert plain_score(log_probs, tuple(heard), 0.7) == pytest.approx(plain_score(log_probs, best, 0.7))


def plain_score(log_probs: np.ndarray, words: tuple[tuple[int, ...], ...], penalty: float) -> float:
    """The best path through the words' phonemes with optional blanks, one frame after the other."""
    states: list[tuple[int, bool]] = [(0, True)]  # symbol, and whether it may be left out
    for word in words:
        for place, phoneme in enumerate(word):
            states += [] if place == 0 else [(0, word[place - 1] != phoneme)]
            states.append((phoneme, False))
        states.append((0, True))
    score = np.full(len(states), -np.inf)
    for frame, heard in enumerate(log_probs):
        before = score.copy()
        for place, (symbol, _) in enumerate(states):
            came = [before[place]]
            came += [before[place - 1]] if place else []
            came += [before[place - 2]] if place > 1 and states[place - 1][1] else []
            if frame == 0:
                came = [0.0 if place == 0 or (place == 1) else -np.inf]
            score[place] = max(came) + heard[symbol]
    ends = [score[-1]] + ([score[-2]] if len(states) > 1 else [])
    return float(max(ends)) - penalty * len(words)


def test_homophones_are_right_and_other_words_wrong() -> None:
    assert word_errors([(1, 2), (3, 2, 3)], ["two", "noon"], LEXICON) == Errors(0, 2)
    assert word_errors([(3, 2, 3)], ["two", "noon"], LEXICON) == Errors(1, 2)
    assert word_errors([(1, 2), (1, 2), (4,)], ["noon", "too"], LEXICON) == Errors(2, 2)


@pytest.mark.parametrize(
    ("heard", "said", "wrong"), [("", "abc", 3), ("abc", "abc", 0), ("axc", "abc", 1), ("ab", "", 2)]
)
def test_edit_distance_counts_the_fewest_changes(heard: str, said: str, wrong: int) -> None:
    assert edit_distance(heard, said, lambda one, other: one == other) == wrong


def test_edit_distance_is_torchaudios() -> None:
    from torchaudio.functional import edit_distance as reference

    random = np.random.default_rng(0)
    for _ in range(50):
        one, two = (list(random.integers(0, 4, random.integers(0, 9))) for _ in range(2))
        assert edit_distance(one, two, lambda a, b: a == b) == reference(one, two)


def test_greedy_merges_repeats_and_drops_blanks() -> None:
    assert greedy(scores([0, 3, 3, 0, 3, 5, 5, 0])) == [3, 3, 5]
    assert phoneme_errors([3, 3, 5], [3, 5]).rate == 0.5


def test_stress_and_allophones_are_one_phoneme_and_pauses_none() -> None:
    assert phoneme_numbers(["'aI", ",aI", "aI"]) == [phoneme_number("aI")] * 3
    assert phoneme_number("t#") == phoneme_number("?") == phoneme_number("t")
    assert phoneme_numbers(["_", "_:", "_!", ";"]) == []
    assert len({phoneme_number(symbol) for symbol in PHONEMES}) == len(PHONEMES)


def test_a_foreign_phoneme_is_named() -> None:
    with pytest.raises(ValueError, match="got 'Q!', which is none"):
        phoneme_number("Q!")


def test_an_empty_lexicon_is_refused() -> None:
    with pytest.raises(ValueError, match="no words"):
        WordNet({})
