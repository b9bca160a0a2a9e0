"""Translations against the nodes of a running ComfyUI, and as it delivers them to the editor."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from graphs import fetch
from make_help import pages
from make_locales import ENGLISH, MARKER, NODES, PAGES, flat, languages, node_texts, read

from unitalking.client.workflow import input_specs

if TYPE_CHECKING:
    from comfyui import ComfyUI

PACK = "ComfyUI-UniTalking"
LANGUAGES = languages()
EMPHASISED = re.compile(r"(?<!\*)[*`]([^*`\n]+)[*`](?!\*)")


@pytest.fixture(scope="module")
def infos(host: ComfyUI) -> dict[str, dict[str, Any]]:
    """Our nodes as the editor gets them."""
    return {name: info for name, info in host.object_info().items() if info["python_module"].endswith(PACK)}


def choices(info: dict[str, Any]) -> dict[str, list[str]]:
    """What can be chosen at each input of a node."""
    return {name: options.get("options", []) for name, (_, options) in input_specs(info["input"])}


def test_the_english_is_what_the_nodes_say(infos: dict[str, dict[str, Any]]) -> None:
    found, expected = flat(read(ENGLISH, NODES)), flat(node_texts(infos))
    assert found == expected, "run scripts/make_locales.py"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_texts_of_a_language_are_those_of_the_nodes(infos: dict[str, dict[str, Any]], language: str) -> None:
    given = set(flat(read(language, NODES)))
    expected = {f"{node}.{key}" for node in infos for key in ("display_name", "description")}
    for node, info in infos.items():
        specs = dict(input_specs(info["input"]))
        expected |= {f"{node}.inputs.{name}.{key}" for name in specs for key in ("name", "tooltip")}
        numbers = range(len(info["output"]))
        expected |= {f"{node}.outputs.{number}.{key}" for number in numbers for key in ("name", "tooltip")}
    assert {"missing": expected - given, "superfluous": given - expected} == {"missing": set(), "superfluous": set()}


@pytest.mark.parametrize("language", LANGUAGES)
def test_choices_keep_their_names(infos: dict[str, dict[str, Any]], language: str) -> None:
    english, translated = read(ENGLISH, NODES), read(language, NODES)
    lost, checked = [], 0
    for node, info in infos.items():
        page = (PAGES / f"{node}.md").read_text(encoding="utf-8")
        emphasised = set(EMPHASISED.findall(page))
        for name, values in choices(info).items():
            said, kept = (texts[node]["inputs"][name]["tooltip"] for texts in (english, translated))
            in_tooltip = [value for value in values if re.search(rf"(?<!\w){re.escape(value)}(?!\w)", said)]
            on_page = emphasised & set(values)
            checked += len(in_tooltip) + len(on_page)
            lost += [f"{node}.inputs.{name}.tooltip: {value}" for value in in_tooltip if value not in kept]
            own_page = (PAGES / node / f"{language}.md").read_text(encoding="utf-8")
            lost += [f"{node}.md: {value}" for value in on_page - set(EMPHASISED.findall(own_page))]
    assert lost == []
    assert checked > 50


def test_help_pages_show_the_node_and_all_of_its_inputs_and_outputs(host: ComfyUI) -> None:
    stale = [
        str(path.relative_to(PAGES))
        for path, text in pages(host.object_info()).items()
        if path.read_text(encoding="utf-8") != text
    ]
    assert stale == [], "run scripts/make_help.py"
    assert {path.stem for path in (PAGES / "pictures").iterdir()} == set(read(ENGLISH, NODES))


def made_tables(node: str, language: str) -> list[list[str]]:
    """Rows of the tables that make_help.py writes: of the inputs, and of the outputs."""
    made = (PAGES / node / f"{language}.md").read_text(encoding="utf-8").split(MARKER)[1]
    return [[line for line in part.splitlines() if line.startswith("| ")][1:] for part in made.split("## ")[1:]]


def test_the_table_names_every_input_with_its_default(infos: dict[str, dict[str, Any]]) -> None:
    rows, _ = made_tables("UniTalkingSaveMP4", "es")
    specs = list(input_specs(infos["UniTalkingSaveMP4"]["input"]))
    assert len(rows) == len(specs)
    for row, (name, (_, options)) in zip(rows, specs, strict=True):
        assert f"`{name}`" in row
        if isinstance(options.get("default"), float):
            assert f"`{options['default']}`" in row


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_table_says_what_every_output_is(infos: dict[str, dict[str, Any]], language: str) -> None:
    translated = read(language, NODES)
    for node, info in infos.items():
        rows = made_tables(node, language)[-1]
        assert len(rows) == len(info["output_name"]), node
        for row, name, texts in zip(rows, info["output_name"], translated[node]["outputs"].values(), strict=True):
            assert f"`{name}`" in row
            assert texts["name"] in row
            assert texts["tooltip"] in row


def test_the_editor_gets_the_texts_of_every_language(host: ComfyUI) -> None:
    delivered = json.loads(fetch(host, "/i18n"))
    assert set(delivered) == {ENGLISH, *LANGUAGES}
    for language, texts in delivered.items():
        assert texts == {NODES: read(language, NODES)}, language


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_editor_gets_the_help_pages_of_a_language(
    host: ComfyUI, infos: dict[str, dict[str, Any]], language: str
) -> None:
    for node in infos:
        text = (PAGES / node / f"{language}.md").read_bytes()
        assert fetch(host, f"/extensions/{PACK}/docs/{node}/{language}.md") == text, node
