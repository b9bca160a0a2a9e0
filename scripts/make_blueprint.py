"""Makes the subgraph blueprint "Talking Portrait" in the real editor, from the example workflow of the same graph.

Usage: python scripts/make_blueprint.py (in the environment that scripts/environment.py builds).
Needs a browser: see browser.py. What the editor publishes is the file; its ids are new each time.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from comfyui import temporary_server
from editor_page import editor_page

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "workflows" / "talking_portrait_voice.json"
NAME = "Talking Portrait"
TARGET = ROOT / "subgraphs" / f"{NAME}.json"
# What people wire into the blueprint stands around the graph while it is made; widgets are passed on one by one.
BUILD = """async ([workflow, name]) => {
    await app.loadGraphData(workflow, true, true, name)
    const graph = app.graph
    const node = type => graph.nodes.find(node => node.type === type)
    const inner = type => node(`UniTalking${type}`)
    const [portrait, voice, prompt] = ["Portrait", "EncodeVoiceReference", "TextPrompt"].map(inner)
    const [decode, save] = [node("UniTalkingDecode"), node("UniTalkingSaveMP4")]
    const input = (owner, wanted) => owner.inputs.findIndex(each => each.name === wanted)
    const wire = (type, owner, wanted) => {
        const outside = LiteGraph.createNode(type)
        graph.add(outside)
        outside.connect(0, owner, input(owner, wanted))
    }
    wire("PrimitiveStringMultiline", prompt, "speech")
    wire("LoadImage", portrait, "image")
    wire("LoadAudio", voice, "audio")
    for (const each of ["images", "audio", "fps"]) save.disconnectInput(input(save, each))
    decode.connect(decode.outputs.findIndex(each => each.name === "video"), save, input(save, "video"))
    const inside = graph.nodes.filter(each => each.type.startsWith("UniTalking") && each !== save)
    const { subgraph, node: outer } = graph.convertToSubgraph(new Set(inside))
    for (const [type, widget] of [["Portrait", "sample_portrait"], ["EncodeVoiceReference", "sample_voice"]]) {
        const owner = subgraph.nodes.find(each => each.type === `UniTalking${type}`)
        subgraph.addInput(widget, "COMBO").connect(owner.inputs[input(owner, widget)], owner)
    }
    subgraph.name = outer.title = name
    app.canvas.selectNode(outer)
    app.extensionManager.command.execute("Comfy.PublishSubgraph")
}"""


def published(workflow: dict[str, Any]) -> str:
    """The blueprint as the editor saves it."""
    with temporary_server() as server:
        with editor_page(server) as page:
            page.evaluate(BUILD, [workflow, NAME])
            page.get_by_role("dialog").get_by_role("textbox").wait_for()
            page.keyboard.press("Enter")
            page.get_by_text("Saved to Nodes Library").wait_for()
        (file,) = server.base_directory.glob("user/*/subgraphs/*.json")
        return file.read_text(encoding="utf-8")


def main() -> int:
    """Writes the blueprint."""
    workflow = json.loads(SOURCE.read_text(encoding="utf-8"))
    blueprint = json.loads(published(workflow))
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(json.dumps(blueprint, indent=1) + "\n", encoding="utf-8")
    print(TARGET)
    return 0


if __name__ == "__main__":
    sys.exit(main())
