"""Writes the example workflows in the editor's own format, laid out for reading.

Usage: python scripts/make_workflows.py (in the environment that scripts/environment.py builds). The graphs are data
below; widget order and defaults come from a running ComfyUI, so a changed schema shows up as a changed file.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comfyui import ComfyUI
from workflow import input_specs

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = ROOT / "workflows"
COLUMN, GAP, TITLE = 380, 40, 40
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
COLOURS = ("#3f789e", "#8A8", "#b58b2a", "#a1309b", "#444")


@dataclass
class Step:
    """One node: its type, column, height in the graph, widget values and what is wired into it."""

    name: str
    type: str
    column: int
    height: int
    widgets: dict[str, Any] = field(default_factory=dict)
    wires: dict[str, tuple[str, int]] = field(default_factory=dict)


# Words and captions as the pack's own model was trained on; full-size models take them as well.
SPEECH = "Hello, I am a portrait, and I can talk."
SCENE = "A young woman with long wavy red hair and round glasses, wearing a green hoodie in front of a light blue wall."
COLUMN_TITLES = ("1  Model", "2  Words and voice", "3  Face and length", "4  Generate", "5  Result")


def talking_portrait(title: str, note: str, *, portrait: bool, voice: bool) -> list[Step]:
    """The graph that all three examples share. Where there is a portrait, it says how the face looks."""
    prompt_wires = {"model": ("model", 0), "clip": ("model", 1)}
    sound = "Clear speech." if portrait else "A woman speaks in a medium voice."
    words = {"speech": SPEECH, "scene": "" if portrait else SCENE, "sound": sound}
    steps = [
        Step("note", "MarkdownNote", 0, 320, {"": f"# {title}\n\n{note}"}),
        Step("model", "UniTalkingModelLoader", 0, 220),
        Step("prompt", "UniTalkingTextPrompt", 1, 500, words),
        Step("latent", "UniTalkingEmptyLatent", 2, 180),
        Step("sampler", "UniTalkingJointSampler", 3, 640, {"seed": 7}),
        Step("decode", "UniTalkingDecode", 4, 170),
        Step("save", "UniTalkingSaveMP4", 4, 600),
    ]
    if voice:
        steps.insert(2, Step("voice", "UniTalkingEncodeVoiceReference", 1, 260, {}, {"audio_vae": ("model", 3)}))
        prompt_wires["voice"] = ("voice", 0)
    clip = ("latent", 0)
    if portrait:
        wires = {"latent": ("latent", 0), "vae": ("model", 2)}
        steps.insert(-3, Step("portrait", "UniTalkingPortrait", 2, 400, {}, wires))
        clip = ("portrait", 0)
    wires = {
        "prompt": prompt_wires,
        "latent": {"model": ("model", 0), "frames": ("prompt", 3)},
        "sampler": {"model": ("model", 0), "positive": ("prompt", 0), "negative": ("prompt", 1), "latent": clip},
        "decode": {"latent": ("sampler", 0), "vae": ("model", 2), "audio_vae": ("model", 3)},
        "save": {"images": ("decode", 0), "audio": ("decode", 1), "fps": ("decode", 3)},
    }
    for step in steps:
        step.wires |= wires.get(step.name, {})
    return steps


GRAPHS = {
    "talking_portrait_text": talking_portrait(
        "Talking portrait from text",
        "Write the words into **speech** and press Run. **scene** says how the face looks, **sound** how the voice "
        "sounds.\n\nThe pack's own model knows drawn faces and synthetic English voices: name hair, skin, glasses, "
        "clothes and background as here, by their colours.\n\n"
        "The clip is as long as the speech needs: **planned_frames** goes into **frames**.",
        portrait=False,
        voice=False,
    ),
    "talking_portrait_image": talking_portrait(
        "A picture that talks",
        "Choose a sample portrait, or wire a **Load Image** into **image**. It becomes the first frame.\n\n"
        "Write the words into **speech** and press Run.\n\n"
        "The pack's own model knows drawn faces like the samples; photographs need a full-size model.",
        portrait=True,
        voice=False,
    ),
    "talking_portrait_voice": talking_portrait(
        "A picture that talks in a given voice",
        "Choose a sample portrait and a sample voice, or wire **Load Image** and **Load Audio** (3-5 s of one person "
        "speaking). The report on **Encode Voice Reference** says whether the clip is good enough.\n\n"
        "The pack's own model knows drawn faces and synthetic English voices; photographs and people need a full-size "
        "model.\n\n"
        "Only clone a voice whose owner agrees.",
        portrait=True,
        voice=True,
    ),
}


def editor_graph(steps: list[Step], object_info: dict[str, Any]) -> dict[str, Any]:
    """A graph in the editor's format (version 0.4)."""
    numbers = {step.name: index for index, step in enumerate(steps, 1)}
    nodes = {step.name: _node(step, numbers[step.name], object_info) for step in steps}
    links: list[list[Any]] = []
    for step in steps:
        for name, (source, slot) in step.wires.items():
            link = len(links) + 1
            output = nodes[source]["outputs"][slot]
            output["links"].append(link)
            place = _input(nodes[step.name], name, output["type"])
            nodes[step.name]["inputs"][place]["link"] = link
            links.append([link, numbers[source], slot, numbers[step.name], place, output["type"]])
    groups = _lay_out(steps, nodes)
    return {
        "last_node_id": len(steps),
        "last_link_id": len(links),
        "nodes": list(nodes.values()),
        "links": links,
        "groups": groups,
        "config": {},
        "extra": {"ds": {"scale": 0.75, "offset": [60, 90]}},
        "version": 0.4,
    }


