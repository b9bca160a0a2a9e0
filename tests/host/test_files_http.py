"""Files in and out of a running ComfyUI: what Save MP4 writes and where, uploaded pictures and sounds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from comfyui import ComfyUI
from graphs import (
    FPS,
    FRAMES,
    HEIGHT,
    WIDTH,
    Clip,
    assert_refused,
    only_file,
    only_media,
    read_media,
    texts,
)


def test_workflow_and_prompt_are_in_the_file(host: ComfyUI) -> None:
    clip = Clip(host)
    clip.finish(clip.joint()[0])
    workflow = {"nodes": [], "marker": "äöü <>&"}
    media = only_media(host, clip.run(workflow, fresh=True))
    assert json.loads(media.metadata["workflow"]) == workflow
    assert json.loads(media.metadata["prompt"]) == clip.prompt
    assert "generated" in media.metadata["comment"]


@pytest.mark.parametrize("codec", ["aac", "flac", "alac"])
def test_sound_codecs(host: ComfyUI, codec: str) -> None:
    clip = Clip(host)
    clip.finish(clip.joint()[0], audio_codec=codec)
    media = only_media(host, clip.run())
    assert media.codecs == ("h264", codec)
    assert media.lengths_s == (FRAMES / FPS, FRAMES / FPS)
    assert np.abs(media.sound).max() > 0


def test_lower_crf_is_larger_and_lossless_keeps_more(host: ComfyUI) -> None:
    clip = Clip(host)
    decoded = clip.decode(clip.joint()[0])
    nodes = [clip.save(decoded, **settings) for settings in ({"crf": 40}, {"crf": 10}, {"lossless": True})]
    result = clip.run()
    items = [result.outputs[node.id]["images"][0] for node in nodes]
    sizes = [host.output_path(item).stat().st_size for item in items]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[1] / 2


def test_loudness_target_is_reached_and_said(host: ComfyUI) -> None:
    clip = Clip(host, frames=49)
    node = clip.finish(clip.joint()[0], loudness=-30.0)
    assert "to -30.0 LUFS" in texts(clip.run(fresh=True), node)[-1]


def test_the_same_pictures_give_the_same_file(pack: Callable[[str], ModuleType], tmp_path: Path) -> None:
    rough = torch.rand(1, 3, FRAMES, 16, 16, generator=torch.Generator().manual_seed(0))
    pictures = torch.nn.functional.interpolate(rough, size=(FRAMES, HEIGHT, WIDTH), mode="trilinear")[0].movedim(0, -1)
    settings = {"fps": 24, "crf": 18, "lossless": False, "audio_codec": "aac", "audio_bitrate_kbps": 192}
    files, elsewhere = set(), []
    for index in range(15):
        elsewhere.append(bytes(1000 + 7919 * index))  # x264 may not read what other memory holds
        path = tmp_path / "clip.mp4"
        pack("nodes.mp4").write_mp4(path, pictures, None, **settings, loudness_lufs=None, metadata={})
        files.add(path.read_bytes())
    assert len(files) == 1


def test_enlarged_pictures_keep_the_sound(host: ComfyUI) -> None:
    clip = Clip(host)
    decoded = clip.decode(clip.joint()[0])
    larger = clip.add("ImageScaleBy", image=decoded[0], upscale_method="bicubic", scale_by=2.5)
    clip.save(decoded, images=larger[0])
    media = only_media(host, clip.run())
    assert media.pictures.shape == (FRAMES, 160, 160, 3)
    assert media.codecs == ("h264", "aac")


def test_a_video_goes_in_and_comes_out(host: ComfyUI) -> None:
    clip = Clip(host)
    decoded = clip.decode(clip.joint()[0])
    ours = clip.add("UniTalkingSaveMP4", video=decoded[2])
    stock = clip.add("SaveVideo", video=ours[0], codec="auto")
    result = clip.run()
    first, second = (read_media(host.output_path(result.outputs[node.id]["images"][0])) for node in (ours, stock))
    assert first.codecs == second.codecs == ("h264", "aac")
    assert first.pictures.shape == (FRAMES, HEIGHT, WIDTH, 3)
    assert (first.pictures == second.pictures).all()


def test_the_node_previews_its_file(host: ComfyUI) -> None:
    clip = Clip(host)
    node = clip.finish(clip.joint()[0], filename_prefix="here/there")
    result = clip.run()
    assert result.outputs[node.id]["animated"] == [True]
    (item,) = result.outputs[node.id]["images"]
    assert (item["type"], item["subfolder"]) == ("output", "here")
    assert item["filename"].startswith("there_")


def test_files_are_numbered(host: ComfyUI) -> None:
    names = []
    for seed in (1, 2):
        clip = Clip(host)
        clip.finish(clip.joint(seed=seed)[0], filename_prefix="numbered")
        names.append(only_file(host, clip.run()).name)
    assert names == ["numbered_00001_.mp4", "numbered_00002_.mp4"]


@pytest.mark.parametrize("prefix", ["../outside", "/tmp/outside", "a/../../outside"])
def test_a_prefix_cannot_leave_the_output_folder(host: ComfyUI, prefix: str) -> None:
    clip = Clip(host)
    clip.finish(clip.joint()[0], filename_prefix=prefix)
    around = set(host.base_directory.parent.iterdir()) | set(host.base_directory.iterdir())
    assert_refused(clip, "UniTalkingSaveMP4", "outside the output folder is not allowed")
    assert set(host.base_directory.parent.iterdir()) | set(host.base_directory.iterdir()) == around


@pytest.mark.parametrize(("wires", "message"), [([], "neither images nor a video"), (["both"], "images and a video")])
def test_what_is_not_wired_is_said(host: ComfyUI, wires: list[str], message: str) -> None:
    clip = Clip(host)
    decoded = clip.decode(clip.joint()[0])
    given = {"images": decoded[0], "video": decoded[2]} if wires else {}
    clip.add("UniTalkingSaveMP4", **given)
    assert_refused(clip, "UniTalkingSaveMP4", f"Save MP4: {message} (is|are) wired: wire images")


def test_missing_sound_is_said(host: ComfyUI) -> None:
    clip = Clip(host)
    node = clip.add("UniTalkingSaveMP4", images=clip.decode(clip.joint()[0])[0])
    result = clip.run(fresh=True)
    assert only_media(host, result).codecs == ("h264",)
    assert "No sound was given" in texts(result, node)[0]


def test_speed_of_the_file_is_that_of_the_clip(host: ComfyUI) -> None:
    clip = Clip(host)
    clip.save(clip.decode(clip.joint()[0], fps=12.0))
    media = only_media(host, clip.run())
    assert (media.fps, media.lengths_s) == (12, (FRAMES / 12, FRAMES / 12))


@pytest.mark.slow
def test_disable_metadata_keeps_the_graph_out_of_the_file(comfyui_path: Path, tmp_path: Path) -> None:
    with ComfyUI(comfyui_path, tmp_path, extra_args=("--cpu", "--disable-metadata")) as server:
        clip = Clip(server)
        clip.finish(clip.joint()[0])
        media = only_media(server, clip.run({"nodes": []}))
    assert not {"workflow", "prompt"} & set(media.metadata)
    assert "generated" in media.metadata["comment"]
