"""Voices and pictures of every kind: used and judged, or refused in one sentence with what to do."""

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from graphs import FRAMES, HEIGHT, WIDTH, Clip, Node, assert_refused, saved_files, texts
from PIL import Image
from torch import Tensor

if TYPE_CHECKING:
    from comfyui import ComfyUI

Upload = Callable[[Path], str]


def buzz(rate: int, seconds: float = 3.0) -> np.ndarray:
    """A voice-like buzz with the rhythm of syllables, (samples,)."""
    time = np.arange(int(rate * seconds)) / rate
    tones = sum(np.sin(2 * np.pi * 120 * k * time) / k for k in range(1, 12))
    return 0.15 * tones * (np.sin(2 * np.pi * 3 * time) > -0.3)


def with_voice(host: ComfyUI, upload: Upload, folder: Path, samples: np.ndarray, rate: int) -> tuple[Clip, Node]:
    """A graph with an uploaded WAV, (channels, samples), as its voice."""
    path = folder / "voice.wav"
    samples = np.atleast_2d(samples)
    with wave.open(str(path), "wb") as file:
        file.setparams((samples.shape[0], 2, rate, 0, "NONE", ""))
        file.writeframes((samples.T * 32767).round().astype("<i2").tobytes())
    clip = Clip(host)
    audio = clip.add("LoadAudio", audio=upload(path))
    voice = clip.add("UniTalkingEncodeVoiceReference", audio_vae=clip.model[3], audio=audio[0])
    clip.speak_as(voice)
    clip.finish(clip.joint()[0])
    return clip, voice


@pytest.mark.parametrize(("rate", "said"), [(8000, "telephone bandwidth"), (44100, ""), (192000, "")])
def test_any_sample_rate(host: ComfyUI, upload: Upload, tmp_path: Path, rate: int, said: str) -> None:
    clip, voice = with_voice(host, upload, tmp_path, buzz(rate), rate)
    result = clip.run(fresh=True)
    report = result.outputs[voice.id]["text"][0]
    assert report.startswith("Used 2.92 s of 3.00 s")
    assert "Verdict: good." in report
    assert ("Recorded at" in report) == bool(said)
    assert said in report


def test_eight_channels_of_which_one_speaks(host: ComfyUI, upload: Upload, tmp_path: Path) -> None:
    samples = np.zeros((8, 48000 * 3))
    samples[2] = buzz(48000)
    clip, voice = with_voice(host, upload, tmp_path, samples, 48000)
    report = clip.run(fresh=True).outputs[voice.id]["text"][0]
    assert "Channel 3 of 8 is used alone" in report
    assert "Verdict: good." in report


@pytest.mark.parametrize(
    ("seconds", "gain", "verdict"), [(1.0, 1.0, "too short"), (3.0, 0.02, "too quiet"), (3.0, 20.0, "clipped")]
)
def test_a_poor_voice_is_used_and_called_so(
    host: ComfyUI, upload: Upload, tmp_path: Path, seconds: float, gain: float, verdict: str
) -> None:
    clip, voice = with_voice(host, upload, tmp_path, np.clip(gain * buzz(16000, seconds), -1, 1), 16000)
    report = clip.run(fresh=True).outputs[voice.id]["text"][0]
    assert f"Verdict: {verdict}" in report
    assert f"{verdict.capitalize()}: " in report  # and what to do about it


@pytest.mark.parametrize(("samples", "said"), [(48000, "is silent .*: expected speech"), (99, "has only 99 samples")])
def test_a_silent_or_empty_voice_is_refused(
    host: ComfyUI, upload: Upload, tmp_path: Path, samples: int, said: str
) -> None:
    clip, _ = with_voice(host, upload, tmp_path, np.zeros(samples), 16000)
    assert_refused(clip, "UniTalkingEncodeVoiceReference", f"The voice clip {said}")


