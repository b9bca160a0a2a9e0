"""Every example, opened from the template browser and run by its button, in the real editor."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from chained_models import LOADERS, chained_models
from editor import WRONG_NODES

from unitalking.client.workflow import to_prompt

if TYPE_CHECKING:
    from comfyui import ComfyUI
    from editor import Editor

FOLDER = Path(__file__).resolve().parents[2] / "workflows"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
# Of weights that are not here. Which node is red for that, and how many files it misses at least.
PUBLIC = {
    "ovi_talking_video": ("UniTalkingModelLoader", 4),
    "wan_video_only": ("UniTalkingModelLoader", 3),
    "with_frame_interpolation": ("FrameInterpolationModelLoader", 1),
    "with_upscaler": ("UpscaleModelLoader", 1),
}
# Those of full size are never run; small files stand in for the others.
RUN = [name for name in NAMES if name not in PUBLIC or name in LOADERS]
# Nodes grow by what a run shows on them.
HANGING = """() => app.graph.nodes
    .filter(({ pos, size }) => !app.graph.groups.some(group =>
        pos[0] >= group.pos[0] && pos[0] + size[0] <= group.pos[0] + group.size[0] &&
        pos[1] >= group.pos[1] && pos[1] + size[1] <= group.pos[1] + group.size[1]))
    .map(node => node.type)"""
PLAYER = """() => [...document.querySelectorAll("video, audio")]
    .map(each => [each.tagName, each.duration, each.videoWidth || 0, each.error && each.error.message])"""
PLAYS = """() => {
    const player = document.querySelector("video, audio")
    return player && player.readyState >= 3
}"""
PLAYED = """async () => {
    const player = document.querySelector("video, audio")
    player.muted = true
    await player.play()
    await new Promise(done => setTimeout(done, 1000))
    return player.currentTime
}"""


def load(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", PUBLIC)
def test_an_example_of_public_weights_names_the_files_that_are_missing(editor: Editor, name: str) -> None:
    loader, count = PUBLIC[name]
    editor.open_template(name)
    editor.page.wait_for_function(f"() => ({WRONG_NODES})().length")  # files are looked for behind the graph
    assert editor.wrong_nodes == [loader]
    editor.page.get_by_test_id("error-overlay-see-errors").click()
    (node,) = (node for node in load(name)["nodes"] if node["type"] == loader)
    # Those that a widget names can be fetched by a button; the note links all of them.
    offered = [file["name"] for file in node["properties"]["models"] if file["name"] in node["widgets_values"]]
    for file in offered:
        editor.page.get_by_text(file).last.wait_for()
    editor.shoot(f"template_{name}")
    assert len(offered) >= count
    linked = editor.page.evaluate("() => [...document.querySelectorAll('.comfy-markdown a')].map(each => each.href)")
    assert {file["url"] for file in node["properties"]["models"]} == set(linked)
    assert editor.errors == []


@pytest.fixture
def stand_ins(host: ComfyUI, comfy_imports: Path) -> Iterator[None]:
    """Small random models in place of the published upscaler and interpolation model."""
    with chained_models(host):
        yield


@pytest.mark.usefixtures("stand_ins")  # before the editor, which asks once what files there are
@pytest.mark.parametrize("name", RUN)
def test_an_example_opens_runs_by_its_button_and_plays_in_its_node(editor: Editor, host: ComfyUI, name: str) -> None:
    editor.open_template(name)
    assert editor.wrong_nodes == []
    assert editor.prompt() == to_prompt(load(name), host.object_info())
    editor.shoot(f"template_{name}", whole_graph=True)
    host.free()  # what is kept from another run would not be previewed
    heard = editor.run()
    assert "execution_error" not in heard
    assert {"execution_success", "executed", "progress"} <= set(heard)
    if name != "speech_only":  # without pictures there is no preview of any
        assert "b_preview" in heard
    editor.page.wait_for_function(PLAYS, timeout=20_000)
    players = editor.page.evaluate(PLAYER)
    assert players
    for kind, duration, width, error in players:
        assert error is None
        assert duration > 1
        assert width > 0 or kind == "AUDIO"
    assert editor.page.evaluate(PLAYED) > 0.2
    editor.shoot(f"run_{name}", whole_graph=True)
    assert editor.page.evaluate(HANGING) == []
    assert editor.wrong_nodes == []
    assert editor.errors == []
