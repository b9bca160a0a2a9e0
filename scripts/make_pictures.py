"""Makes the README's moving picture and the picture of the graph after a run.

Usage: python scripts/make_pictures.py [talking] [graph] (in the environment that scripts/environment.py builds;
the graph needs a browser, see browser.py). Both show what the pack's own model makes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import av
from comfyui import ComfyUI, temporary_server
from editor_page import editor_page
from PIL import Image

from unitalking.client.workflow import set_input, to_prompt

ROOT = Path(__file__).resolve().parent.parent
WORKFLOW = ROOT / "workflows" / "talking_portrait_voice.json"
PICTURES = ROOT / "docs" / "pictures"
SIDE, QUALITY = 256, 60
# Portrait, voice, words; one after the other from left to right.
SPEAKERS = (
    ("amara", "alice_clear", "Good morning, it is good to see you."),
    ("joseph", "martin_deep", "The little river runs to the sea."),
    ("lena", "clara_calm", "I can say every word that you write."),
)
FINISHED = "() => window.finished && document.querySelector('video')?.readyState >= 3"


def talking(server: ComfyUI) -> Path:
    """Three people side by side, each speaking in turn while the others wait."""
    info, clips = server.object_info(), []
    for portrait, voice, words in SPEAKERS:
        prompt = to_prompt(json.loads(WORKFLOW.read_text(encoding="utf-8")), info)
        set_input(prompt, "UniTalkingPortrait", "sample_portrait", portrait, info)
        set_input(prompt, "UniTalkingEncodeVoiceReference", "sample_voice", voice, info)
        set_input(prompt, "UniTalkingTextPrompt", "speech", words, info)
        result = server.queue(prompt, timeout_s=600)
        (saved,) = (server.output_path(item) for item in result.files() if item["type"] == "output")
        with av.open(str(saved)) as container:
            frames = [frame.to_image().resize((SIDE, SIDE)) for frame in container.decode(video=0)]
        clips.append(frames[::2])  # twelve a second are enough for a page
    strips = []
    for turn, frames in enumerate(clips):
        for frame in frames:
            strip = Image.new("RGB", (SIDE * len(clips), SIDE))
            for place, own in enumerate(clips):
                strip.paste(frame if place == turn else own[0] if place > turn else own[-1], (place * SIDE, 0))
            strips.append(strip)
    path = PICTURES / "talking.webp"
    options = {"save_all": True, "append_images": strips[1:], "duration": round(2000 / 24), "loop": 0}
    strips[0].save(path, quality=QUALITY, method=6, **options)
    return path


def graph(server: ComfyUI) -> Path:
    """The example in the real editor after its run."""
    path, shot = PICTURES / "graph.jpg", PICTURES / "graph.png"
    with editor_page(server, scale=1.25) as page:
        page.evaluate("async graph => await app.loadGraphData(graph)", json.loads(WORKFLOW.read_text(encoding="utf-8")))
        page.evaluate("() => app.api.addEventListener('execution_success', () => { window.finished = true })")
        page.get_by_test_id("queue-button").click()
        page.wait_for_function(FINISHED, timeout=300_000)
        page.evaluate("() => app.extensionManager.command.execute('Comfy.Canvas.FitView')")
        page.evaluate("() => { document.querySelector('video').currentTime = 1 }")
        page.wait_for_timeout(1500)
        page.screenshot(path=shot)
    Image.open(shot).convert("RGB").save(path, quality=88)
    shot.unlink()
    return path


def main(names: list[str]) -> int:
    """Makes the pictures that are named, or both."""
    makers = {"talking": talking, "graph": graph}
    with temporary_server() as server:
        for name in names or makers:
            print(makers[name](server))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