def test_no_voice_at_all(host: ComfyUI) -> None:
    clip = Clip(host)
    clip.speak_as(clip.add("UniTalkingEncodeVoiceReference", audio_vae=clip.model[3], sample_voice="none"))
    clip.finish(clip.joint()[0])
    assert_refused(clip, "UniTalkingEncodeVoiceReference", "no voice. Wire an AUDIO, or choose a sample voice")


Picture = tuple[np.ndarray, str]


def fitted(clip: Clip, image: list[Any], **settings: Any) -> Picture:
    """The picture that Portrait Image makes of an image, and what it said; the whole clip is made."""
    node = clip.add("UniTalkingPortrait", latent=clip.empty[0], vae=clip.model[2], image=image, **settings)
    saved = clip.add("SaveImage", images=node[1])
    clip.finish(clip.joint(node[0])[0])
    result = clip.run(fresh=True)
    assert len(saved_files(clip.host, result)) == 2
    (item,) = result.outputs[saved.id]["images"]
    said = texts(result, node)
    assert len(said) <= 1  # the editor shows the last one alone
    return np.asarray(Image.open(clip.host.output_path(item))), "".join(said)


@pytest.fixture
def load(host: ComfyUI, upload: Upload, tmp_path: Path) -> Callable[..., tuple[Clip, Node]]:
    """A graph with an uploaded picture."""

    def loaded(image: Image.Image, name: str = "picture.png", **options: Any) -> tuple[Clip, Node]:
        image.save(tmp_path / name, **options)
        clip = Clip(host)
        return clip, clip.add("LoadImage", image=upload(tmp_path / name))

    return loaded


Load = Callable[..., tuple[Clip, Node]]
RED, BLUE = (255, 0, 0), (0, 0, 255)


def halves(width: int, height: int) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def near(color: np.ndarray, expected: tuple[int, ...]) -> bool:
    return bool(np.abs(color.astype(int) - expected).max() <= 4)


def test_transparent_parts_become_grey(load: Load) -> None:
    image = halves(64, 64).convert("RGBA")
    image.paste((255, 0, 0, 0), (0, 0, 24, 64))
    clip, loaded = load(image)
    joined = clip.add("JoinImageWithAlpha", image=loaded[0], alpha=loaded[1])
    picture, said = fitted(clip, joined[0])
    assert near(picture[32, 4], (128, 128, 128))
    assert near(picture[32, 28], RED)
    assert said == "Transparent parts were replaced by neutral grey."


def test_a_file_with_alpha_runs_as_the_host_loads_it(load: Load) -> None:
    clip, loaded = load(halves(64, 64).convert("RGBA"))
    assert near(fitted(clip, loaded[0])[0][32, 4], RED)


def test_a_rotated_photo_stands_upright(load: Load) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    clip, loaded = load(halves(128, 64), "photo.jpg", exif=exif, quality=95)
    picture, _ = fitted(clip, loaded[0], fit="stretch")
    assert near(picture[4, 32], RED)
    assert near(picture[-4, 32], BLUE)


@pytest.mark.parametrize(
    ("fit", "said"), [("crop", "Cropped 48 px left and right"), ("pad", "Padded"), ("stretch", "St")]
)
def test_a_picture_of_another_shape(load: Load, fit: str, said: str) -> None:
    clip, loaded = load(halves(160, 64))
    picture, words = fitted(clip, loaded[0], fit=fit)
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert words.startswith(said)
    assert near(picture[32, 4], RED)
    assert near(picture[32, -4], BLUE)


def test_a_single_pixel(load: Load) -> None:
    clip, loaded = load(Image.new("RGB", (1, 1), BLUE))
    picture, said = fitted(clip, loaded[0])
    assert near(picture[0, 0], BLUE)
    assert near(picture[-1, -1], BLUE)
    assert "enlarged 64.0 times: expect a blurred face" in said


def test_of_several_pictures_the_first_counts(host: ComfyUI, load: Load) -> None:
    clip, loaded = load(Image.new("RGB", (96, 64), BLUE))
    second = clip.add("EmptyImage", width=96, height=64, color=0xFF0000)
    both = clip.add("ImageBatch", image1=loaded[0], image2=second[0])
    picture, said = fitted(clip, both[0])
    assert near(picture[32, 32], BLUE)
    assert said == "The batch has 2 pictures; only the first is used.\nCropped 16 px left and right."


