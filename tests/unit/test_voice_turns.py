"""Several voices: who speaks at which latent, and when words are expected."""

from __future__ import annotations

import pytest

from unitalking.checkpoint.random_model import TINY
from unitalking.speech_timing import LEAD_S, TAIL_S, character_times, speech_duration_s
from unitalking.voice_turns import runs_of, speakers_at, start_of_words

CONFIG = TINY  # 16 kHz, 512 samples, 32 ms a latent


def test_every_latent_hears_the_voice_that_speaks_in_its_middle() -> None:
    assert speakers_at((0.0, 0.1, 0.25), 10, CONFIG) == (0, 0, 0, 1, 1, 1, 1, 1, 2, 2)
    # 0.112 s is the middle of latent 3.
    assert speakers_at((0.0, 0.112), 5, CONFIG) == (0, 0, 0, 1, 1)
    assert speakers_at((0.0, 0.113), 5, CONFIG) == (0, 0, 0, 0, 1)
    # The first voice speaks from the beginning on, whenever its words are; a turn after the end is never heard.
    assert speakers_at((0.5, 9.0), 4, CONFIG) == (0, 0, 0, 0)


def test_turns_are_runs_of_one_voice() -> None:
    assert runs_of((0, 0, 1, 1, 1, 0)) == ((0, 2), (1, 3), (0, 1))
    assert runs_of(None) == runs_of(()) == ()


def test_words_begin_where_the_plan_says_them() -> None:
    speech = "Who is there? It is me. Who is there?"
    lasts_s = speech_duration_s(speech) - TAIL_S
    first, place = start_of_words(speech, "it is ME", lasts_s)
    assert speech[place:].startswith("It is me")
    assert character_times(speech)[0][11] < first < character_times(speech)[0][place]
    again, later = start_of_words(speech, "Who is there", lasts_s, after=place)
    assert later == 24
    assert again > first
    # Whole words: "is" stands in "This", too.
    assert start_of_words("This is it", "is", lasts_s)[1] == 5
    # A speech that takes twice as long has its words twice as late, its lead apart.
    slow, _ = start_of_words(speech, "It is me", LEAD_S + 2 * (lasts_s - LEAD_S))
    assert slow - LEAD_S == pytest.approx(2 * (first - LEAD_S))


@pytest.mark.parametrize(("words", "after", "match"), [("Me too", 0, 'begins with "Me too"'), ("Who", 5, "after the")])
def test_words_that_are_not_said_are_named(words: str, after: int, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        start_of_words("Who is there? It is me.", words, 2.0, after)
