"""Expected times of characters and planned lengths of speech."""

from __future__ import annotations

from itertools import pairwise

import pytest

from unitalking.speech_timing import LEAD_S, TAIL_S, character_times, speech_duration_s, spoken_spans


def spoken_s(speech: str) -> float:
    return speech_duration_s(speech) - LEAD_S - TAIL_S


def test_times_start_after_the_lead_and_never_go_back() -> None:
    times, end = character_times("Hello there, how are you? I am fine - 42 of us, 你好。")
    assert times[0] > LEAD_S
    assert times == sorted(times)
    assert times[-1] <= end


def test_letters_of_a_word_are_evenly_spaced() -> None:
    times, end = character_times("hello")
    steps = [later - earlier for earlier, later in pairwise(times)]
    assert steps == pytest.approx([steps[0]] * 4)
    assert (times[0] - LEAD_S, end - times[-1]) == pytest.approx((steps[0] / 2, steps[0] / 2))


def test_lead_words_and_tail_make_up_the_length() -> None:
    assert speech_duration_s("hello") == pytest.approx(0.1 + (0.07 + 5 * 0.06) + 0.3)
    assert spoken_s("hello world") == pytest.approx(2 * spoken_s("hello"))


def test_longer_words_take_longer() -> None:
    assert spoken_s("a") < spoken_s("the") < spoken_s("wonderful") < spoken_s("internationalization")


@pytest.mark.parametrize(
    ("speech", "low", "high"),
    [
        ("The wind was cold that morning and nobody wanted to leave the house.", 3.5, 6.0),
        ("2024", 1.0, 2.0),
        ("今天天气很好我们去公园", 2.0, 3.2),
        ("こんにちはありがとうございます", 1.5, 2.5),
        ("안녕하세요반갑습니다", 1.6, 2.8),
        ("привет как дела сегодня хорошая погода", 1.8, 3.2),
        ("नमस्ते आप कैसे हैं", 0.9, 1.8),
        ("مرحبا كيف حالك", 1.0, 2.0),
        ("50% of $20", 1.5, 3.5),
    ],
)
def test_scripts_and_numbers_take_a_sane_time(speech: str, low: float, high: float) -> None:
    assert low < spoken_s(speech) < high


def test_speech_is_around_170_words_per_minute() -> None:
    text = "she looked at me and smiled then said that everything would be all right " * 4
    assert 140 < 60 * len(text.split()) / spoken_s(text) < 190


@pytest.mark.parametrize(("pause", "seconds"), [
    (", ", 0.25), ("; ", 0.25), (" - ", 0.25), (" — ", 0.25), (". ", 0.4), ("! ", 0.4), ("?! ", 0.4), ("... ", 0.4),
    ("\n", 0.4), ('." ', 0.4), ("，", 0.25), ("。", 0.4), ("。 ", 0.4)])  # fmt: skip
def test_punctuation_adds_a_pause(pause: str, seconds: float) -> None:
    assert spoken_s(f"hello{pause}world") - spoken_s("hello world") == pytest.approx(seconds)


@pytest.mark.parametrize("speech", ["hello world.", "hello world ...", "...hello world", "\nhello (world)"])
def test_pause_counts_only_between_words(speech: str) -> None:
    assert spoken_s(speech) == pytest.approx(spoken_s("hello world"))


@pytest.mark.parametrize(("joined", "apart"), [("3.14", "314"), ("1,000", "1000"), ("12:30", "1230")])
def test_punctuation_inside_a_number_is_no_pause(joined: str, apart: str) -> None:
    assert spoken_s(joined) == pytest.approx(spoken_s(apart))


def test_apostrophe_belongs_to_its_word_and_a_hyphen_is_no_pause() -> None:
    assert spoken_s("don't") < spoken_s("don t")
    assert spoken_s("well-known") == pytest.approx(spoken_s("well known"))


@pytest.mark.parametrize("speech", ["", "   ", "...", "😀 🎵", "<S><E>", "A quiet room.<S>  <E>"])
def test_nothing_spoken_takes_no_time(speech: str) -> None:
    assert speech_duration_s(speech) == 0


def test_only_the_tagged_part_is_spoken() -> None:
    prompt = "A red room. <S>Hello there.<E> Soft rain."
    times, end = character_times(prompt)
    plain, plain_end = character_times("Hello there.")
    start = prompt.index("Hello")
    assert times[start : start + 12] == plain
    assert end == plain_end
    assert set(times[:start] + times[start + 12 :]) == {0.0}
    assert speech_duration_s(prompt) == speech_duration_s("Hello there.")


def test_several_spoken_parts_follow_one_another() -> None:
    prompt = "<S>Hello<E> then <S>world"
    assert [prompt[start:stop] for start, stop in spoken_spans(prompt)] == ["Hello", "world"]
    assert speech_duration_s(prompt) == speech_duration_s("Hello. world")
    times, _ = character_times(prompt)
    assert times[prompt.index("world")] > times[prompt.index("Hello") + 4]


def test_prompt_without_tags_is_spoken_as_a_whole() -> None:
    assert spoken_spans("Hello <E> there") == [(0, 15)]


def test_long_text_is_quick() -> None:
    times, end = character_times("word, " * 20_000)
    assert len(times) == 120_000
    assert end > 10_000
