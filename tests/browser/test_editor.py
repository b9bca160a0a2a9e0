"""What the editor shows of our nodes: folded inputs, help, live words about speech and voice, and graphs in files."""

from __future__ import annotations

import json
import random
import re
import wave
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from graphs import only_file

from unitalking.client.workflow import to_prompt

if TYPE_CHECKING:
    from comfyui import ComfyUI
    from editor import Editor

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = "talking_portrait_voice"
SHOWN = """type => app.graph.nodes.find(node => node.type === type)
    .widgets.find(each => each.type === "progressText")?.value"""
VISIBLE = """type => {
    const node = app.graph.nodes.find(node => node.type === type)
    return node.widgets.filter(widget => node.isWidgetVisible(widget)).map(widget => widget.name)
}"""
ROWS = """async type => {
    await new Promise(done => setTimeout(done, 500))  // drawn
    const node = app.graph.nodes.find(node => node.type === type)
    return node.widgets.filter(widget => node.isWidgetVisible(widget)).map(widget => [widget.name, widget.y])
}"""
SET = """([type, name, value]) => {
    const widget = app.graph.nodes.find(node => node.type === type).widgets.find(each => each.name === name)
    widget.value = value
    widget.callback(value)
}"""
WATCH = """() => {
    const play = HTMLMediaElement.prototype.play
    HTMLMediaElement.prototype.play = function () {
        window.player = this
        return play.call(this)
    }
}"""
BUTTON = """type => {
    const node = app.graph.nodes.find(node => node.type === type)
    const button = node.widgets.find(each => each.name === "play")
    return app.canvasPosToClientPos([node.pos[0] + node.size[0] / 2, node.pos[1] + button.y + 8])
}"""
LOAD_AUDIO = """file => {
    const node = LiteGraph.createNode("LoadAudio")
    app.graph.add(node)
    node.widgets.find(each => each.name === "audio").value = file
    const voice = app.graph.nodes.find(each => each.type === "UniTalkingEncodeVoiceReference")
    node.connect(0, voice, "audio")
}"""
UNPLUG = """() => {
    const voice = app.graph.nodes.find(each => each.type === "UniTalkingEncodeVoiceReference")
    voice.disconnectInput("audio")
}"""
DROP = """async ([url, name]) => {
    const bytes = await (await fetch(url)).blob()
    const data = new DataTransfer()
    data.items.add(new File([bytes], name, { type: "video/mp4" }))
    document.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: data }))
}"""
TYPED = "I have never said so many words in one clip before."


def wait_for_text(editor: Editor, node_type: str, pattern: str) -> str:
    """What is shown on a node, once it matches."""
    for _ in range(60):
        shown = editor.page.evaluate(SHOWN, node_type)
        if shown and re.search(pattern, shown):
            return shown
        editor.page.wait_for_timeout(250)
    raise AssertionError(f"{node_type} shows {shown!r}, expected {pattern!r}")


def played(editor: Editor, node_type: str) -> str:
    """Clicks a node's play button twice: what is heard after the first time, and no more after the second."""
    editor.page.evaluate(WATCH)
    editor.select(node_type)
    editor.page.wait_for_timeout(700)  # the canvas glides
    place = editor.page.evaluate(BUTTON, node_type)
    editor.page.mouse.click(*place)
    editor.page.wait_for_function("() => window.player?.currentTime > 0.2", timeout=10_000)
    assert editor.page.evaluate("() => [player.paused, player.error]") == [False, None]
    editor.page.mouse.click(*place)
    editor.page.wait_for_function("() => player.paused", timeout=2_000)
    assert not editor.page.evaluate("() => player.ended")
    return editor.page.evaluate("() => player.src")


