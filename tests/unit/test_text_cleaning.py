"""Prompts as UMT5 got them in training: entities decoded, white space collapsed, mended where ftfy is installed."""

from __future__ import annotations

import sys

import pytest

from unitalking.text_cleaning import clean_text

TAGGED = "A man <S>Hello there.<E> <AUDCAP>rain & wind<ENDAUDCAP>"
BOTH = [
    ("", ""),
    (" \n\t ", ""),
    ("A woman\tin a room.\r\n\nShe  waves. ", "A woman in a room. She waves."),
    ("a\u00a0b\u2003c\u3000d", "a b c d"),
    ("Tom &amp; Ann", "Tom & Ann"),
    ("1 &amp;lt; 2 &amp;amp;&amp;amp; 3 &gt; 2", "1 < 2 && 3 > 2"),
    ("a&nbsp;b&amp;nbsp;c", "a b c"),
    ("&#233;t&#xe9;, &quot;&#39;", "été, \"'"),
    ("AT&T, a & b; c", "AT&T, a & b; c"),
    ("(sad:1.3) [x] {a|b}", "(sad:1.3) [x] {a|b}"),
    ("A man <S>Hello  there.<E>\n<AUDCAP>rain &amp; wind<ENDAUDCAP>", TAGGED),
]
# text, without ftfy, with ftfy (its own documentation's examples)
MENDED = [
    ("ＬＯＵＤ　ＮＯＩＳＥＳ", "ＬＯＵＤ ＮＯＩＳＥＳ", "LOUD NOISES"),
    ("âœ” No problems", "âœ” No problems", "✔ No problems"),
    ("l’humanitÃ©", "l’humanitÃ©", "l'humanité"),
    ("<S>âœ” No problems<E>", "<S>âœ” No problems<E>", "<S>✔ No problems<E>"),
]


@pytest.fixture
def without_ftfy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing ftfy fails, whether it is installed or not."""
    monkeypatch.setitem(sys.modules, "ftfy", None)


@pytest.fixture
def with_ftfy() -> None:
    """Skips where ftfy, which nothing here needs, is not installed."""
    pytest.importorskip("ftfy", reason="ftfy is not installed; it is optional")


@pytest.mark.parametrize(("text", "cleaned"), BOTH)
def test_text_is_cleaned_without_ftfy(without_ftfy: None, text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned


@pytest.mark.parametrize(("text", "cleaned"), BOTH)
def test_text_is_cleaned_with_ftfy(with_ftfy: None, text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned


@pytest.mark.parametrize(("text", "as_it_is", "mended"), MENDED)
def test_broken_and_full_width_characters_stay_without_ftfy(
    without_ftfy: None, text: str, as_it_is: str, mended: str
) -> None:
    assert clean_text(text) == as_it_is


@pytest.mark.parametrize(("text", "as_it_is", "mended"), MENDED)
def test_broken_and_full_width_characters_are_mended_with_ftfy(
    with_ftfy: None, text: str, as_it_is: str, mended: str
) -> None:
    assert clean_text(text) == mended


def test_entities_are_decoded_twice_and_no_more(without_ftfy: None) -> None:
    """ftfy goes on as long as something changes."""
    assert clean_text("&amp;amp;lt;") == "&lt;"


def test_cleaned_text_stays_as_it_is(without_ftfy: None) -> None:
    assert clean_text(TAGGED) == TAGGED
