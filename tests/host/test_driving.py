"""Driving Video and Driving Audio: what is given is held, converted for the model alone, and saved as it came."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
import torch
from given_files import clip_file
from graphs import Clip, assert_refused, only_media
from lab import Parts
from torch import Tensor

from unitalking.checkpoint.random_model import TINY, write_random

if TYPE_CHECKING:
    from comfyui import ComfyUI

pytestmark = pytest.mark.usefixtures("as_nodes_run")

Pack = Callable[[str], ModuleType]
Upload = Callable[[Path], str]
SIDE = 64
SIZE = {"width": SIDE, "height": SIDE}


def moving(frames: int, width: int = SIDE, height: int = SIDE) -> Tensor:
    """Pictures (F, H, W, 3), each of another grey than those around it, brighter from left to right."""
    ramp = torch.linspace(0, 0.2, width)[None, None, :, None].expand(frames, height, width, 3)
    return ramp + (torch.arange(frames) * 7 % 41 / 41 * 0.8)[:, None, None, None]


def driving_video(pack: Pack, parts: Parts, **given: Any) -> tuple[Any, ...]:
    settings = {"sample_clip": "none", "fps": 24.0, "start_s": 0.0, **SIZE, "fit": "crop", **given}
    return pack("nodes.driving").DrivingVideo.execute(parts.model, parts.vae, **settings).args


def driving_audio(pack: Pack, parts: Parts, waveform: Tensor, rate: int, **given: Any) -> tuple[Any, ...]:
    settings = {"sample_recording": "none", "start_s": 0.0, **SIZE, "noise": 0.0, **given}
    settings.setdefault("audio", {"waveform": waveform, "sample_rate": rate})
    return pack("nodes.driving").DrivingAudio.execute(parts.model, parts.audio_vae, **settings).args


def tone(seconds: float, rate: int, channels: int = 1) -> Tensor:
    """A sliding tone, (1, channels, S)."""
    time = torch.arange(round(seconds * rate)) / rate
    return (0.3 * torch.sin(2 * torch.pi * (200 + 60 * time) * time))[None, None].repeat(1, channels, 1)


# ---- Driving Video


def test_a_whole_picture_is_held_and_none_of_its_sound(pack: Pack, parts: Parts) -> None:
    pictures = moving(17)
    latent, images, fps, frames, *_ = driving_video(pack, parts, images=pictures)
    video, audio = latent["samples"].unbind()
    masks = latent["noise_mask"].unbind()
    assert (frames, fps) == (17, 24.0)
    assert torch.equal(images, pictures)
    assert torch.equal(video, parts.vae.encode(pictures))
    assert audio.shape[2] == TINY.audio_latents(17)
    assert masks[0].shape[2:] == video.shape[2:]
    assert not masks[0].any()
    assert masks[1].shape[2] == audio.shape[2]
    assert masks[1].all()


@pytest.mark.parametrize(
    ("given", "fps", "frames", "kept"),
    [(21, 24, 21, 21), (23, 24, 21, 21), (24, 12, 45, 23), (50, 60, 17, 43), (30, 29.97, 21, 27), (240, 240, 21, 210)],
)
def test_other_lengths_and_rates_are_cut_and_converted_for_the_model_alone(
    pack: Pack, parts: Parts, said: Callable[[], str], given: int, fps: float, frames: int, kept: int
) -> None:
    pictures = moving(given)
    latent, images, rate, made, *_ = driving_video(pack, parts, images=pictures, fps=float(fps))
    assert made == frames
    assert rate == pytest.approx(fps, abs=1e-3)
    assert torch.equal(images, pictures[:kept])
    assert 0 <= len(images) / fps - frames / 24 < 1 / fps
    shown = pack("unitalking.timeline").shown_pictures(frames, 24, fps, kept)
    assert [round(number * 24 / fps) - index in (-1, 0, 1) for index, number in enumerate(shown)] == [True] * frames
    assert torch.equal(latent["samples"].unbind()[0], parts.vae.encode(pictures[shown]))
    assert ("converted to 24" in said()) == (fps != 24)


def test_another_size_is_scaled_for_the_model_and_said(pack: Pack, parts: Parts, said: Callable[[], str]) -> None:
    pictures = moving(9, 96, 96)
    _, images, *_ = driving_video(pack, parts, images=pictures)
    assert torch.equal(images, pictures)
    assert "96x96 was scaled to 64x64 for the model" in said()
    driving_video(pack, parts, images=moving(9))
    assert said().count("was scaled to") == 1


def test_it_starts_where_it_is_told(pack: Pack, parts: Parts) -> None:
    pictures = moving(40)
    _, images, _, frames, *_ = driving_video(pack, parts, images=pictures, start_s=0.5)
    assert frames == 25
    assert torch.equal(images, pictures[12:37])


@pytest.mark.parametrize("start_s", [0.0, 0.75])
def test_a_file_is_read_where_it_is_used_and_gives_its_own_pictures(
    pack: Pack, parts: Parts, tmp_path: Path, said: Callable[[], str], start_s: float
) -> None:
    from comfy_api.latest import InputImpl

    pictures = moving(400, 48, 32)
    video = InputImpl.VideoFromFile(str(clip_file(tmp_path / "given.mkv", pictures, Fraction(24))))
    _, images, fps, frames, *_ = driving_video(pack, parts, video=video, start_s=start_s)
    first = round(24 * start_s)
    assert frames == TINY.trained.max_frames
    assert fps == 24.0
    expected = (pictures[first : first + frames] * 255).round()
    assert (images * 255 - expected).abs().max() < 1.5  # the host divides 8-bit values by 256 here
    assert f"at most {frames} pictures at once" in said()
    assert "later start_s" in said()


def test_of_a_really_long_file_only_what_is_used_is_read(pack: Pack, parts: Parts, tmp_path: Path) -> None:
    """Ten minutes: all of it would be 177 MB of pictures here, and 85 GB at the full model's size."""
    from comfy_api.latest import InputImpl

    pictures = moving(600 * 24, 32, 32)
    video = InputImpl.VideoFromFile(str(clip_file(tmp_path / "long.mkv", pictures, Fraction(24))))
    read, _ = pack("nodes.driving").used_part(video, Fraction(590), Fraction(2))
    assert len(read) in (49, 50)
    _, images, _, frames, *_ = driving_video(pack, parts, video=video, start_s=590.0)
    assert frames == TINY.trained.max_frames
    expected = (pictures[590 * 24 : 590 * 24 + frames] * 255).round()
    assert (images * 255 - expected).abs().max() < 1.5
    with pytest.raises(ValueError, match=r"lasts 600\.00 s, start_s is 600: nothing is left"):
        driving_video(pack, parts, video=video, start_s=600.0)


