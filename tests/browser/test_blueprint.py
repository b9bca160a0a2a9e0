"""The subgraph blueprint: found in the node library, set beside Save MP4, and run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comfyui import ComfyUI
    from editor import Editor

ROOT = Path(__file__).resolve().parents[2]
BLUEPRINTS = sorted((ROOT / "subgraphs").glob("*.json"))
SAVE = """() => {
    const portrait = app.graph.nodes.find(node => node.isSubgraphNode())
    const save = LiteGraph.createNode("UniTalkingSaveMP4")
    app.graph.add(save)
    save.pos = [portrait.pos[0] + 400, portrait.pos[1]]
    portrait.connect(0, save, save.inputs.findIndex(each => each.name === "video"))
    const sockets = (slots) => Object.fromEntries(slots.map(each => [each.name, each.type]))
    return [sockets(portrait.inputs), sockets(portrait.outputs), portrait.widgets.map(each => each.name)]
}"""
SAY = """words => {
    app.graph.nodes.find(node => node.isSubgraphNode()).widgets.find(each => each.name === "speech").value = words
}"""


def add_blueprint(editor: Editor) -> None:
    """Finds the blueprint in the search box of an empty graph, as a person does."""
    (file,) = BLUEPRINTS
    editor.page.evaluate("() => app.graph.clear()")
    editor.command("Workspace.SearchBox.Toggle")
    editor.page.wait_for_timeout(500)
    editor.page.keyboard.type(file.stem)
    editor.page.get_by_text(file.stem, exact=True).first.wait_for()
    editor.page.keyboard.press("Enter")
    editor.page.wait_for_function("() => app.graph.nodes.some(node => node.isSubgraphNode())")


def test_the_talking_portrait_is_in_the_node_library_and_runs(editor: Editor, host: ComfyUI) -> None:
    (file,) = BLUEPRINTS
    found = {entry["name"] for entry in host.get("/global_subgraphs").values()}
    assert file.stem in found
    add_blueprint(editor)
    inputs, outputs, widgets = editor.page.evaluate(SAVE)
    assert {"speech": "STRING", "image": "IMAGE", "audio": "AUDIO"}.items() <= inputs.items()
    assert outputs == {"video": "VIDEO"}
    assert {"speech", "seed", "sample_portrait", "sample_voice"} <= set(widgets)
    editor.page.evaluate(SAY, "The river is long.")
    prompt = editor.prompt()
    (words,) = (node["inputs"]["speech"] for node in prompt.values() if node["class_type"] == "UniTalkingTextPrompt")
    assert words == "The river is long."
    heard = editor.run()
    assert "execution_error" not in heard
    assert "execution_success" in heard
    editor.page.wait_for_function("() => document.querySelector('video')?.readyState >= 3", timeout=20_000)
    editor.shoot("blueprint", whole_graph=True)
    assert editor.wrong_nodes == []
    assert editor.errors == []


SHADOWED = """async () => {
    const outer = app.graph.nodes.find(node => node.isSubgraphNode())
    const inner = outer.subgraph.nodes.find(node => node.type === "UniTalkingTextPrompt")
    const other = LiteGraph.createNode("UniTalkingDecode")
    other.id = inner.id
    app.graph.add(other)
    inner.inputs.find(each => each.name === "speech").link = null // typed inside, not passed in
    const words = inner.widgets.find(each => each.name === "speech")
    words.callback(words.value)
    await new Promise(done => setTimeout(done, 1500))
    const shown = app.graph.getNodeById(inner.id)
    return [shown.type, shown.widgets.some(each => each.type === "progressText")]
}"""


def test_what_is_said_of_a_node_inside_stands_on_no_other(editor: Editor) -> None:
    add_blueprint(editor)
    assert editor.page.evaluate(SHADOWED) == ["UniTalkingDecode", False]


def test_it_holds_the_nodes_of_the_example() -> None:
    (file,) = BLUEPRINTS
    (subgraph,) = json.loads(file.read_text(encoding="utf-8"))["definitions"]["subgraphs"]
    example = json.loads((ROOT / "workflows" / "talking_portrait_voice.json").read_text(encoding="utf-8"))
    types = {node["type"] for node in example["nodes"]} - {"MarkdownNote", "UniTalkingSaveMP4"}
    assert {node["type"] for node in subgraph["nodes"]} == types
