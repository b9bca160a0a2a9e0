"""The verdict on a clip: what counts, what is not judged, and which of several is the best."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from unitalking.evaluation.table import ClipScores
from unitalking.evaluation.verdict import Limits, Verdict, best_of, verdict
from unitalking.evaluation.words import Errors


def test_the_score_is_the_mean_of_what_is_judged() -> None:
    assert Verdict(word_error=0.2, sync=0.6, speaker=0.7).score == pytest.approx((0.8 + 0.6 + 0.7) / 3)
    assert Verdict(sync=0.5).score == 0.5
    assert math.isnan(Verdict(loudness=-20.0, lag_s=0.1).score)


def test_every_limit_is_looked_at() -> None:
    good = Verdict(word_error=0.25, sync=0.4, speaker=0.5)
    assert good.failures(Limits(), {}) == ()
    assert Verdict(word_error=0.3, sync=0.3, speaker=0.3).failures(Limits(), {}) == (
        "30% of the words are wrong, at most 25%",
        "lip sync is 0.30, at least 0.40",
        "the voice is 0.30 alike, at least 0.50",
    )
    assert Verdict(sync=0.5).failures(Limits(), {}) == ()
    assert Verdict().failures(Limits(), {}) == ("nothing could be judged",)


@pytest.mark.parametrize("name", ["word_error", "sync", "speaker"])
def test_what_was_asked_for_and_is_not_judged_does_not_pass(name: str) -> None:
    good = Verdict(word_error=0.0, sync=0.9, speaker=0.9)
    asked = {"word_error": "no words", "sync": "no lips", "speaker": "no voice"}
    assert good.failures(Limits(), asked) == ()
    unjudged = replace(good, **{name: math.nan})
    assert unjudged.failures(Limits(), asked) == (asked.pop(name),)
    assert unjudged.failures(Limits(), asked) == ()


def test_the_papers_judges_count_where_both_were_asked() -> None:
    own = ClipScores("a", words=Errors(1, 4), sync=0.5, speaker=0.6, lag=-2, fps=24.0, loudness=-19.0, heard="so")
    found = verdict(own)
    assert (found.word_error, found.sync, found.speaker, found.heard) == (0.25, 0.5, 0.6, "so")
    assert found.lag_s == pytest.approx(-2 / 24)
    public = verdict(ClipScores("a", words=Errors(1, 4), sync=0.5, whisper=Errors(0, 4), sync_c=7.0, wavlm=0.9))
    assert (public.word_error, public.sync, public.speaker) == (0.0, 0.7, 0.9)
    nothing = verdict(ClipScores("a"))
    assert all(map(math.isnan, (nothing.word_error, nothing.sync, nothing.lag_s, nothing.speaker, nothing.loudness)))


def test_the_best_is_the_highest_score_that_was_judged() -> None:
    assert best_of([0.2, 0.9, 0.9, math.nan]) == 1
    assert best_of([math.nan, -3.0]) == 1
    assert best_of([math.nan, math.nan]) == 0
    with pytest.raises(ValueError, match="got none"):
        best_of([])