def test_one_picture_a_second_is_shown_for_a_second(pack: Pack, parts: Parts) -> None:
    pictures = moving(4)
    latent, images, fps, frames, *_ = driving_video(pack, parts, images=pictures, fps=1.0)
    assert (fps, frames) == (1.0, 93)
    assert torch.equal(images, pictures)
    shown = pictures.repeat_interleave(24, 0)[:frames]
    assert torch.equal(latent["samples"].unbind()[0], parts.vae.encode(shown))


@pytest.mark.parametrize("fps", [Fraction(1, 2), Fraction(250)])
def test_rates_that_no_clip_has_are_refused(pack: Pack, parts: Parts, fps: Fraction) -> None:
    from comfy_api.latest import InputImpl, Types

    components = Types.VideoComponents(images=moving(60), audio=None, frame_rate=fps)
    with pytest.raises(ValueError, match=f"has {float(fps):g} pictures per second, expected 1 to 240: convert it"):
        driving_video(pack, parts, video=InputImpl.VideoFromComponents(components))


def test_a_clip_without_a_face_is_dubbed_all_the_same(pack: Pack, parts: Parts) -> None:
    """What moves where a mouth would be may be taken for lips; the times lie within the clip in any case."""
    noise = torch.rand(33, SIDE, SIDE, 3, generator=torch.Generator().manual_seed(0))
    latent, *_, starts_at, ends_at = driving_video(pack, parts, images=noise)
    assert torch.equal(latent["samples"].unbind()[0], parts.vae.encode(noise))
    assert -pack("unitalking.speech_timing").LEAD_S <= starts_at <= ends_at <= 33 / 24


