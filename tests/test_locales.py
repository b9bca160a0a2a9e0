"""The translations: complete, of the English as it is, and with everything that is no prose left as it was."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from make_locales import ENGLISH, NODES, PAGES, english_texts, flat, languages, misfits, read, translated_texts, written

LANGUAGES = languages()
NODE_TEXTS = read(ENGLISH, NODES)
TEXTS = english_texts(NODE_TEXTS)
FEW_WORDS = 3
FROM_THE_HOST = "out of memory"
# What the editor's message syntax reserves: in a text it would be taken for a variable or a plural.
SYNTAX = re.compile(r"[@{}|]")
CODE = re.compile(r"`([^`]+)`")
MESSAGE = re.compile(r'\*"([^"]+)"\*')
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
# Paths, names of inputs and values, tags, and names such as LoRA, MP4 and UniTalking.
WRONG = {
    "en": "**What goes wrong.**",
    "es": "**Qué puede fallar.**",
    "ja": "**うまくいかないとき。**",
    "zh": "**常见问题。**",
}
NAME = re.compile(
    r"[A-Za-z0-9.]*[A-Za-z0-9](?:[_/][A-Za-z0-9.]*[A-Za-z0-9])+|<\w+>|\b(?=\w*[a-z0-9])(?:[a-z0-9]*[A-Z]){2}\w*?(?=s?(?!\w))",
    re.ASCII,
)


def literals(text: str) -> set[str]:
    """What of a text is the same in every language."""
    return {*NUMBER.findall(text), *NAME.findall(text)}


def labels(nodes: dict[str, Any]) -> dict[str, set[str]]:
    """Names of inputs and outputs as a language has them, by what the nodes call them."""
    found: dict[str, set[str]] = {}
    for node, texts in nodes.items():
        for kind in ("inputs", "outputs"):
            for key, socket in texts[kind].items():
                found.setdefault(NODE_TEXTS[node][kind][key]["name"], set()).add(socket["name"])
    return found


def lost(english: str, translated: str, named: dict[str, set[str]]) -> set[str]:
    """What a translation should have kept; an input or output may go by its translated name instead."""
    translated = " ".join(translated.split())
    kept = literals(translated)
    return {each for each in literals(english) - kept if not any(name in translated for name in named.get(each, ()))}


def structure(page: str) -> dict[str, int]:
    """Headings, paragraphs and the like of a help page."""
    lines = page.splitlines()
    return {
        "headings": sum(line.startswith("#") for line in lines),
        "paragraphs": len(re.split(r"\n\s*\n", page.strip())),
        "table rows": sum(line.startswith("|") for line in lines),
        "table cells": sum(line.count("|") for line in lines if line.startswith("|")),
        "pictures and links": page.count("]("),
    }


def verbatim(page: str) -> set[str]:
    """Code spans, error messages and targets of links, which are quoted."""
    page = " ".join(page.split())
    return {*CODE.findall(page), *MESSAGE.findall(page), *re.findall(r"\]\(([^)]+)\)", page)}


def test_chinese_japanese_and_spanish_are_there() -> None:
    assert {"es", "ja", "zh"} <= set(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_has_every_text_of_the_english_as_it_is(language: str) -> None:
    found = misfits(language, TEXTS)
    assert found == [], "\n".join(found)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated(language: str) -> None:
    texts = translated_texts(language)
    assert [place for place, text in texts.items() if not text.strip()] == []
    long = [place for place, text in TEXTS.items() if len(text.split()) > FEW_WORDS]
    assert len(long) > 150
    assert [place for place in long if texts.get(place) == TEXTS[place]] == []


@pytest.mark.parametrize("language", [ENGLISH, *LANGUAGES])
def test_no_text_is_taken_for_message_syntax(language: str) -> None:
    assert [place for place, text in flat(read(language, NODES)).items() if SYNTAX.search(text)] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_numbers_files_and_names_survive(language: str) -> None:
    texts, named = translated_texts(language), labels(read(language, NODES))
    found = {place: lost(english, texts.get(place, ""), named) for place, english in TEXTS.items()}
    assert {place: names for place, names in found.items() if names} == {}


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_input_has_one_name_in_all_nodes_and_shares_it_with_no_other_of_its_node(language: str) -> None:
    nodes = read(language, NODES)
    assert {name: given for name, given in labels(nodes).items() if len(given) > 1} == {}
    for node, texts in nodes.items():
        for kind in ("inputs", "outputs"):
            names = [socket["name"] for socket in texts[kind].values()]
            assert len(set(names)) == len(names), (node, kind)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_two_nodes_share_a_name(language: str) -> None:
    names = [texts["display_name"] for texts in read(language, NODES).values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("node", NODE_TEXTS)
def test_a_help_page_says_all_that_the_english_one_says(language: str, node: str) -> None:
    english, page = TEXTS[f"{node}.md"], written(PAGES / node / f"{language}.md")
    assert structure(page) == structure(english)
    assert verbatim(english) - verbatim(page) == set()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("node", NODE_TEXTS)
def test_a_help_page_calls_things_as_the_editor_does(language: str, node: str) -> None:
    texts, page = read(language, NODES)[node], written(PAGES / node / f"{language}.md")
    title, english = texts["display_name"], NODE_TEXTS[node]["display_name"]
    # The English name stands beside it: error messages begin with it.
    titles = {f"# {title}"} if title == english else {f"# {title} ({english})", f"# {title}（{english}）"}
    assert page.split("\n")[0] in titles
    named, page = labels({node: texts}), " ".join(page.split())
    unnamed = {name for name in CODE.findall(page) if not any(each in page for each in named.get(name, {""}))}
    assert unnamed == set()


@pytest.mark.parametrize("language", [ENGLISH, *LANGUAGES])
def test_every_help_page_says_what_goes_wrong(language: str) -> None:
    heading = WRONG[language]
    pages = [PAGES / (f"{node}.md" if language == ENGLISH else f"{node}/{language}.md") for node in NODE_TEXTS]
    assert [page.name for page in pages if written(page).count(f"\n{heading}") != 1] == []


def strings(source: Path) -> Iterator[str]:
    """Texts of a Python file, "..." for what is filled in."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "..." for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_messages_are_quoted_as_the_code_has_them() -> None:
    root = PAGES.parents[1]
    sources = [path for folder in ("nodes", "unitalking") for path in sorted((root / folder).rglob("*.py"))]
    said = "\n".join(text for source in sources for text in strings(source))
    rows = (root / "docs" / "troubleshooting.md").read_text(encoding="utf-8").splitlines()
    quoted = {place: set(MESSAGE.findall(" ".join(page.split()))) for place, page in TEXTS.items()}
    messages = " ".join(row.split("|")[1] for row in rows if row.startswith("| *"))
    quoted["troubleshooting"] = set(re.findall(r"\*([^*]+)\*", messages)) - {FROM_THE_HOST}
    assert len(quoted["troubleshooting"]) > 20
    unknown = {
        place: {text for text in texts if not all(part.strip() in said for part in text.split("..."))}
        for place, texts in quoted.items()
    }
    assert {place: texts for place, texts in unknown.items() if texts} == {}