def _node(step: Step, number: int, object_info: dict[str, Any]) -> dict[str, Any]:
    node = {
        "id": number,
        "type": step.type,
        "pos": [0, 0],
        "size": [COLUMN - GAP, step.height],
        "flags": {},
        "order": number - 1,
        "mode": 0,
        "inputs": [],
        "outputs": [],
        "properties": {"Node name for S&R": step.type},
        "widgets_values": list(step.widgets.values()),
    }
    if step.type == "MarkdownNote":
        return {**node, "title": "Read me", "color": "#432", "bgcolor": "#653"}
    info = object_info[step.type]
    for name, (kind, _) in input_specs(info["input"]):
        if kind not in WIDGETS:
            entry = {"name": name, "type": kind, "link": None}
            node["inputs"].append(entry if name in info["input"].get("required", {}) else {**entry, "shape": 7})
    node["outputs"] = [
        {"name": name, "type": kind, "links": [], **({"shape": 6} if is_list else {})}
        for name, kind, is_list in zip(info["output_name"], info["output"], info["output_is_list"], strict=True)
    ]
    node["widgets_values"] = _widgets(step, info)
    return node


def _widgets(step: Step, info: dict[str, Any]) -> list[Any]:
    """Values in the order of the schema, a seed followed by what happens to it after a run."""
    values: list[Any] = []
    unknown = set(step.widgets)
    for name, (kind, options) in input_specs(info["input"]):
        if kind not in WIDGETS:
            continue
        unknown.discard(name)
        first = options.get("options", [""])[0]
        values.append(step.widgets.get(name, options.get("default", first)))
        if options.get("control_after_generate"):
            values.append("fixed")
    if unknown:
        raise KeyError(f"{step.type} has no widget {', '.join(sorted(unknown))}.")
    return values


def _input(node: dict[str, Any], name: str, kind: str) -> int:
    """Place of an input; a widget that is wired becomes one."""
    for place, entry in enumerate(node["inputs"]):
        if entry["name"] == name:
            return place
    node["inputs"].append({"name": name, "type": kind, "widget": {"name": name}, "link": None})
    return len(node["inputs"]) - 1


def _lay_out(steps: list[Step], nodes: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Columns from left to right, a titled group around each."""
    tops = [0] * len(COLUMN_TITLES)
    for step in steps:
        nodes[step.name]["pos"] = [step.column * COLUMN, tops[step.column]]
        tops[step.column] += step.height + TITLE + GAP
    return [
        {
            "id": index + 1,
            "title": title,
            "bounding": [index * COLUMN - GAP / 4, -2 * TITLE, COLUMN - GAP / 2, tops[index] + TITLE + GAP / 2],
            "color": COLOURS[index],
            "font_size": 24,
            "flags": {},
        }
        for index, title in enumerate(COLUMN_TITLES)
    ]


def main() -> int:
    """Writes every graph."""
    comfyui = os.environ.get("COMFYUI_PATH")
    if not comfyui:
        print("COMFYUI_PATH is not set: run this through the environment of scripts/environment.py.", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder, ComfyUI(Path(comfyui), Path(folder)) as server:
        object_info = server.object_info()
    for name, steps in GRAPHS.items():
        path = WORKFLOWS / f"{name}.json"
        path.write_text(json.dumps(editor_graph(steps, object_info), indent=1) + "\n", encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
