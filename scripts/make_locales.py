"""Writes the English texts of the nodes for the editor, and says which translations do not fit them any more.

    python scripts/make_locales.py                              write locales/en, list what the languages lack
    python scripts/make_locales.py --translated zh [PLACE ...]  note that these texts of zh say what the English says

The first form runs in the environment that scripts/environment.py builds: the texts come from a running ComfyUI. A
PLACE is what the first form lists (UniTalkingDecode.inputs.tiled.tooltip, UniTalkingDecode.md for a help page), or a
node for all of its texts; without one, all texts are meant. See docs/translations.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from comfyui import PACK_NAME, temporary_server

from unitalking.client.workflow import input_specs

ROOT = Path(__file__).resolve().parent.parent
LOCALES = ROOT / "locales"
PAGES = ROOT / "web" / "docs"
ENGLISH = "en"
MARKER = "<!-- inputs -->"  # what stands below is made from the schemas: see make_help.py
PICTURE = "![](pictures/"
NODES = "nodeDefs"  # the name is ComfyUI's
NOTED = "english"


def node_texts(object_info: Mapping[str, Any]) -> dict[str, Any]:
    """The texts of our nodes in the shape in which the editor looks for translations.

    Args:
        object_info: what ComfyUI answers to /object_info.
    """
    return {name: _texts(info) for name, info in object_info.items() if info["python_module"].endswith(PACK_NAME)}


def _texts(info: Mapping[str, Any]) -> dict[str, Any]:
    outputs = zip(info["output_name"], info["output_tooltips"], strict=True)
    return {
        "display_name": info["display_name"],
        "description": info["description"],
        "inputs": {name: _named(name, options.get("tooltip")) for name, (_, options) in input_specs(info["input"])},
        "outputs": {str(number): _named(*output) for number, output in enumerate(outputs)},
    }


def _named(name: str, tooltip: str | None) -> dict[str, str]:
    return {"name": name} | ({"tooltip": tooltip} if tooltip else {})


def flat(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Every text by its place: {"UniTalkingDecode.inputs.tiled.tooltip": ...}."""
    texts = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            texts |= {f"{key}.{place}": text for place, text in flat(value).items()}
        else:
            texts[key] = value
    return texts


def written(page: Path) -> str:
    """What people wrote of a help page: without its picture and its tables of inputs and outputs."""
    body = page.read_text(encoding="utf-8").split(MARKER)[0]
    return "\n".join(line for line in body.splitlines() if not line.startswith(PICTURE)).strip() + "\n"


def english_texts(nodes: Mapping[str, Any]) -> dict[str, str]:
    """All that is to be translated, by its place: the texts of the nodes and their help pages."""
    return flat(nodes) | {page.name: written(page) for page in sorted(PAGES.glob("*.md"))}


def translated_texts(language: str) -> dict[str, str]:
    """What is translated, by its place."""
    pages = sorted(PAGES.glob(f"*/{language}.md"))
    return flat(read(language, NODES)) | {f"{page.parent.name}.md": written(page) for page in pages}


def languages() -> list[str]:
    """The languages there are besides English."""
    return sorted(folder.name for folder in LOCALES.iterdir() if folder.name != ENGLISH)


def digest(text: str) -> str:
    """Tells one English text from another, however its lines are broken."""
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()[:12]


def misfits(language: str, english: Mapping[str, str]) -> list[str]:
    """What of a language does not fit the English, each as "what: place"."""
    translated, noted = translated_texts(language), read(language, NOTED)
    changed = [place for place in english if place in translated and noted.get(place) != digest(english[place])]
    return [
        *(f"missing: {place}" for place in english if place not in translated),
        *(f"superfluous: {place}" for place in [*translated, *noted] if place not in english),
        *(f"the English has changed: {place}" for place in changed),
    ]


def note(language: str, english: Mapping[str, str], places: Sequence[str]) -> None:
    """Keeps which English the texts at `places` translate; all texts where there are none.

    Raises:
        ValueError: no such language, or a place that is none.
    """
    if language not in languages():
        raise ValueError(f"{language}: not a folder of locales/, expected one of {', '.join(languages())}.")
    unknown = [place for place in places if not _under(place, english)]
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: not a place of a text, expected one such as {next(iter(english))}.")
    current = {place for given in places for place in _under(given, english)} if places else set(english)
    noted = read(language, NOTED)
    kept = {place: digest(english[place]) if place in current else noted.get(place, "") for place in english}
    write(language, NOTED, {place: value for place, value in kept.items() if value})


def _under(place: str, english: Mapping[str, str]) -> list[str]:
    return [each for each in english if each == place or each.startswith(f"{place}.")]


def read(language: str, name: str) -> dict[str, Any]:
    """A file of a language; empty where there is none."""
    path = LOCALES / language / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write(language: str, name: str, content: Mapping[str, Any]) -> None:
    """Writes a file of a language."""
    path = LOCALES / language / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--translated", nargs="+", metavar=("LANGUAGE", "PLACE"), help="note these texts as up to date")
    options = parser.parse_args(arguments)
    if options.translated:
        language, *places = options.translated
        try:
            note(language, english_texts(read(ENGLISH, NODES)), places)
        except ValueError as error:
            parser.error(str(error))
        return 0
    with temporary_server() as server:
        nodes = node_texts(server.object_info())
    write(ENGLISH, NODES, nodes)
    for language in languages():
        for misfit in misfits(language, english_texts(nodes)):
            print(f"{language}: {misfit}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
