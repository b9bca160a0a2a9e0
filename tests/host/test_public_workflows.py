"""The example workflows of public weights, run in the host with small files under the published names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from graphs import Media, only_file, read_media
from public_files import OVI, WAN, network, ovi_published, wan_native
from safetensors.torch import save_file

from unitalking.checkpoint.random_model import TINY, write_random
from unitalking.client.workflow import to_prompt

if TYPE_CHECKING:
    from comfyui import ComfyUI

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
PARTS = "small_parts.safetensors"
LOADER = "UniTalkingModelLoader"


def workflow(name: str) -> dict[str, Any]:
    return json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))


def loader(name: str) -> dict[str, Any]:
    (node,) = (node for node in workflow(name)["nodes"] if node["type"] == LOADER)
    return node


@pytest.fixture(scope="module")
def small_host(host: ComfyUI) -> Iterator[ComfyUI]:
    """The host with a small Ovi and a small Wan2.2 in place of the published files, and small codecs in a bundle."""
    models = host.base_directory / "models"
    channels = {"in_dim": OVI.in_dim, "out_dim": OVI.in_dim}
    codec = {**TINY.video_vae, "latent_channels": OVI.in_dim}
    parts = models / "unitalking" / PARTS
    parts.parent.mkdir(exist_ok=True)
    write_random(parts, replace(TINY, **channels, video_vae=codec), 0)
    text = {"text_dim": TINY.text_dim}
    files = {
        loader("ovi_talking_video")["widgets_values"][0]: ovi_published(network(replace(OVI, **text))),
        loader("wan_video_only")["widgets_values"][0]: wan_native(network(replace(WAN, **text))),
    }
    written = [parts]
    for name, tensors in files.items():
        path = models / "diffusion_models" / name
        path.parent.mkdir(exist_ok=True)
        save_file({key: value.contiguous() for key, value in tensors.items()}, path)
        written.append(path)
    yield host
    for path in written:
        path.unlink()


def run(host: ComfyUI, name: str) -> Media:
    """The file that a workflow makes at 64 x 64 pixels in two steps."""
    graph = workflow(name)
    prompt = to_prompt(graph, host.object_info())
    changes = {
        LOADER: dict.fromkeys(("text_encoder", "video_vae", "audio_codec"), PARTS),
        "UniTalkingEmptyLatent": {"width": 64, "height": 64},
        "UniTalkingJointSampler": {"steps": 2},
    }
    for node in prompt.values():
        node["inputs"] |= changes.get(node["class_type"], {})
    host.free()
    return read_media(only_file(host, host.queue(prompt, graph, timeout_s=300)))


def test_ovi_makes_a_clip_of_its_own_length_with_sound(small_host: ComfyUI) -> None:
    media = run(small_host, "ovi_talking_video")
    assert len(media.pictures) == 121
    assert media.codecs == ("h264", "aac")
    picture, sound = media.lengths_s
    assert abs(picture - sound) <= 1 / media.fps
    assert abs(media.sound).max() > 0


def test_wan_makes_a_silent_clip(small_host: ComfyUI) -> None:
    media = run(small_host, "wan_video_only")
    assert media.codecs == ("h264",)
    assert len(media.pictures) == 121


@pytest.mark.parametrize("name", ["ovi_talking_video", "wan_video_only"])
def test_the_graph_says_which_files_it_needs_and_where_they_are(name: str) -> None:
    node = loader(name)
    files = node["properties"]["models"]
    for file in files:
        assert file["url"].startswith("https://")
        assert file["url"].endswith(f"/{file['name']}")
        assert file["directory"] in ("diffusion_models", "text_encoders", "vae")
    named = {value for value in node["widgets_values"] if value.endswith(".safetensors")}
    assert named <= {file["name"] for file in files}
    assert len(named) >= 3
