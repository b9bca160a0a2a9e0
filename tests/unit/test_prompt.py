"""One prompt from three fields."""

from __future__ import annotations

import pytest

from unitalking.prompt import TAGS, compose_prompt, missing_tags, silent_prompt
from unitalking.speech_timing import LEAD_S, character_times, speech_duration_s, spoken_spans


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


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("ovi_1.0", "A woman. <S>Hello.<E> <AUDCAP>Rain.<ENDAUDCAP>"),
        ("ovi_1.1", "A woman. <S>Hello.<E> Audio: Rain."),
    ],
)
def test_ovis_generations_mark_the_sound_each_in_its_way(style: str, expected: str) -> None:
    assert compose_prompt("Hello.", "A woman.", "Rain.", style) == expected
    for own in ("A woman. <AUDCAP>Rain.<ENDAUDCAP>", "A woman. Audio: Rain."):
        assert compose_prompt("Hello.", own, "", style) == expected, "what the other generation wrote is rewritten"
    assert missing_tags(expected, style) == ()


@pytest.mark.parametrize("style", ["ovi_1.0", "ovi_1.1"])
def test_ovis_prompts_keep_speeches_in_the_middle_of_the_scene(style: str) -> None:
    scene = "He says, <S>One.<E> She answers, <S>Two.<E> and\n leaves."
    assert compose_prompt("", scene, "", style) == " ".join(scene.split())


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("A man.", ["no speech is marked", "no sound is described"]),
        ("A man <S>Hi. Audio: rain", ["1 <S> but 0 <E>"]),
        ("<S>Hi.<E> <AUDCAP>rain", ["1 <AUDCAP> but 0 <ENDAUDCAP>"]),
    ],
)
def test_what_a_prompt_for_ovi_lacks_is_said(prompt: str, said: list[str]) -> None:
    found = missing_tags(prompt, "ovi_1.0")
    assert [text in sentence for text, sentence in zip(said, found, strict=True)] == [True] * len(said)
    assert missing_tags(prompt, "tagged") == ()


def test_a_silent_prompt_says_nothing_between_its_tags() -> None:
    assert silent_prompt("a man") == "a man <S><E>"
    assert silent_prompt("a man", sound="rain") == "a man <S><E> <AUDCAP>rain<ENDAUDCAP>"
    assert silent_prompt("", sound="rain") == "<S><E> <AUDCAP>rain<ENDAUDCAP>"
    assert silent_prompt("a man", "plain", "rain") == "a man Audio: rain"
    assert character_times(silent_prompt("a man who runs")) == ([0.0] * len("a man who runs <S><E>"), LEAD_S)