def test_advanced_inputs_are_folded_and_come_back(editor: Editor) -> None:
    editor.open_template(WORKFLOW)
    folded = editor.page.evaluate(VISIBLE, "UniTalkingTextPrompt")
    assert folded[:3] == ["speech", "scene", "sound"]
    assert not {"negative_picture", "negative_sound", "prompt_style", "starts_at"} & set(folded)
    room = editor.page.get_by_test_id("dom-widget-textarea").first.bounding_box()["height"]
    editor.page.evaluate(
        "type => app.graph.nodes.find(node => node.type === type).toggleAdvanced()", "UniTalkingTextPrompt"
    )
    assert {"negative_picture", "prompt_style"} <= set(editor.page.evaluate(VISIBLE, "UniTalkingTextPrompt"))
    editor.shoot("advanced_shown")
    assert editor.page.get_by_test_id("dom-widget-textarea").first.bounding_box()["height"] < 0.8 * room


def test_folded_inputs_leave_no_gap_between_the_others(editor: Editor) -> None:
    editor.open_template("dub_a_silent_video")
    rows = editor.page.evaluate(ROWS, "UniTalkingDrivingVideo")
    assert [name for name, _ in rows] == ["sample_clip", "fps", "start_s", "fit"]
    editor.page.evaluate(
        "type => app.graph.nodes.find(node => node.type === type).toggleAdvanced()", "UniTalkingDrivingVideo"
    )
    all_rows = editor.page.evaluate(ROWS, "UniTalkingDrivingVideo")
    assert [name for name, _ in all_rows] == ["sample_clip", "fps", "start_s", "width", "height", "fit"]
    for shown in (rows, all_rows):
        (distance,) = {lower - upper for (_, upper), (_, lower) in pairwise(shown)}
        assert 20 < distance < 30


def test_the_length_of_a_speech_is_said_while_it_is_typed(editor: Editor) -> None:
    editor.open_template(WORKFLOW)
    box = editor.page.get_by_test_id("dom-widget-textarea").first
    box.fill("Hello.")
    short = wait_for_text(editor, "UniTalkingTextPrompt", r"^about 0\.\d s$|^about 1\.\d s$")
    box.fill(TYPED)
    long = wait_for_text(editor, "UniTalkingTextPrompt", r"^about [345]\.\d s$")
    assert short != long
    assert editor.prompt()["4"]["inputs"]["speech"] == TYPED
    box.fill("")
    wait_for_text(editor, "UniTalkingTextPrompt", "^nothing to say$")


def test_a_voice_is_judged_when_it_is_chosen_and_can_be_heard(editor: Editor, host: ComfyUI) -> None:
    node = "UniTalkingEncodeVoiceReference"
    editor.open_template(WORKFLOW)
    before = editor.prompt()
    editor.page.evaluate(SET, [node, "sample_voice", "martin_deep"])
    report = host.get("/unitalking/voice?sample=martin_deep")["report"]
    wait_for_text(editor, node, f"^{re.escape(report)}$")
    assert played(editor, node).endswith("/unitalking/voice/sound?sample=martin_deep")
    # The button is no input of the node.
    after = editor.prompt()
    assert {**before["3"]["inputs"], "sample_voice": "martin_deep"} == after["3"]["inputs"]
    (kept,) = (each["widgets_values"] for each in editor.workflow()["nodes"] if each["type"] == node)
    assert kept == ["martin_deep", True]
    assert editor.errors == []


def test_length_and_voice_of_a_graph_are_said_when_it_is_opened(editor: Editor, host: ComfyUI) -> None:
    editor.open_template(WORKFLOW)
    wait_for_text(editor, "UniTalkingTextPrompt", r"^about \d\.\d s$")
    sample = editor.prompt()["3"]["inputs"]["sample_voice"]
    report = wait_for_text(editor, "UniTalkingEncodeVoiceReference", "Verdict")
    assert report == host.get(f"/unitalking/voice?sample={sample}")["report"]


