"""The example workflows that pass pictures on to stock nodes, run in the host with small files of the same kinds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from chained_models import LOADERS, SCALE, chained_models, model_file, workflow
from graphs import Media, only_file, read_media

from unitalking.client.workflow import set_input, to_prompt

if TYPE_CHECKING:
    from comfyui import ComfyUI


@pytest.fixture(scope="module")
def chained_host(host: ComfyUI, comfy_imports: Path) -> Iterator[ComfyUI]:
    """The host with random models in place of the published upscaler and interpolation model."""
    with chained_models(host):
        yield host


def run(host: ComfyUI, name: str) -> Media:
    """What the workflow saves of one face, every sample and pixel kept, from few steps."""
    info = host.object_info()
    prompt = to_prompt(workflow(name), info)
    set_input(prompt, "UniTalkingPortrait", "sample_portrait", "amara", info)
    set_input(prompt, "UniTalkingJointSampler", "steps", 3, info)
    set_input(prompt, "UniTalkingSaveMP4", "audio_codec", "flac", info)
    set_input(prompt, "UniTalkingSaveMP4", "lossless", True, info)
    return read_media(only_file(host, host.queue(prompt, timeout_s=120)))


def test_larger_pictures_have_the_same_sound(chained_host: ComfyUI) -> None:
    plain, larger = (run(chained_host, name) for name in ("talking_portrait_voice", "with_upscaler"))
    assert np.array_equal(larger.sound, plain.sound)
    assert np.abs(plain.sound).max() > 0
    frames, height, width, channels = plain.pictures.shape
    assert larger.pictures.shape == (frames, SCALE * height, SCALE * width, channels)
    assert larger.fps == plain.fps


def test_twice_as_many_pictures_last_as_long_and_have_the_same_sound(chained_host: ComfyUI) -> None:
    plain, smooth = (run(chained_host, name) for name in ("talking_portrait_voice", "with_frame_interpolation"))
    assert np.array_equal(smooth.sound, plain.sound)
    assert smooth.fps == 2 * plain.fps
    assert smooth.pictures.shape == (2 * len(plain.pictures), *plain.pictures.shape[1:])
    assert np.array_equal(smooth.pictures[::2], plain.pictures), "the given pictures stay as they are"
    assert np.array_equal(smooth.pictures[-1], plain.pictures[-1])
    between = torch.from_numpy(smooth.pictures[1:-1:2]).float()
    assert (between - torch.from_numpy(plain.pictures[:-1]).float()).abs().mean() > 0.01


@pytest.mark.parametrize("name", LOADERS)
def test_the_graph_says_where_its_model_comes_from(name: str) -> None:
    file = model_file(name)
    assert file["url"].startswith("https://")
    assert file["url"].endswith(f"/{file['name']}")
    (note,) = (node for node in workflow(name)["nodes"] if node["type"] == "MarkdownNote")
    assert f"[{file['name']}]({file['url']})" in note["widgets_values"][0]
    assert f"models/{file['directory']}" in note["widgets_values"][0]