def test_a_video_in_memory_keeps_its_pictures_exactly(pack: Pack, parts: Parts) -> None:
    from comfy_api.latest import InputImpl, Types

    pictures = moving(30)
    components = Types.VideoComponents(images=pictures, audio=None, frame_rate=Fraction(30))
    video = InputImpl.VideoFromComponents(components)
    _, images, fps, frames, *_ = driving_video(pack, parts, video=video, start_s=0.2)
    assert (fps, frames) == (30.0, 17)
    assert torch.equal(images, pictures[6 : 6 + 22])


def test_the_models_own_lengths_are_kept(pack: Pack) -> None:
    part_of, config = pack("nodes.driving").part_of, pack("unitalking.config").UniTalkingConfig
    fixed = config(lengths=((121, 157), (241, 314)))
    assert part_of(fixed, Fraction(7), 0.0, "x", whole=False).frames == 121
    assert part_of(fixed, Fraction(7), 0.0, "x", whole=True).frames == 241
    long = part_of(fixed, Fraction(11), 0.0, "x", whole=True)
    assert long.frames == 241
    assert "10.04 s from 0 s on are used, the last 0.96 s are not: this model makes at most 241 pic" in long.notes[0]
    with pytest.raises(
        ValueError, match=r"has 4.00 s from 0 s on, this model's shortest clip is 121 pictures \(5.04 s"
    ):
        part_of(fixed, Fraction(4), 0.0, "x", whole=False)


@pytest.mark.parametrize("start_s", [0.0, 0.5])
@pytest.mark.parametrize("name", ["question", "weather"])
def test_the_lips_say_when_the_text_is_spoken(
    pack: Pack, parts: Parts, said: Callable[[], str], name: str, start_s: float
) -> None:
    audio = pack("nodes.assets").load_clip(name).get_components().audio
    heard = audio["waveform"][0].mean(0)[round(start_s * audio["sample_rate"]) :]
    frames = pack("unitalking.voice_frames").analyse_frames(heard, audio["sample_rate"])
    begins, ends = (edge * pack("unitalking.voice_frames").HOP_S for edge in frames.speech_span())
    *_, starts_at, ends_at = driving_video(pack, parts, sample_clip=name, start_s=start_s)
    assert starts_at + pack("unitalking.speech_timing").LEAD_S == pytest.approx(begins, abs=0.08)
    assert ends_at == pytest.approx(ends, abs=0.12)
    assert f"The lips speak from {starts_at + 0.1:.2f} to {ends_at:.2f} s" in said()


def test_still_lips_tell_nothing(pack: Pack, parts: Parts, said: Callable[[], str]) -> None:
    assert driving_video(pack, parts, images=moving(1).expand(21, -1, -1, -1))[4:] == (0.0, 0.0)
    assert "The lips hardly move: the speech is timed as planned" in said()


def test_a_model_whose_text_has_no_clock_is_told_nothing(
    pack: Pack, parts: Parts, said: Callable[[], str], tmp_path: Path
) -> None:
    write_random(tmp_path / "no_clock.safetensors", replace(TINY, text_encoder=None), 0)
    model = pack("nodes.loading").load_model(str(tmp_path / "no_clock.safetensors"), {})
    assert driving_video(pack, parts._replace(model=model), sample_clip="question")[4:] == (0.0, 0.0)
    assert "lips" not in said()


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({}, "no video. Wire a VIDEO, or images, or choose a sample clip"),
        ({"images": moving(9), "video": object()}, "a video and images are wired: wire one of them"),
        ({"images": moving(4)}, r"has 0.17 s from 0 s on, this model's shortest clip is 5 pictures \(0.21 s\)"),
        ({"images": moving(9), "start_s": 0.4}, "lasts 0.38 s, start_s is 0.4: nothing is left"),
        ({"images": torch.full((9, SIDE, SIDE, 3), torch.nan)}, "values that are NaN or infinite"),
    ],
)
def test_videos_that_do_not_fit_are_refused(pack: Pack, parts: Parts, given: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        driving_video(pack, parts, **given)


def test_the_sound_codec_as_picture_codec_is_refused(pack: Pack, parts: Parts) -> None:
    with pytest.raises(ValueError, match="the VAE is no picture codec: wire vae"):
        driving_video(pack, parts._replace(vae=parts.audio_vae), images=moving(9))
    with pytest.raises(ValueError, match="not a UniTalking audio codec: wire audio_vae"):
        driving_audio(pack, parts._replace(audio_vae=parts.vae), tone(1, 16000), 16000)


# ---- Driving Audio


@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (44100, 2), (8000, 1)])
def test_a_whole_sound_is_held_and_none_of_its_picture(pack: Pack, parts: Parts, rate: int, channels: int) -> None:
    waveform = tone(1.0, rate, channels)
    latent, audio, frames = driving_audio(pack, parts, waveform, rate)
    video, sound = latent["samples"].unbind()
    masks = latent["noise_mask"].unbind()
    assert frames == 25, "the shortest clip that holds all of it"
    assert torch.equal(audio["waveform"], waveform)
    assert audio["sample_rate"] == rate
    assert sound.shape[2] == TINY.audio_latents(25)
    assert masks[0].all()
    assert not masks[1].any()
    assert video.shape[2] == 7
    assert not video.any()
    mono = pack("unitalking.voice").resample(waveform.mean(1), rate, 16000)
    filled = torch.nn.functional.pad(mono, (0, sound.shape[2] * 512 - mono.shape[1]))
    assert torch.equal(sound, parts.audio_vae.encode(filled[:, :, None]))