def test_a_wired_recording_is_judged_at_once_and_so_is_the_next_one(
    editor: Editor, host: ComfyUI, upload: Callable[[Path], str], tmp_path: Path
) -> None:
    node, hiss = "UniTalkingEncodeVoiceReference", tmp_path / "hiss.wav"
    with wave.open(str(hiss), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", "not compressed"))
        file.writeframes(random.Random(0).randbytes(2 * 16000))
    first, second = upload(ROOT / "assets" / "voices" / "martin_deep.flac"), upload(hiss)
    editor.open()  # which knows the files now
    editor.open_template(WORKFLOW)
    of_the_sample = wait_for_text(editor, node, "Verdict: good")
    editor.page.evaluate(LOAD_AUDIO, first)
    report = host.get(f"/unitalking/voice?recording={first}")["report"]
    assert wait_for_text(editor, node, f"^{re.escape(report)}$") != of_the_sample
    editor.page.evaluate(SET, ["LoadAudio", "audio", second])
    wait_for_text(editor, node, "Verdict: too short")
    editor.shoot("recording_judged")
    assert f"filename={second}" in played(editor, node)
    editor.page.evaluate(UNPLUG)
    wait_for_text(editor, node, f"^{re.escape(of_the_sample)}$")
    editor.page.evaluate(SET, [node, "sample_voice", "none"])
    wait_for_text(editor, node, "needs a sample voice, or Load Audio")
    assert editor.errors == []


def test_a_late_answer_about_an_earlier_voice_is_not_shown(editor: Editor, host: ComfyUI) -> None:
    node, held = "UniTalkingEncodeVoiceReference", []
    editor.open_template(WORKFLOW)
    editor.page.route("**/unitalking/voice?sample=martin_deep", lambda route: held.append(route))
    with editor.page.expect_request("**/unitalking/voice?sample=martin_deep") as asked:
        editor.page.evaluate(SET, [node, "sample_voice", "martin_deep"])
    editor.page.evaluate(SET, [node, "sample_voice", "clara_calm"])
    report = host.get("/unitalking/voice?sample=clara_calm")["report"]
    wait_for_text(editor, node, f"^{re.escape(report)}$")
    (route,) = held
    route.continue_()
    assert asked.value.response().json()["report"] != report
    editor.page.wait_for_timeout(500)
    assert editor.page.evaluate(SHOWN, node) == report


def open_load_voice(editor: Editor) -> None:
    """Adds the node to an example: until one is open, the editor may still load a graph of its own."""
    editor.open_template(WORKFLOW)
    editor.page.evaluate("() => app.graph.add(LiteGraph.createNode('UniTalkingLoadVoice'))")


def test_a_kept_voice_can_be_heard(editor: Editor) -> None:
    open_load_voice(editor)
    editor.page.evaluate(SET, ["UniTalkingLoadVoice", "voice_file", "martin_deep.safetensors"])
    wait_for_text(editor, "UniTalkingLoadVoice", "Verdict: good")
    assert played(editor, "UniTalkingLoadVoice").endswith("/unitalking/voice/sound?file=martin_deep.safetensors")
    editor.shoot("kept_voice")
    assert editor.errors == []


def test_why_a_kept_voice_cannot_be_heard_is_said_on_its_node(editor: Editor) -> None:
    open_load_voice(editor)
    editor.page.evaluate(SET, ["UniTalkingLoadVoice", "voice_file", "gone.safetensors"])
    editor.page.evaluate(SET, ["UniTalkingLoadVoice", "play", None])
    wait_for_text(editor, "UniTalkingLoadVoice", "gone.safetensors was not found")


def test_help_opens_on_every_node(editor: Editor) -> None:
    editor.open_template(WORKFLOW)
    names = list(json.loads((ROOT / "node_list.json").read_text(encoding="utf-8")))
    assert len(names) > 20
    for name in names:
        help_opens(editor, name)
    assert editor.errors == []


def help_opens(editor: Editor, node_type: str) -> None:
    """Adds a node, clicks its info button, and waits for the picture, the first words and the table of its page."""
    editor.page.evaluate("type => { app.graph.clear(); app.graph.add(LiteGraph.createNode(type)) }", node_type)
    editor.select(node_type)
    editor.page.get_by_test_id("info-button").click()
    page = (ROOT / "web" / "docs" / f"{node_type}.md").read_text(encoding="utf-8")
    sentence = next(line for line in page.splitlines()[1:] if line.strip() and not line.startswith("!"))
    plain = re.sub(r"[`*]", "", sentence)
    shown = f".node-help-content img[src*='{node_type}.jpg']"
    editor.page.wait_for_function("place => document.querySelector(place)?.naturalWidth > 100", arg=shown)
    help_page = editor.page.locator(".node-help-content")
    help_page.get_by_text(plain[:60]).first.wait_for()
    assert help_page.get_by_role("table").count() > 0
    editor.shoot(f"help_{node_type}")


def test_a_saved_clip_dropped_onto_the_editor_brings_its_graph_back(editor: Editor, host: ComfyUI) -> None:
    workflow = json.loads((ROOT / "workflows" / f"{WORKFLOW}.json").read_text(encoding="utf-8"))
    prompt = to_prompt(workflow, host.object_info())
    with ThreadPoolExecutor(1) as other_thread:  # the browser's driver has an event loop in this one
        file = only_file(host, other_thread.submit(host.queue, prompt, workflow, timeout_s=120).result())
    place = file.relative_to(host.base_directory / "output")
    view = f"{host.url}/api/view?filename={place.name}&subfolder={place.parent}&type=output"
    assert editor.prompt() != prompt
    editor.page.evaluate(DROP, [view, place.name])
    editor.page.wait_for_function("() => app.graph.nodes.some(node => node.type === 'UniTalkingSaveMP4')")
    assert editor.wrong_nodes == []
    assert editor.prompt() == prompt
    editor.shoot("dropped_clip", whole_graph=True)
    assert editor.errors == []


@pytest.mark.parametrize("name", [WORKFLOW, "best_of_four"])
def test_nodes_2_0_draw_the_same_graph(editor: Editor, host: ComfyUI, name: str) -> None:
    editor.set("Comfy.VueNodes.Enabled", True)
    editor.open()
    editor.open_template(name)
    assert editor.wrong_nodes == []
    workflow = json.loads((ROOT / "workflows" / f"{name}.json").read_text(encoding="utf-8"))
    assert editor.prompt() == to_prompt(workflow, host.object_info())
    editor.page.get_by_text("Show advanced inputs").first.wait_for()
    editor.shoot(f"nodes_2_0_{name}", whole_graph=True)
    assert editor.errors == []


@pytest.mark.parametrize("language", ["zh", "ja", "es"])
def test_the_editor_speaks_the_users_language(editor: Editor, host: ComfyUI, language: str) -> None:
    node_type = "UniTalkingTextPrompt"
    texts = json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))[node_type]
    editor.set("Comfy.Locale", language)
    editor.open()
    editor.open_template(WORKFLOW)
    shown = editor.page.evaluate(
        """type => {
            const node = app.graph.nodes.find(node => node.type === type)
            return [node.title, node.widgets.map(widget => widget.label)]
        }""",
        node_type,
    )
    assert shown[0] == texts["display_name"]
    assert texts["inputs"]["prompt_style"]["name"] in shown[1]
    workflow = json.loads((ROOT / "workflows" / f"{WORKFLOW}.json").read_text(encoding="utf-8"))
    assert editor.prompt() == to_prompt(workflow, host.object_info()), "values are not translated"
    editor.select(node_type)
    editor.page.get_by_test_id("info-button").click()
    page = (ROOT / "web" / "docs" / node_type / f"{language}.md").read_text(encoding="utf-8")
    heading = page.splitlines()[0].lstrip("# ")
    editor.page.locator(".node-help-content").get_by_role("heading", name=heading).wait_for()
    editor.shoot(f"language_{language}")
    assert editor.errors == []
