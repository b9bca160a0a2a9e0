"""Stock nodes on our sockets and ours on theirs, in a running ComfyUI; bit for bit where the design promises it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from graphs import (
    FPS,
    FRAMES,
    HEIGHT,
    WIDTH,
    Clip,
    Node,
    kept_latents,
    only_media,
    read_media,
    read_sound,
    saved_files,
)
from PIL import Image
from tiny_model import TINY_MODEL
from torch import Tensor

if TYPE_CHECKING:
    from comfyui import ComfyUI
    from comfyui_events import Result

RATE = 16000  # of the tiny random model
SAMPLES = round(FRAMES / FPS * RATE)


def streams(clip: Clip, latent: list[Any]) -> list[Tensor]:
    """Picture and sound latents of a node."""
    nodes = clip.keep(latent)
    return kept_latents(clip.host, clip.run(), nodes)


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    """Whether both streams are the same bit for bit, and something."""
    return all(torch.equal(a, b) and float(a.std()) > 0.1 for a, b in zip(first, second, strict=True))


def pictures(host: ComfyUI, result: Result) -> np.ndarray:
    """PNG files of a result, (F, H, W, 3)."""
    paths = [path for path in saved_files(host, result) if path.suffix == ".png"]
    return np.stack([np.asarray(Image.open(path)) for path in sorted(paths)])


def advanced(clip: Clip, noise: Node, sampler: Node, sigmas: Node, **guidance: float) -> list[Any]:
    """SamplerCustomAdvanced with Joint Guider; its output."""
    guider = clip.add("UniTalkingJointGuider", **clip.conditioned(), **guidance)
    parts = {"noise": noise[0], "guider": guider[0], "sampler": sampler[0], "sigmas": sigmas[0]}
    return clip.add("SamplerCustomAdvanced", **parts, latent_image=clip.empty[0])[0]


def test_ksampler_equals_the_guider_with_stock_parts(host: ComfyUI) -> None:
    one, other = Clip(host), Clip(host)
    expected = streams(one, one.ksampler(seed=11, cfg=2.5)[0])
    noise, sampler = other.add("RandomNoise", noise_seed=11), other.add("KSamplerSelect", sampler_name="euler")
    sigmas = other.add("BasicScheduler", model=other.model[0], scheduler="simple", steps=2, denoise=1.0)
    guidance = {"guidance_video": 2.5, "guidance_audio": 2.5}
    assert same(streams(other, advanced(other, noise, sampler, sigmas, **guidance)), expected)


def test_joint_sampler_equals_its_parts(host: ComfyUI) -> None:
    one, other = Clip(host), Clip(host)
    guidance = {"guidance_video": 3.0, "guidance_audio": 1.5}
    expected = streams(one, one.joint(seed=12, sigma_shift=4.0, **guidance)[0])
    noise, sampler = other.add("UniTalkingNoise", seed=12), other.add("UniTalkingFlowUniPC")
    sigmas = other.add("UniTalkingSigmas", model=other.model[0], steps=2, shift=4.0)
    assert same(streams(other, advanced(other, noise, sampler, sigmas, **guidance)), expected)


def test_shift_of_a_stock_node_is_left_in_charge(host: ComfyUI) -> None:
    one, other = Clip(host), Clip(host)
    shifted = one.add("ModelSamplingSD3", model=one.model[0], shift=4.0)
    expected = streams(one, one.joint(model=shifted[0])[0])
    assert same(streams(other, other.joint(sigma_shift=4.0)[0]), expected)
    plain = Clip(host)
    assert not same(streams(plain, plain.joint()[0]), expected)


def test_stock_text_drives_picture_and_sound(host: ComfyUI) -> None:
    found = []
    for words in ("Good morning", "A (loud:1.9) dog"):
        clip = Clip(host)
        positive, negative = (clip.add("CLIPTextEncode", clip=clip.model[1], text=text) for text in (words, ""))
        found.append(streams(clip, clip.ksampler(positive=positive[0], negative=negative[0])[0]))
    for first, second in zip(*found, strict=True):
        assert float((first - second).norm() / first.norm()) > 1e-3


def test_the_same_seed_gives_the_same_clip_and_another_another(host: ComfyUI) -> None:
    found = []
    for seed in (21, 21, 22):
        host.free()
        clip = Clip(host)
        found.append(streams(clip, clip.joint(seed=seed)[0]))
    assert same(found[0], found[1])
    assert [torch.equal(a, b) for a, b in zip(found[0], found[2], strict=True)] == [False, False]


def test_preset_and_model_decide_where_widgets_are_zero(host: ComfyUI) -> None:
    one, other = Clip(host), Clip(host)
    expected = streams(one, one.joint(steps=0, preset="draft")[0])
    given = {"guidance_video": 2.5, "guidance_audio": 2.5, "sigma_shift": 2.0}
    assert same(streams(other, other.joint(steps=3, **given)[0]), expected)


def test_stock_decoders_give_what_decode_av_gives(host: ComfyUI) -> None:
    ours, stock = Clip(host), Clip(host)
    decoded = ours.decode(ours.joint(seed=31)[0])
    sound = ours.add("SaveAudio", audio=decoded[1])
    ours.add("SaveImage", images=decoded[0])
    expected = ours.run()
    latent = stock.joint(seed=31)[0]
    stock.add("SaveImage", images=stock.add("VAEDecode", samples=latent, vae=stock.model[2])[0])
    other = stock.add("SaveAudio", audio=stock.add("VAEDecodeAudio", samples=latent, vae=stock.model[3])[0])
    result = stock.run()
    assert pictures(host, result).shape == (FRAMES, HEIGHT, WIDTH, 3)
    assert (pictures(host, result) == pictures(host, expected)).all()
    given, wanted = read_sound(host, result, other), read_sound(host, expected, sound)
    assert wanted.shape == (2, SAMPLES)
    # The stock node turns loud sound down; ours leaves the loudness alone.
    gain = float((given[:, :SAMPLES] * wanted).sum() / np.square(wanted).sum())
    assert gain <= 1.001
    assert np.abs(given[:, :SAMPLES] - gain * wanted).max() < 1e-3


def test_stock_tiled_decoding_takes_the_separated_picture(host: ComfyUI) -> None:
    clip = Clip(host, width=128, height=96)
    latent = clip.joint()[0]
    video = clip.add("LTXVSeparateAVLatent", av_latent=latent)[0]
    sizes = {"tile_size": 64, "overlap": 32, "temporal_size": 64, "temporal_overlap": 8}
    tiled = clip.add("VAEDecodeTiled", samples=video, vae=clip.model[2], **sizes)
    clip.add("SaveImage", images=tiled[0])
    assert pictures(host, clip.run()).shape == (FRAMES, 96, 128, 3)


def test_decoding_in_tiles_is_close_to_decoding_at_once(host: ComfyUI) -> None:
    found = []
    for tiled in (False, True):
        clip = Clip(host, width=320, height=64, frames=5)
        clip.add("SaveImage", images=clip.decode(clip.joint()[0], tiled=tiled)[0])
        found.append(pictures(host, clip.run()).astype(float))
    assert found[0].shape == found[1].shape == (5, 64, 320, 3)
    assert np.abs(found[0] - found[1]).mean() < 2
    assert np.abs(found[0] - found[1]).max() > 0


def test_stock_encoders_give_latents_that_ours_decode(host: ComfyUI) -> None:
    clip = Clip(host)
    decoded = clip.decode(clip.joint()[0])
    video = clip.add("VAEEncode", pixels=decoded[0], vae=clip.model[2])
    audio = clip.add("VAEEncodeAudio", audio=decoded[1], vae=clip.model[3])
    both = clip.add("LTXVConcatAVLatent", video_latent=video[0], audio_latent=audio[0])
    nodes = clip.keep(both[0])
    again = clip.finish(both[0])
    result = clip.run()
    shapes = [tuple(part.shape) for part in kept_latents(host, result, nodes)]
    assert shapes == [(1, 24, 3, HEIGHT // 16, WIDTH // 16), (1, 20, SAMPLES // 512)]
    item = result.outputs[again.id]["images"][0]
    assert read_media(host.output_path(item)).pictures.shape == (FRAMES, HEIGHT, WIDTH, 3)


def test_encoded_clip_can_be_changed_in_part(host: ComfyUI) -> None:
    clip = Clip(host)
    first = clip.joint(seed=1)
    again = clip.joint(first[0], seed=2, denoise=0.5)
    nodes = [clip.keep(node[0]) for node in (first, again)]
    result = clip.run()
    before, after = (kept_latents(host, result, pair) for pair in nodes)
    for one, other in zip(before, after, strict=True):
        assert 1e-3 < float((one - other).norm() / one.norm()) < 2


def test_stock_video_nodes_take_pictures_sound_and_video(host: ComfyUI) -> None:
    clip = Clip(host)
    decoded = clip.decode(clip.joint()[0])
    made = clip.add("CreateVideo", images=decoded[0], audio=decoded[1], fps=decoded[3])
    for video in (made[0], decoded[2]):
        clip.add("SaveVideo", video=video, codec="auto")
    files = [read_media(path) for path in saved_files(host, clip.run())]
    assert len(files) == 2
    for media in files:
        assert media.codecs == ("h264", "aac")
        assert (media.pictures.shape, media.fps) == ((FRAMES, HEIGHT, WIDTH, 3), FPS)


def test_model_saved_by_the_stock_node_loads_and_makes_the_same_clip(host: ComfyUI) -> None:
    first = Clip(host)
    first.add("ModelSave", model=first.model[0], filename_prefix="diffusion_models/same")
    expected = streams(first, first.joint(seed=41)[0])
    (path,) = (host.base_directory / "output" / "diffusion_models").glob("same_*.safetensors")
    try:
        listed = host.get("/object_info/UniTalkingModelLoader")["UniTalkingModelLoader"]["input"]["required"]["model"]
        assert path.name in listed[1]["options"]
        parts = dict.fromkeys(("text_encoder", "video_vae", "audio_codec"), TINY_MODEL.name)
        second = Clip(host, loader={"model": path.name, **parts})
        assert same(streams(second, second.joint(seed=41)[0]), expected)
    finally:
        path.unlink()


def test_two_clips_at_once_give_two_files(host: ComfyUI) -> None:
    clip = Clip(host, batch_size=2)
    latent = clip.joint()[0]
    decoded = clip.decode(latent)
    clip.save(decoded)
    nodes = clip.keep(latent)
    result = clip.run()
    video, audio = kept_latents(host, result, nodes)
    assert (video.shape[0], audio.shape[0]) == (2, 2)
    assert not torch.equal(video[0], video[1])
    files = [read_media(path) for path in saved_files(host, result) if path.suffix == ".mp4"]
    assert [media.pictures.shape for media in files] == 2 * [(FRAMES, HEIGHT, WIDTH, 3)]
    assert (files[0].pictures != files[1].pictures).any()
    assert [media.lengths_s for media in files] == 2 * [(FRAMES / FPS, FRAMES / FPS)]


@pytest.mark.parametrize("sampler", ["joint", "ksampler"])
def test_speech_alone_runs_with_previews_on(host: ComfyUI, sampler: str) -> None:
    clip = Clip(host, streams="sound")
    decoded = clip.decode(getattr(clip, sampler)()[0])
    sound = clip.add("SaveAudio", audio=decoded[1])
    assert read_sound(host, clip.run(), sound).shape == (2, SAMPLES)


def test_a_picture_alone_becomes_a_file_without_sound(host: ComfyUI) -> None:
    clip = Clip(host, streams="picture")
    clip.finish(clip.joint()[0])
    media = only_media(host, clip.run())
    assert (media.codecs, media.pictures.shape) == (("h264",), (FRAMES, HEIGHT, WIDTH, 3))


def test_portrait_is_the_first_picture(host: ComfyUI) -> None:
    clip = Clip(host)
    held = clip.add("UniTalkingPortrait", latent=clip.empty[0], vae=clip.model[2])
    first = clip.keep(held[0])
    after = [clip.keep(node[0]) for node in (clip.joint(held[0]), clip.ksampler(held[0]))]
    result = clip.run()
    given = kept_latents(host, result, first)[0][:, :, 0]
    ours, stock = (kept_latents(host, result, nodes)[0][:, :, 0] for nodes in after)
    assert torch.equal(ours, given)
    assert float((stock - given).abs().max()) < 1e-5
    assert float(given.abs().max()) > 0
