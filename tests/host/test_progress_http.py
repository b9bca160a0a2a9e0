"""What a person sees while it runs, and that Cancel works at every stage and loses nothing."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from comfyui_events import Event, PromptInterrupted
from graphs import HEIGHT, WIDTH, Clip, Graph, Node, assert_runs, output_files, texts
from PIL import Image

if TYPE_CHECKING:
    from comfyui import ComfyUI
    from comfyui_events import Result

STEPS = 3


@pytest.fixture(scope="module")
def watched(host: ComfyUI) -> tuple[Clip, dict[str, Node], Result]:
    """A clip made with nothing cached, its nodes by name, and what was seen."""
    host.free()
    clip = Clip(host, width=50, height=70, frames=10)
    voice = clip.add("UniTalkingEncodeVoiceReference", audio_vae=clip.model[3])
    clip.speak_as(voice)
    sampler = clip.joint(steps=STEPS)
    decode = clip.decode(sampler[0])
    nodes = {"voice": voice, "text": clip.text, "empty": clip.empty, "sampler": sampler, "decode": decode}
    nodes["save"] = clip.save(decode)
    return clip, nodes, clip.run()


def previews(result: Result, node: Node) -> list[bytes]:
    return [event.image for event in result.of_kind("preview") if event.data.get("node_id") == node.id]


def test_our_sampler_shows_a_preview_after_every_step(watched: tuple[Clip, dict[str, Node], Result]) -> None:
    _, nodes, result = watched
    images = previews(result, nodes["sampler"])
    assert len(images) == STEPS
    for data in images:
        with Image.open(io.BytesIO(data)) as image:
            assert image.width == image.height  # 64 x 64 after rounding


def test_ksampler_shows_a_preview_after_every_step(host: ComfyUI) -> None:
    clip = Clip(host, height=2 * HEIGHT)
    sampler = clip.ksampler(seed=3, steps=STEPS)
    clip.finish(sampler[0])
    images = previews(clip.run(), sampler)
    assert len(images) == STEPS
    with Image.open(io.BytesIO(images[-1])) as image:
        assert image.height / image.width == 2 * HEIGHT / WIDTH
        assert image.convert("L").getextrema()[0] < image.convert("L").getextrema()[1]


@pytest.mark.parametrize("stage", ["sampler", "decode", "save"])
def test_long_steps_count_up_to_their_end(watched: tuple[Clip, dict[str, Node], Result], stage: str) -> None:
    _, nodes, result = watched
    counts = [event.data for event in result.of_kind("progress") if event.data["node"] == nodes[stage].id]
    assert counts[-1]["value"] == counts[-1]["max"] > 1
    values = [count["value"] for count in counts]
    assert values == sorted(values)


def test_every_stage_says_what_it_does(watched: tuple[Clip, dict[str, Node], Result]) -> None:
    _, nodes, result = watched
    shown = {name: "\n".join(texts(result, node)) for name, node in nodes.items()}
    assert "Verdict: good." in shown["voice"]
    assert shown["text"].splitlines() == ["<S>Hi.<E>", "25 frames planned"]
    assert "size 50x70 rounded to 64x64" in shown["empty"]
    assert f"{STEPS} steps x 2 passes" in shown["sampler"]
    assert "memory" in shown["sampler"]
    assert f"step {STEPS} of {STEPS}" in shown["sampler"]
    assert ".mp4" in shown["save"]


def test_cost_is_said_before_the_first_step(watched: tuple[Clip, dict[str, Node], Result]) -> None:
    _, nodes, result = watched
    events = [event for event in result.events if nodes["sampler"].id in event.data.values()]
    kinds = [event.kind for event in events if event.kind in ("text", "progress", "preview")]
    assert kinds[0] == "text"
    assert "tokens" in texts(result, nodes["sampler"])[0]


def test_what_was_shown_stays_on_the_node(watched: tuple[Clip, dict[str, Node], Result]) -> None:
    _, nodes, result = watched
    assert "25 frames planned" in result.outputs[nodes["text"].id]["text"][0]
    assert "Verdict" in result.outputs[nodes["voice"].id]["text"][0]


def test_what_was_shown_comes_back_from_the_cache(host: ComfyUI) -> None:
    shown = []
    for seed in (1, 2):  # the second run samples anew and takes all else from the host's cache
        clip = Clip(host)
        voice = clip.add("UniTalkingEncodeVoiceReference", audio_vae=clip.model[3])
        clip.speak_as(voice)
        portrait = clip.add("UniTalkingPortrait", latent=clip.empty[0], vae=clip.model[2])
        clip.finish(clip.joint(portrait[0], seed=seed)[0])
        outputs = clip.run().outputs
        shown.append([outputs[clip.text.id]["text"], outputs[voice.id]["text"], outputs[portrait.id]["images"]])
    assert shown[0] == shown[1]


def cancelled(graph: Graph, when: Callable[[Event], bool]) -> None:
    """Cancels a run at the first event that fits; no file may be left or lost, and the next clip is made."""
    host, before = graph.host, output_files(graph.host)
    done: list[Event] = []

    def cancel(event: Event) -> None:
        if not done and when(event):
            done.append(event)
            host.interrupt()

    with pytest.raises(PromptInterrupted) as caught:
        graph.run(on_event=cancel)
    number, history = caught.value.details["prompt_id"], {}
    while number not in history:  # written just after the event
        history = host.get(f"/history/{number}")
    entry = history[number]
    assert entry["status"]["completed"] is False
    assert "execution_interrupted" in [kind for kind, _ in entry["status"]["messages"]]
    assert output_files(host) == before
    assert_runs(host)


def reached(node: Node, kind: str) -> Callable[[Event], bool]:
    return lambda event: event.kind == kind and event.data.get("node") == node.id


@pytest.mark.parametrize("sampler", ["joint", "ksampler"])
def test_cancel_while_sampling(host: ComfyUI, sampler: str) -> None:
    clip = Clip(host)
    node = getattr(clip, sampler)(steps=1000, seed=71)
    clip.finish(node[0])
    cancelled(clip, reached(node, "progress"))


def test_cancel_while_decoding(host: ComfyUI) -> None:
    clip = Clip(host, batch_size=48)
    decode = clip.decode(clip.empty[0])
    clip.save(decode)
    cancelled(clip, reached(decode, "executing"))


def test_cancel_while_saving_leaves_no_half_file(host: ComfyUI) -> None:
    graph = Graph(host)
    pictures = graph.add("EmptyImage", width=192, height=192, batch_size=600, color=77)
    save = graph.add("UniTalkingSaveMP4", images=pictures[0], filename_prefix="video/cancelled")
    cancelled(graph, reached(save, "progress"))
