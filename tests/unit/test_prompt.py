"""One prompt from three fields."""

from __future__ import annotations

import pytest

from unitalking.prompt import TAGS, compose_prompt
from unitalking.speech_timing import speech_duration_s, spoken_spans


def test_tagged_prompt_keeps_the_fields_apart() -> None:
    prompt = compose_prompt("Hello there.", "A woman in a room.", "A warm voice.", "tagged")
    assert prompt == "A woman in a room. <S>Hello there.<E> <AUDCAP>A warm voice.<ENDAUDCAP>"
    (start, stop), *more = spoken_spans(prompt)
    assert prompt[start:stop] == "Hello there."
    assert more == []


def test_plain_prompt_has_no_tags() -> None:
    prompt = compose_prompt("Hello there.", "A woman.", "Rain.", "plain")
    assert not any(tag in prompt for tag in TAGS)
    for part in ("Hello there.", "A woman.", "Rain."):
        assert part in prompt


@pytest.mark.parametrize("style", ["tagged", "plain"])
def test_empty_fields_leave_nothing_behind(style: str) -> None:
    assert compose_prompt("", "", "", style) == ""
    assert compose_prompt(" \n", "A  man\nsits.", "", style) == "A man sits."


def test_brackets_and_quotes_stay_text() -> None:
    assert compose_prompt('He said (twice:1.3) "no" [really].') == '<S>He said (twice:1.3) "no" [really].<E>'


def test_a_pasted_prompt_does_not_nest_tags() -> None:
    again = compose_prompt(compose_prompt("Hello."), "", "")
    assert again == "<S>Hello.<E>"


def test_unknown_style_is_refused() -> None:
    with pytest.raises(ValueError, match="'loud'"):
        compose_prompt("Hello.", style="loud")


def test_only_the_speech_takes_time() -> None:
    prompt = compose_prompt("Hello there.", "A long description of a scene that nobody ever says aloud.", "Birds.")
    assert speech_duration_s(prompt) == pytest.approx(speech_duration_s("Hello there."))
