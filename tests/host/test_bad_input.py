"""Latents, codecs, sizes and texts that do not fit: refused in one sentence, or brought into shape and said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from graphs import FRAMES, HEIGHT, WIDTH, Clip, assert_refused, only_media, texts

from unitalking.checkpoint.random_model import TINY, write_random

if TYPE_CHECKING:
    from comfyui import ComfyUI

OTHER = "other.safetensors"
SMALL = {"width": WIDTH, "height": HEIGHT}


@pytest.fixture(scope="module")
def other(host: ComfyUI) -> Iterator[str]:
    """A complete model with other channels and another text encoder, by its name."""
    path = host.base_directory / "models" / "diffusion_models" / OTHER
    parts = {
        "video_vae": {**TINY.video_vae, "latent_channels": 8},
        "audio_codec": {**TINY.audio_codec, "latent_channels": 6},
        "text_encoder": {**TINY.text_encoder, "dim": 32},
    }
    write_random(path, replace(TINY, in_dim=8, out_dim=8, audio_channels=6, text_dim=32, **parts), 1)
    yield path.name
    path.unlink()


class Two(Clip):
    """A clip's graph beside another model's."""

    def __init__(self, host: ComfyUI, other: str) -> None:
        super().__init__(host)
        self.other = self.add("UniTalkingModelLoader", model=other)
        self.other_text = self.add("UniTalkingTextPrompt", model=self.other[0], clip=self.other[1])
        self.other_empty = self.add("UniTalkingEmptyLatent", model=self.other[0], **SMALL, frames=FRAMES)


SAMPLERS = {"joint": "UniTalkingJointSampler", "ksampler": "KSampler"}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_latent_of_another_model(host: ComfyUI, other: str, sampler: str) -> None:
    graph = Two(host, other)
    graph.finish(getattr(graph, sampler)(graph.other_empty[0])[0])
    said = r"shape \(1, 8, 3, 4, 4\) and \(1, 6, 12\), so it belongs to another model; .*: use Empty AV Latent with"
    assert_refused(graph, SAMPLERS[sampler], said)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(
    ("slot", "shape"), [(0, r"\(1, 8, 3, 4, 4\), so it belongs"), (1, r"\(1, 6, 12\); this model")]
)
def test_plain_latent_of_other_channels_or_rank(host: ComfyUI, other: str, sampler: str, slot: int, shape: str) -> None:
    graph = Two(host, other)
    given = {"model": graph.other[0], "positive": graph.other_text[0], "negative": graph.other_text[1]}
    made = graph.add("KSampler", **given, latent_image=graph.other_empty[0], steps=1)
    part = graph.add("LTXVSeparateAVLatent", av_latent=made[0])
    graph.finish(getattr(graph, sampler)(part[slot])[0])
    assert_refused(graph, SAMPLERS[sampler], f"The LATENT has shape {shape}.*use Empty AV Latent with this MODEL")


@pytest.mark.parametrize("node", ["EmptyLatentImage", "EmptyHunyuanLatentVideo", "EmptyLatentAudio"])
def test_empty_latent_of_a_stock_node_is_refused_by_our_sampler(host: ComfyUI, node: str) -> None:
    clip = Clip(host)
    given = {} if node == "EmptyLatentAudio" else SMALL
    clip.finish(clip.joint(clip.add(node, **given)[0])[0])
    assert_refused(clip, "UniTalkingJointSampler", "The LATENT has shape .* use Empty AV Latent with this MODEL")


@pytest.mark.parametrize("node", ["EmptyLatentImage", "EmptyHunyuanLatentVideo"])
def test_the_host_makes_empty_latents_ours_for_its_own_sampler(host: ComfyUI, node: str) -> None:
    clip = Clip(host)
    clip.finish(clip.ksampler(clip.add(node, **SMALL)[0])[0])
    assert only_media(host, clip.run(fresh=True)).codecs == ("h264",)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_text_encoder_of_another_model(host: ComfyUI, other: str, sampler: str) -> None:
    graph = Two(host, other)
    given = {"positive": graph.other_text[0], "negative": graph.other_text[1]}
    graph.finish(getattr(graph, sampler)(**given)[0])
    said = r"conditioning has shape \(1, \d+, 32\), this model takes \(1, rows, 64\): use the text encoder that belongs"
    assert_refused(graph, SAMPLERS[sampler], said)


def test_missing_text_encoder(host: ComfyUI) -> None:
    clip = Clip(host)
    del clip.prompt[clip.text.id]["inputs"]["clip"]
    clip.finish(clip.joint()[0])
    assert_refused(clip, "UniTalkingTextPrompt", "Required input is missing: clip")


def test_voice_of_another_codec(host: ComfyUI, other: str) -> None:
    graph = Two(host, other)
    voice = graph.add("UniTalkingEncodeVoiceReference", audio_vae=graph.other[3])
    graph.speak_as(voice)
    graph.finish(graph.joint()[0])
    said = "the VOICE was encoded by another audio codec .*: encode the clip again with this model's audio_vae"
    assert_refused(graph, "UniTalkingTextPrompt", said)


def pixel_space(clip: Clip) -> list[Any]:
    """A stock VAE."""
    return clip.add("VAELoader", vae_name="pixel_space")[0]


@pytest.mark.parametrize("kind", ["stock", "the sound's"])
def test_vae_of_another_model_in_decode_av(host: ComfyUI, kind: str) -> None:
    clip = Clip(host)
    vae = pixel_space(clip) if kind == "stock" else clip.model[3]
    clip.save(clip.decode(clip.joint()[0], vae=vae))
    assert_refused(clip, "UniTalkingDecode", r"the VAE decodes latents of \d+ channels, the clip has 24: use vae of")


@pytest.mark.parametrize("kind", ["stock", "the picture's"])
def test_audio_vae_of_another_model_in_decode_av(host: ComfyUI, kind: str) -> None:
    clip = Clip(host)
    vae = pixel_space(clip) if kind == "stock" else clip.model[2]
    clip.save(clip.decode(clip.joint()[0], audio_vae=vae))
    assert_refused(
        clip, "UniTalkingDecode", r"the audio VAE decodes latents of \d+ channels, the clip has 20: use audio"
    )


@pytest.mark.parametrize("kind", ["stock", "the sound's"])
def test_vae_of_another_model_in_portrait_image(host: ComfyUI, kind: str) -> None:
    clip = Clip(host)
    vae = pixel_space(clip) if kind == "stock" else clip.model[3]
    clip.finish(clip.joint(clip.add("UniTalkingPortrait", latent=clip.empty[0], vae=vae)[0])[0])
    said = r"Portrait Image: the VAE makes latents of \d+ channels, the clip has 24: wire vae of the same"
    assert_refused(clip, "UniTalkingPortrait", said)


@pytest.mark.parametrize("kind", ["stock", "the picture's"])
def test_vae_of_another_model_in_encode_voice_reference(host: ComfyUI, kind: str) -> None:
    clip = Clip(host)
    vae = pixel_space(clip) if kind == "stock" else clip.model[2]
    clip.speak_as(clip.add("UniTalkingEncodeVoiceReference", audio_vae=vae))
    clip.finish(clip.joint()[0])
    assert_refused(clip, "UniTalkingEncodeVoiceReference", "not a UniTalking audio codec: wire audio_vae from Load")


def test_sizes_are_rounded_and_it_is_said(host: ComfyUI) -> None:
    clip = Clip(host, width=50, height=100, frames=10)
    clip.finish(clip.joint()[0])
    result = clip.run(fresh=True)
    assert only_media(host, result).pictures.shape == (9, 96, 64, 3)
    assert texts(result, clip.empty) == [
        "size 50x100 rounded to 64x96: sides are multiples of 32\n10 frames rounded to 9: a clip has 4n+1 frames"
    ]


def test_more_frames_than_trained_are_made_and_it_is_said(host: ComfyUI) -> None:
    clip = Clip(host, width=32, height=32, frames=125)
    clip.finish(clip.joint(steps=1)[0])
    result = clip.run(fresh=True)
    assert len(only_media(host, result).pictures) == 125
    assert texts(result, clip.empty) == ["125 frames is beyond the 121 that this model was trained on"]


@pytest.mark.parametrize("speech", ["", " \n\t "])
def test_an_empty_prompt_is_warned_about_and_runs(host: ComfyUI, speech: str) -> None:
    clip = Clip(host, speech=speech)
    clip.finish(clip.joint()[0])
    result = clip.run(fresh=True)
    assert texts(result, clip.text) == ["(empty prompt)\n25 frames planned\nno speech: nothing will be said"]
    assert only_media(host, result).pictures.shape == (FRAMES, HEIGHT, WIDTH, 3)


def test_a_prompt_that_is_too_long_is_cut_and_it_is_said(host: ComfyUI) -> None:
    clip = Clip(host, speech="hello there " * 100)
    clip.finish(clip.joint()[0])
    (shown,) = texts(clip.run(fresh=True), clip.text)
    assert "1014 tokens too long, cut to 192" in shown
    assert "split it over several clips" in shown


def test_brackets_and_tags_are_text(host: ComfyUI) -> None:
    clip = Clip(host, speech="(a:1.5) [b] {c|d} embedding:e <script>")
    clip.finish(clip.joint()[0])
    (shown,) = texts(clip.run(fresh=True), clip.text)
    assert shown.splitlines()[0] == "<S>(a:1.5) [b] {c|d} embedding:e <script><E>"