def test_a_long_recording_is_cut_and_goes_on_later(pack: Pack, parts: Parts, said: Callable[[], str]) -> None:
    waveform = tone(600, 8000)
    _, audio, frames = driving_audio(pack, parts, waveform, 8000, start_s=100.0)
    assert frames == TINY.trained.max_frames
    samples = round(frames / 24 * 8000)
    assert torch.equal(audio["waveform"], waveform[..., 800_000 : 800_000 + samples])
    assert "run again with a later start_s" in said()


@pytest.mark.parametrize(("more", "noted"), [(0.001, False), (0.02, True), (0.16, True)])
def test_the_end_of_a_recording_is_not_cut_off_silently(
    pack: Pack, parts: Parts, said: Callable[[], str], more: float, noted: bool
) -> None:
    """A step of the picture codec, 0.17 s, is long enough for a syllable."""
    lasts = TINY.trained.max_frames / 24
    driving_audio(pack, parts, tone(lasts + more, 8000), 8000)
    assert (f"the last {more:.2f} s are not" in said()) is noted


def test_further_recordings_of_a_batch_are_named(pack: Pack, parts: Parts, said: Callable[[], str]) -> None:
    both = torch.cat([tone(1, 16000), torch.zeros(1, 1, 16000)])
    _, audio, _ = driving_audio(pack, parts, both, 16000)
    assert torch.equal(audio["waveform"], both[:1])
    assert "The AUDIO has 2 recordings; only the first is used" in said()


def test_noise_is_on_what_the_model_sees_and_not_on_what_is_saved(pack: Pack, parts: Parts) -> None:
    waveform = tone(1.0, 16000)
    clean, noisy, again = (driving_audio(pack, parts, waveform, 16000, noise=share) for share in (0.0, 0.2, 0.2))
    assert torch.equal(noisy[1]["waveform"], waveform)
    spread = parts.model.model.latent_format.audio.std[None, :, None]
    added = (noisy[0]["samples"].unbind()[1] - clean[0]["samples"].unbind()[1]) / spread
    assert float(added.std()) == pytest.approx(0.2, rel=0.1)
    assert torch.equal(noisy[0]["samples"].unbind()[1], again[0]["samples"].unbind()[1])


@pytest.mark.parametrize("name", ["question", "weather"])
def test_a_sample_is_there_where_nothing_is_wired(pack: Pack, parts: Parts, said: Callable[[], str], name: str) -> None:
    _, images, fps, frames, *_ = driving_video(pack, parts, sample_clip=name)
    _, audio, sounding = driving_audio(pack, parts, torch.zeros(0), 0, sample_recording=name, audio=None)
    assert images.shape[1:] == (128, 128, 3)
    assert (len(images), fps) == (frames, 24.0)
    assert float(images[0].std()) > 0.1
    assert audio["sample_rate"] == 16000
    assert float(audio["waveform"].std()) > 0.02
    assert 0 <= sounding - frames <= 4
    # A wired clip without sound gives none, too: the person who wired it has to hear of it.
    for socket in ("video", "audio"):
        assert f"{socket}: nothing is wired, or what is wired has none, so the sample {name} is used" in said()
    with pytest.raises(ValueError, match="or choose a sample"):
        driving_audio(pack, parts, torch.zeros(0), 0, audio=None)