def test_no_picture_at_all(host: ComfyUI) -> None:
    clip = Clip(host)
    held = clip.add("UniTalkingPortrait", latent=clip.empty[0], vae=clip.model[2], sample_portrait="none")
    clip.finish(clip.joint(held[0])[0])
    assert_refused(clip, "UniTalkingPortrait", "no picture. Wire an IMAGE, or choose a sample portrait")


def test_a_portrait_for_speech_alone(host: ComfyUI) -> None:
    clip = Clip(host, streams="sound")
    held = clip.add("UniTalkingPortrait", latent=clip.empty[0], vae=clip.model[2])
    clip.finish(clip.joint(held[0])[0])
    assert_refused(clip, "UniTalkingPortrait", "the LATENT has no picture stream .*streams set to both or picture")


# What no file can hold: straight into the nodes


Pack = Callable[[str], ModuleType]


@pytest.mark.parametrize(
    ("waveform", "said"),
    [
        (torch.full((1, 1, 48000), float("nan")), "48000 samples that are NaN or infinite, of 48000"),
        (torch.full((1, 2, 48000), float("inf")), "96000 samples that are NaN or infinite"),
        (torch.zeros(1, 1, 0), "is empty .*: expected a few seconds of speech"),
        (torch.zeros(1, 0, 48000), "is empty .*: expected a few seconds of speech"),
    ],
)
def test_a_voice_without_samples_or_with_nan(pack: Pack, loaded: tuple[Any, ...], waveform: Tensor, said: str) -> None:
    node = pack("nodes.conditioning").EncodeVoiceReference
    with pytest.raises(ValueError, match=f"The voice clip (has )?{said}"):
        node.execute(loaded[3], "none", True, {"waveform": waveform, "sample_rate": 16000})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_portrait_with_nan(pack: Pack, loaded: tuple[Any, ...], value: float) -> None:
    latents = pack("nodes.latents")
    clip = latents.EmptyLatent.execute(loaded[0], WIDTH, HEIGHT, FRAMES, 1, "both").args[0]
    with pytest.raises(ValueError, match="12288 values that are NaN or infinite, of 12288: the node that made it"):
        latents.Portrait.execute(clip, loaded[2], "none", "crop", torch.full((1, 64, 64, 3), value))


@pytest.mark.parametrize(
    ("broken", "said"),
    [("images", "Frame 0 has values that are NaN or infinite"), ("audio", "The sound has 12288 samples that are NaN")],
)
def test_pictures_and_sound_with_nan_are_not_saved(host: ComfyUI, broken: str, said: str) -> None:
    clip = Clip(host)
    good = clip.decode(clip.joint()[0])
    latent = clip.joint(seed=2)[0]
    for _ in range(45):  # beyond what a float holds
        latent = clip.add("LatentMultiply", samples=latent, multiplier=10.0)[0]
    decoders = {"images": ("VAEDecode", clip.model[2]), "audio": ("VAEDecodeAudio", clip.model[3])}
    kind, vae = decoders[broken]
    clip.save(good, **{broken: clip.add(kind, samples=latent, vae=vae)[0]})
    assert_refused(clip, "UniTalkingSaveMP4", f"{said}.*nothing was saved")


def test_noise_of_the_sound_does_not_depend_on_the_size_of_the_picture(pack: Pack, loaded: tuple[Any, ...]) -> None:
    latents, noise = pack("nodes.latents"), pack("nodes.sampling").JointNoise.execute(5).args[0]
    sizes = [(64, 64), (128, 96)]
    clips = [latents.EmptyLatent.execute(loaded[0], *size, FRAMES, 1, "both").args[0] for size in sizes]
    small, large = ([part for part in noise.generate_noise(clip).unbind()] for clip in clips)
    assert torch.equal(small[1], large[1])
    assert small[0].shape != large[0].shape
