"""Completes the nodes' help pages in every language: a picture of the node, tables of its inputs and outputs.

Usage: python scripts/make_help.py [--pictures] (in the environment that scripts/environment.py builds). The pictures
need a browser: see browser.py. People write the rest of a page, above MARKER; texts and defaults come from the nodes'
schemas and from locales/.
"""

from __future__ import annotations

import html
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from comfyui import ComfyUI, temporary_server
from editor_page import editor_page
from make_locales import ENGLISH, MARKER, NODES, PAGES, PICTURE, languages, node_texts, read, written
from PIL import Image

from unitalking.client.workflow import input_specs

PICTURES = PAGES / "pictures"
SCALE, QUALITY = 1.5, 85
EXAMPLE_LORA = "my_style.safetensors"
# Heading, and the columns: input, what it is, value at first; the same of the outputs, which have no value at first.
WORDS = {
    "en": (("Inputs", "input", "what it is", "default"), ("Outputs", "output", "what it is")),
    "es": (("Entradas", "entrada", "qué es", "valor inicial"), ("Salidas", "salida", "qué es")),
    "ja": (("入力", "入力", "説明", "既定値"), ("出力", "出力", "説明")),
    "zh": (("输入", "输入", "说明", "默认值"), ("输出", "输出", "说明")),
}
SHOW = """type => {
    for (const old of [...app.graph.nodes]) app.graph.remove(old)  // a number that is used again brings values with it
    const node = LiteGraph.createNode(type)
    app.graph.add(node)
    app.canvas.ds.scale = 1
    app.canvas.ds.offset = [120 - node.pos[0], 160 - node.pos[1]]
}"""
FIT = """() => {
    const [node] = app.graph.nodes
    const text = node.widgets?.find(each => each.type === "progressText")?.value
    const [width, height] = node.computeSize()
    node.setSize([Math.max(width, 340), height + (text ? 12 * text.split("\\n").length : 0)])  // or a report is cut
    app.canvas.setDirty(true, true)
}"""
BOX = """() => {
    const [node] = app.graph.nodes
    const box = app.canvas.canvas.getBoundingClientRect()
    return { x: box.x + 105, y: box.y + 115, width: node.size[0] + 30, height: node.size[1] + 60 }
}"""


def completed(page: Path, node: str, language: str, info: Mapping[str, Any], texts: Mapping[str, Any]) -> str:
    """A help page with what is made for it.

    Args:
        page: its file.
        node: id of the node.
        language: of the page.
        info: of the node, from /object_info.
        texts: names and tooltips of its inputs and outputs in the language.
    """
    title, body = written(page).split("\n", 1)
    inputs = [
        (*_named(name, texts["inputs"][name]), _default(options)) for name, (_, options) in input_specs(info["input"])
    ]
    outputs = [_named(name, texts["outputs"][str(number)]) for number, name in enumerate(info["output_name"])]
    tables = [_table(words, rows) for words, rows in zip(WORDS[language], (inputs, outputs), strict=True) if rows]
    return "\n\n".join([title, f"{PICTURE}{node}.jpg)", body.strip(), MARKER, *tables]) + "\n"


def _named(name: str, texts: Mapping[str, str]) -> tuple[str, str]:
    """Cells of an input or output: its names, and its tooltip."""
    label = texts["name"]
    tooltip = html.escape(texts.get("tooltip", ""), quote=False).replace("|", "\\|").replace("\n", " ")
    return f"`{name}`" if label == name else f"**{label}** (`{name}`)", tooltip


def _default(options: Mapping[str, Any]) -> str:
    value = options.get("default", next(iter(options.get("options", ())), ""))
    return "" if value == "" else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _table(words: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    heading, *columns = words
    lines = [f"| {' | '.join(cells)} |" for cells in (columns, *rows)]
    return "\n".join([f"## {heading}", "", lines[0], "|---" * len(columns) + "|", *lines[1:]])


def pages(object_info: Mapping[str, Any]) -> dict[Path, str]:
    """Every help page as it should be.

    Args:
        object_info: what ComfyUI answers to /object_info.
    """
    english, result = node_texts(object_info), {}
    for language in (ENGLISH, *languages()):
        nodes = english if language == ENGLISH else read(language, NODES)
        for node in english:
            path = PAGES / (f"{node}.md" if language == ENGLISH else f"{node}/{language}.md")
            result[path] = completed(path, node, language, object_info[node], nodes[node])
    return result


def photograph(server: ComfyUI, nodes: list[str]) -> None:
    """A picture of every node as the editor draws it."""
    PICTURES.mkdir(exist_ok=True)
    (server.base_directory / "models" / "loras" / EXAMPLE_LORA).touch()  # or the list has nothing to show
    with editor_page(server, 1300, 1400, SCALE) as page:
        page.wait_for_timeout(3000)  # the editor opens a graph of its own
        for node in nodes:
            page.evaluate(SHOW, node)
            page.wait_for_timeout(2000)  # the node says a length, or judges its voice
            page.evaluate(FIT)
            page.wait_for_timeout(500)
            shot = PICTURES / f"{node}.png"
            page.screenshot(path=shot, clip=page.evaluate(BOX))
            with Image.open(shot) as image:
                image.convert("RGB").save(shot.with_suffix(".jpg"), quality=QUALITY)
            shot.unlink()


def main(arguments: list[str]) -> int:
    """Writes the pages, and the pictures where they are asked for."""
    with temporary_server() as server:
        object_info = server.object_info()
        if "--pictures" in arguments:
            photograph(server, list(node_texts(object_info)))
    for path, text in pages(object_info).items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
