"""What is said: an open vocabulary, natural and random sentences, and nothing of the held-out part in training."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from unitalking.synthetic import sentences, vocabulary
from unitalking.synthetic.vocabulary import words


def spoken(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.replace("o'clock", "oclock"))


def draws(kind: str, split: str, count: int = 300) -> list[str]:
    generator = random.Random(7)
    return [sentences.sentence(generator, kind, split, 1 + index % 9) for index in range(count)]


def test_the_vocabulary_is_large_and_the_common_part_has_a_thousand_words() -> None:
    assert len(words("open").all) > 5000
    assert len(words("common").all) == 1000
    assert set(words("common").all) <= set(words("open").all)
    assert len(words("few").all) == 63
    assert set(words("few").all) <= set(words("common").all)


def test_no_unseen_word_is_ever_trained() -> None:
    unseen = set(words("unseen").all)
    assert len(unseen) >= 400
    assert not unseen & set(words("open").all)
    # Not even in other letters, or by the fixed words of a template.
    small = {word.lower() for word in unseen}
    assert not small & {word.lower() for word in words("open").all}
    fixed = {word.lower() for line in vocabulary.templates() for word in re.findall(r"[A-Za-z']+", line)}
    assert not small & fixed


def test_an_entry_is_unseen_with_all_its_forms() -> None:
    unseen = set(words("unseen").all)
    counts = Counter(word for entry in vocabulary._entries() for word in set(entry.values()))
    for entry in vocabulary._entries():
        alone = [word for word in entry.values() if counts[word] == 1]
        if set(entry) == {"verb", "verbs", "past", "participle", "doing"} and alone:
            assert len({word in unseen for word in alone}) == 1, entry


@pytest.mark.parametrize(
    ("list_name", "line", "forms"),
    [
        ("verb", "stop", "stop stops stopped stopped stopping"),
        ("verb", "carry", "carry carries carried carried carrying"),
        ("verb", "bake", "bake bakes baked baked baking"),
        ("verb", "tie", "tie ties tied tied tying"),
        ("verb", "agree", "agree agrees agreed agreed agreeing"),
        ("verb", "visit", "visit visits visited visited visiting"),
        ("verb", "admit", "admit admits admitted admitted admitting"),
        ("verb", "mix", "mix mixes mixed mixed mixing"),
        ("verb", "go/went/gone", "go goes went gone going"),
        ("verb", "cut/cut", "cut cuts cut cut cutting"),
        ("noun", "city", "city cities"),
        ("noun", "boy", "boy boys"),
        ("noun", "church", "church churches"),
        ("noun", "foot/feet", "foot feet"),
        ("noun", "sand/", "sand"),
        ("adjective", "big+er", "big bigger"),
        ("adjective", "happy+er+ly", "happy happier happily"),
        ("adjective", "simple+er+ly", "simple simpler simply"),
        ("adjective", "basic+ly", "basic basically"),
    ],
)
def test_regular_forms_follow_the_rules_of_spelling(list_name: str, line: str, forms: str) -> None:
    made = {
        "verb": lambda: vocabulary._verb_forms(line.split("/")),
        "noun": lambda: vocabulary._noun_forms(line.split("/")),
        "adjective": lambda: vocabulary._adjective_forms(line),
    }[list_name]()
    assert " ".join(made.values()) == forms


def test_every_slot_of_a_template_is_a_list_of_words() -> None:
    for templates in sentences._templates_by_length().values():
        for template in templates:
            for slot in re.findall(r"\{(\w+)\}", template):
                assert getattr(words("open"), slot), template


@pytest.mark.parametrize("split", sentences.SPLITS)
@pytest.mark.parametrize("kind", ["open", "common", "few"])
def test_a_sentence_is_of_the_split_that_was_asked_for(kind: str, split: str) -> None:
    assert {sentences.split_of(text) for text in draws(kind, split)} == {split}


def test_punctuation_and_case_do_not_change_the_split() -> None:
    for text in draws("open", "train", 50):
        assert sentences.split_of(text) == sentences.split_of(text.lower().replace(",", "") + "!")


def test_about_a_tenth_of_all_sentences_is_held_out() -> None:
    texts = [f"{first} {second}" for first in words("common").all[:50] for second in words("common").all[50:90]]
    held_out = sum(sentences.split_of(text) == "held_out" for text in texts)
    assert held_out / len(texts) == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("kind", ["common", "few", "unseen"])
def test_the_small_vocabularies_speak_their_own_words_only(kind: str) -> None:
    allowed = set(words(kind).all)
    for text in draws(kind, "held_out"):
        assert {word.strip(".,") for word in text.split()} <= allowed


def test_open_sentences_speak_no_unseen_word() -> None:
    unseen = {word.lower() for word in words("unseen").all}
    for text in draws("open", "train", 1000) + draws("open", "held_out", 300):
        assert not unseen & {word.lower() for word in spoken(text)}, text


def test_strings_of_words_reach_the_whole_vocabulary() -> None:
    seen = {word.strip(".,") for text in draws("open", "train", 12000) for word in text.split()}
    missing = set(words("open").all) - seen
    # 5,000 strings of 5 words each draw a given one of 7,500 words at least once with 96 %.
    assert len(missing) < 0.06 * len(words("open").all)


def test_an_article_fits_its_word() -> None:
    for text in draws("open", "train", 1500):
        if text[0].isupper() and not re.search(r"\b[Aa]n? (u|hour|honest)", text):
            assert not re.search(r"\ba [aeio]", text), text
            assert not re.search(r"\ban [^aeio]", text.lower()), text


def test_made_up_words_are_spelt_like_words_and_are_none() -> None:
    invented = words("made_up").all
    assert len(set(invented)) == len(invented) == 20_000
    real = {word.lower() for kind in ("open", "unseen") for word in words(kind).all}
    assert not real & set(invented)
    assert all(re.fullmatch("[a-z]{3,11}", word) for word in invented)
    endings = Counter(word[-1] for word in words("open").all), Counter(word[-1] for word in invented)
    assert all(abs(endings[0][letter] / 7518 - endings[1][letter] / 20_000) < 0.08 for letter in "sdegy")