def test_silence_is_said(pack: Pack, parts: Parts, said: Callable[[], str]) -> None:
    driving_audio(pack, parts, torch.zeros(1, 1, 16000), 16000)
    assert "silent: the lips will hardly move" in said()


@pytest.mark.parametrize(
    ("waveform", "start_s", "match"),
    [
        (torch.zeros(1, 1, 0), 0.0, "the AUDIO is empty"),
        (torch.full((1, 1, 16000), torch.nan), 0.0, "16000 of 16000 values of the recording are NaN"),
        (tone(1, 16000), 2.0, "lasts 1.00 s, start_s is 2: nothing is left"),
    ],
)
def test_recordings_that_do_not_fit_are_refused(
    pack: Pack, parts: Parts, waveform: Tensor, start_s: float, match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        driving_audio(pack, parts, waveform, 16000, start_s=start_s)


# ---- in ComfyUI


def test_a_dubbed_file_has_its_own_pictures_and_a_new_sound(host: ComfyUI, upload: Upload, tmp_path: Path) -> None:
    pictures = moving(30, 96, 64)
    clip = Clip(host)
    given = clip.add("LoadVideo", file=upload(clip_file(tmp_path / "silent.mkv", pictures, Fraction(30))))
    driven = clip.add("UniTalkingDrivingVideo", model=clip.model[0], vae=clip.model[2], video=given[0], **SIZE)
    sound = clip.decode(clip.joint(driven[0])[0])
    clip.save(sound, images=driven[1], fps=driven[2], lossless=True)
    media = only_media(host, clip.run())
    assert media.fps == 30
    assert media.lengths_s == pytest.approx((27 / 30, 27 / 30), abs=1e-3)
    assert np.abs(media.pictures.astype(int) - (pictures[:27] * 255).round().int().numpy()).max() <= 1
    assert np.abs(media.sound).max() > 0


@pytest.mark.parametrize("codec", ["flac", "alac"])
def test_a_photo_speaks_the_recordings_own_samples(host: ComfyUI, upload: Upload, tmp_path: Path, codec: str) -> None:
    samples = (tone(0.8, 44100, 2)[0] * 32767).round().short().numpy()
    path = tmp_path / f"mine_{codec}.wav"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("pcm_s16le", rate=44100, layout="stereo")
        frame = av.AudioFrame.from_ndarray(samples.T.reshape(1, -1).copy(), format="s16", layout="stereo")
        frame.rate = 44100
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    clip = Clip(host)
    recording = clip.add("LoadAudio", audio=upload(path))
    codecs = {"model": clip.model[0], "audio_vae": clip.model[3]}
    driven = clip.add("UniTalkingDrivingAudio", **codecs, audio=recording[0], **SIZE)
    held = clip.add("UniTalkingPortrait", latent=driven[0], vae=clip.model[2])
    decoded = clip.decode(clip.joint(held[0])[0])
    clip.save(decoded, audio=driven[1], audio_codec=codec)
    media = only_media(host, clip.run())
    assert media.pictures.shape[0] == 21
    written = media.sound.astype(np.int64)
    written = written if written.shape[0] == 2 else written.reshape(-1, 2).T
    written = written >> (16 if np.abs(written).max() > 40000 else 0)
    assert np.array_equal(written[:, : samples.shape[1]], samples)
    assert not written[:, samples.shape[1] :].any()


def test_a_video_without_pictures_is_refused_and_the_next_prompt_runs(host: ComfyUI) -> None:
    clip = Clip(host)
    wires = {"model": clip.model[0], "vae": clip.model[2]}
    driven = clip.add("UniTalkingDrivingVideo", **wires, sample_clip="none", **SIZE)
    clip.finish(clip.joint(driven[0])[0])
    assert_refused(clip, "UniTalkingDrivingVideo", "no video. Wire a VIDEO")
