"""The words: lists beside the code, their regular forms, and which of them training never sees."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from .draws import number
from .made_up import made_up_words

FOLDER = Path(__file__).resolve().parent / "words"
KINDS = ("open", "common", "few", "unseen", "made_up")
# One in so many of the usual words is one of the few.
FEW_SHARE = 16
# One entry in this many, with all its forms, is kept from training.
HELD_OUT_SHARE = 9
_VOWELS = "aeiou"


@dataclass(frozen=True)
class Vocabulary:
    """Words by the place they take in a sentence; every tuple is sorted.

    Attributes:
        noun, nouns: singular and plural.
        verb, verbs, past, participle, doing: the forms of verbs, as in go, goes, went, gone, going.
        adjective, comparative, adverb: as they say.
        name, place: people and places, with capitals.
        all: every word.
    """

    noun: tuple[str, ...]
    nouns: tuple[str, ...]
    verb: tuple[str, ...]
    verbs: tuple[str, ...]
    past: tuple[str, ...]
    participle: tuple[str, ...]
    doing: tuple[str, ...]
    adjective: tuple[str, ...]
    comparative: tuple[str, ...]
    adverb: tuple[str, ...]
    name: tuple[str, ...]
    place: tuple[str, ...]
    all: tuple[str, ...]


@cache
def words(kind: str) -> Vocabulary:
    """The words of a kind: "open" (all that training may say), "common" (the 1,000 most usual), "few" (63 of those),
    "unseen" or "made_up".

    An entry of the lists ("go", with "goes", "went", "gone" and "going") is seen or unseen as a whole, and no usual
    word is unseen.
    """
    if kind == "made_up":
        invented = made_up_words(words("open").all, {word.lower() for word in words("unseen").all})
        return Vocabulary(**dict.fromkeys(Vocabulary.__dataclass_fields__, ()) | {"all": invented})
    common = frozenset(_read("common"))
    forms: dict[str, set[str]] = {slot: set() for slot in Vocabulary.__dataclass_fields__}
    everything = common.union(*(entry.values() for entry in _entries()))
    always = {word.lower() for word in common.union(_fixed())}
    # In small letters: Grant and to grant sound alike.
    held = {word.lower() for entry in _entries() if _is_unseen(entry, always) for word in entry.values()} - always
    unseen = {word for word in everything if word.lower() in held}
    few = frozenset(sorted(common)[::FEW_SHARE])
    allowed = {"open": everything - unseen, "common": common, "few": few, "unseen": unseen}[kind]
    for entry in _entries():
        for slot, word in entry.items():
            if word in allowed:
                forms[slot].add(word)
    forms["all"] = set(allowed)
    return Vocabulary(**{slot: tuple(sorted(found)) for slot, found in forms.items()})


def templates() -> list[str]:
    """The natural sentences, with slots as in `{noun}`."""
    return [line for line in (FOLDER / "templates.txt").read_text(encoding="utf-8").splitlines() if line]


def _fixed() -> set[str]:
    """The words that templates bring themselves."""
    return set(re.findall(r"[A-Za-z']+", re.sub(r"\{\w+\}", " ", " ".join(templates()))))


def _is_unseen(entry: dict[str, str], always: set[str]) -> bool:
    """Small words ("all" alone: can't, below, sixth) are always seen, as is an entry with a word of `always`."""
    first = next(iter(entry.values()))
    usual = not always.isdisjoint(word.lower() for word in entry.values())
    return set(entry) != {"all"} and not usual and number("word", first) % HELD_OUT_SHARE == 0


@lru_cache(maxsize=1)
def _entries() -> tuple[dict[str, str], ...]:
    """Every entry of the lists with its forms by slot."""
    entries = [_verb_forms(line.split("/")) for line in _read("verbs")]
    entries += [_noun_forms(line.split("/")) for line in _read("nouns")]
    entries += [_adjective_forms(line) for line in _read("adjectives")]
    entries += [{"adverb": word} for word in _read("adverbs")]
    entries += [{"name": word} for word in _read("names")]
    entries += [{"place": word} for word in _read("places")]
    entries += [{"all": word} for word in _read("others")]
    return tuple(entries)


def _read(name: str) -> list[str]:
    return (FOLDER / f"{name}.txt").read_text(encoding="utf-8").split()


def _verb_forms(forms: list[str]) -> dict[str, str]:
    base = forms[0]
    past = forms[1] if len(forms) > 1 else _with_ed(base)
    participle = forms[2] if len(forms) > 2 else past
    third = base + "es" if base.endswith("o") else _with_s(base)
    return {"verb": base, "verbs": third, "past": past, "participle": participle, "doing": _with_ing(base)}


def _noun_forms(forms: list[str]) -> dict[str, str]:
    """`water/` has no plural, `foot/feet` an irregular one."""
    if len(forms) == 1:
        return {"noun": forms[0], "nouns": _with_s(forms[0])}
    return {"noun": forms[0], "nouns": forms[1]} if forms[1] else {"noun": forms[0]}


def _adjective_forms(line: str) -> dict[str, str]:
    """`quick+er+ly` has a comparative and an adverb, `main` neither."""
    base, *endings = line.split("+")
    forms = {"adjective": base}
    if "er" in endings:
        forms["comparative"] = _with_er(base)
    if "ly" in endings:
        forms["adverb"] = _with_ly(base)
    return forms


def _with_s(word: str) -> str:
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in _VOWELS:
        return word[:-1] + "ies"
    return word + "s"


def _with_ed(word: str) -> str:
    if word.endswith("e"):
        return word + "d"
    if word.endswith("y") and word[-2] not in _VOWELS:
        return word[:-1] + "ied"
    return _doubled(word) + "ed"


def _with_ing(word: str) -> str:
    if word.endswith("ie"):
        return word[:-2] + "ying"
    if word.endswith("e") and not word.endswith(("ee", "oe", "ye")) and word != "be":
        return word[:-1] + "ing"
    return _doubled(word) + "ing"


def _with_er(word: str) -> str:
    if word.endswith("e"):
        return word + "r"
    if word.endswith("y"):
        return word[:-1] + "ier"
    return _doubled(word) + "er"


def _with_ly(word: str) -> str:
    if word.endswith("le"):
        return word[:-1] + "y"
    if word.endswith("y"):
        return word[:-1] + "ily"
    return word + ("ally" if word.endswith("ic") else "ly")


def _doubled(word: str) -> str:
    """The last consonant doubles in short words ("stop", "plan"), where the stress lies on it."""
    vowels = sum(letter in _VOWELS for letter in word)
    ends = len(word) > 2 and word[-1] not in f"{_VOWELS}wxy" and word[-2] in _VOWELS and word[-3] not in _VOWELS
    return word + word[-1] if ends and (vowels == 1 or word in _STRESSED_AT_THE_END) else word


_STRESSED_AT_THE_END = frozenset(
    "admit begin commit control forget occur permit prefer refer regret submit transfer upset omit compel".split()
)
