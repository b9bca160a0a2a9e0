"""A long speech in parts: sentences first, nothing lost, nothing longer than it may be where words allow it."""

from __future__ import annotations

import pytest

from unitalking.speech_split import split_speech

TEXT = (
    'Good morning! Dr. Brown said: "Come in." Then, after a while, he opened the old door, the one with the lamp, and '
    "smiled. Why?  Nobody\nknows."
)


def per_letter(text: str) -> float:
    """A tenth of a second for every character."""
    return len(text) / 10


@pytest.mark.parametrize("longest_s", [0.5, 1.2, 2.0, 4.0, 9.0, 100.0])
def test_the_parts_are_the_speech(longest_s: float) -> None:
    parts = split_speech(TEXT, per_letter, longest_s)
    assert " ".join(parts).split() == TEXT.split()
    assert all(part == " ".join(part.split()) != "" for part in parts)
    too_long = [part for part in parts if per_letter(part) > longest_s]
    assert all(" " not in part for part in too_long), "a single word is not split"


def test_sentences_stay_whole_and_share_a_part_while_they_fit() -> None:
    said = "One two three. Four five six. Seven."
    assert split_speech(said, per_letter, 1.4) == ["One two three.", "Four five six.", "Seven."]
    assert split_speech(said, per_letter, 2.3) == ["One two three.", "Four five six. Seven."]
    assert split_speech(said, per_letter, 9.0) == [said]


def test_a_long_sentence_is_split_at_clauses_and_a_long_clause_at_words() -> None:
    said = "When the rain fell, we went home. Yes."
    assert split_speech(said, per_letter, 2.0) == ["When the rain fell,", "we went home. Yes."]
    assert split_speech(said, per_letter, 1.0) == ["When the", "rain fell,", "we went", "home. Yes."]
    assert split_speech("abcdefghij klm", per_letter, 0.5) == ["abcdefghij", "klm"]


def test_wide_punctuation_needs_no_space() -> None:
    assert split_speech("你好。今天好吗？很好！", per_letter, 0.5) == ["你好。", "今天好吗？", "很好！"]


@pytest.mark.parametrize("nothing", ["", "  \n "])
def test_nothing_has_no_parts(nothing: str) -> None:
    assert split_speech(nothing, per_letter, 1.0) == []
