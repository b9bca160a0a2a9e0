"""English texts out of schemas, and what is noted of the English that a translation was made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import make_locales
import pytest
from make_locales import digest, flat, misfits, node_texts, note

INFO: dict[str, Any] = {
    "python_module": "custom_nodes.ComfyUI-UniTalking",
    "display_name": "Play Clip",
    "description": "Plays a clip.",
    "input": {
        "required": {"clip": ["CLIP", {"tooltip": "What is played."}]},
        "optional": {"loop": [["on", "off"], {}]},
        "hidden": {"unique_id": ["UNIQUE_ID", {}]},
    },
    "output_name": ["sound", "count"],
    "output_tooltips": ["What is heard.", None],
}
NODES = {
    "Play": {
        "display_name": "Play Clip",
        "description": "Plays a clip.",
        "inputs": {"clip": {"name": "clip", "tooltip": "What is played."}, "loop": {"name": "loop"}},
        "outputs": {"0": {"name": "sound", "tooltip": "What is heard."}, "1": {"name": "count"}},
    }
}
ENGLISH = {
    "Play.display_name": "Play Clip",
    "Play.description": "Plays a clip.",
    "Play.md": "# Play Clip\n\nPlays it.\n",
}
SPANISH = {"Play": {"display_name": "Reproducir clip", "description": "Reproduce un clip."}}


@pytest.fixture
def spanish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pack that is wholly translated, and notes of what; the folder of its language."""
    monkeypatch.setattr(make_locales, "LOCALES", tmp_path / "locales")
    monkeypatch.setattr(make_locales, "PAGES", tmp_path / "docs")
    make_locales.write("es", "nodeDefs", SPANISH)
    page = tmp_path / "docs" / "Play" / "es.md"
    page.parent.mkdir(parents=True)
    page.write_text("# Reproducir clip\n\nLo reproduce.\n", encoding="utf-8")
    note("es", ENGLISH, [])
    return tmp_path / "locales" / "es"


def test_texts_are_in_the_editors_shape_and_of_our_nodes_alone() -> None:
    stock = {**INFO, "python_module": "nodes"}
    assert node_texts({"Play": INFO, "Stock": stock}) == NODES


def test_flat_names_every_text_by_its_place() -> None:
    assert flat(NODES)["Play.inputs.clip.tooltip"] == "What is played."
    assert flat(NODES)["Play.outputs.1.name"] == "count"
    assert len(flat(NODES)) == 8


def test_a_digest_does_not_see_how_lines_are_broken() -> None:
    assert digest("One line\nand another.") == digest("One line and\nanother.")
    assert digest("One line.") != digest("One lime.")


def test_what_is_translated_fits(spanish: Path) -> None:
    assert misfits("es", ENGLISH) == []


def test_a_changed_english_text_is_named(spanish: Path) -> None:
    assert misfits("es", {**ENGLISH, "Play.description": "Plays a clip twice."}) == [
        "the English has changed: Play.description"
    ]


def test_a_missing_and_a_superfluous_text_are_named(spanish: Path) -> None:
    english = {place: text for place, text in ENGLISH.items() if place != "Play.description"} | {"Play.aliases": "Run"}
    assert set(misfits("es", english)) == {"missing: Play.aliases", "superfluous: Play.description"}


@pytest.mark.parametrize(
    ("places", "left"),
    [
        (["Play.md"], ["the English has changed: Play.description"]),
        (["Play.description"], ["the English has changed: Play.md"]),
        (["Play"], []),
        ([], []),
    ],
)
def test_only_what_was_translated_anew_is_noted(spanish: Path, places: list[str], left: list[str]) -> None:
    changed = {**ENGLISH, "Play.description": "Plays a clip twice.", "Play.md": "# Play Clip\n\nTwice.\n"}
    note("es", changed, places)
    assert misfits("es", changed) == left


def test_notes_of_texts_that_are_gone_go_too(spanish: Path) -> None:
    left = {place: text for place, text in ENGLISH.items() if place != "Play.description"}
    note("es", left, ["Play.md"])
    assert set(json.loads((spanish / "english.json").read_text(encoding="utf-8"))) == set(left)


def test_what_is_no_place_and_no_language_is_an_error(spanish: Path) -> None:
    with pytest.raises(ValueError, match=r"Play\.descripton: not a place of a text"):
        note("es", ENGLISH, ["Play.descripton"])
    with pytest.raises(ValueError, match=r"se: not a folder of locales/, expected one of es"):
        note("se", ENGLISH, [])
