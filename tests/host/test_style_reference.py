"""Style Reference: a clip and its words are held before the new one, and Decode AV leaves them out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from given_files import BLOCK, RATE, clip_file
from lab import Parts

from unitalking import timeline
from unitalking.checkpoint.random_model import TINY, write_random
from unitalking.speech_timing import LEAD_S, TAIL_S

pytestmark = pytest.mark.usefixtures("as_nodes_run")

Pack = Callable[[str], ModuleType]
WORDS, NEW = "eighty store ticket river", "Good morning."


def style(pack: Pack, parts: Parts, transcript: str = WORDS, speech: str = NEW, **inputs: Any) -> Any:
    """What the node gives for the sample clip, or for `video`."""
    model, clip, vae, audio_vae = parts
    given = {"sample_clip": "manner", "start_s": 0.0, "fit": "crop", **inputs}
    node = pack("nodes.style_reference").StyleReference
    return node.execute(model, clip, vae, audio_vae, transcript=transcript, speech=speech, **given).args


def video_of(pack: Pack, waveform: Any) -> Any:
    """The sample clip with another sound."""
    latest = pytest.importorskip("comfy_api.latest")
    components = pack("nodes.assets").load_clip("manner").get_components()
    audio = None if waveform is None else {**components.audio, "waveform": waveform(components.audio["waveform"])}
    made = latest.Types.VideoComponents(images=components.images, audio=audio, frame_rate=components.frame_rate)
    return latest.InputImpl.VideoFromComponents(made)


def held_frames(latent: dict[str, Any]) -> int:
    """How many pictures of a clip are given."""
    held = latent["noise_mask"].unbind()[0][0, 0, :, 0, 0].tolist().index(1.0)
    return (held - 1) * TINY.time_stride + 1


def assert_cut_alike(latent: dict[str, Any], other: dict[str, Any]) -> None:
    """As much is held of both, and they begin at the same picture but for rounding."""
    assert held_frames(latent) == held_frames(other)
    about, usual = latent["unitalking"], other["unitalking"]
    assert about == {**usual, "cut": about["cut"]}
    assert abs(about["cut"] - usual["cut"]) <= 1


def test_the_reference_is_held_in_both_streams_and_the_rest_is_free(pack: Pack, parts: Parts) -> None:
    latent, words, ends_at, audio = style(pack, parts)
    about, (video, sound) = latent["unitalking"], latent["samples"].unbind()
    assert words == f"{WORDS}. {NEW}"
    masks = latent["noise_mask"].unbind()
    given = held_frames(latent)
    held = (given - 1) // TINY.time_stride + 1
    assert 24 < given <= about["cut"] < about["frames"]
    heard = TINY.audio_latents(given)
    assert masks[0][0, 0, :, 0, 0].tolist() == [0.0] * held + [1.0] * (video.shape[2] - held)
    free = masks[1][0, 0].tolist()
    assert free == [0.0] * free.index(1.0) + [1.0] * (len(free) - free.index(1.0))
    assert heard - 1 <= free.index(1.0) <= heard
    pictures = pack("nodes.assets").load_clip("manner").get_components().images
    assert torch.equal(video[:, :, :held], parts.vae.encode(resized(pack, pictures[:given])))
    assert not video[:, :, held:].any()
    assert not sound[:, :, free.index(1.0) :].any()
    assert audio["waveform"].shape[-1] == timeline.samples_kept(given, 24, audio["sample_rate"])
    assert about["cut"] / 24 < ends_at < about["frames"] / 24


def resized(pack: Pack, pictures: torch.Tensor) -> torch.Tensor:
    size = (TINY.trained.width, TINY.trained.height)
    return pack("unitalking.portrait").fit_pictures(pictures, *size, "crop")[0]


def clock(parts: Parts, words: str) -> tuple[float, float]:
    """When the model's text encoder expects the new words to begin, and all to end, if nothing is given."""
    prompt = f"<S>{words}<E>"
    encoder, tokens = parts.clip.cond_stage_model, parts.clip.tokenize(prompt)
    times = encoder.encoder.clock(*encoder._row(tokens))[0]
    return float(times[prompt.index(NEW)]), float(times.max())


def test_the_new_words_begin_after_what_is_given(pack: Pack, parts: Parts) -> None:
    latent, words, ends_at, _ = style(pack, parts)
    begins, ends = clock(parts, words)
    told = LEAD_S + (begins - LEAD_S) * (ends_at - LEAD_S) / (ends - LEAD_S)
    given_s, cut_s = held_frames(latent) / 24, latent["unitalking"]["cut"] / 24
    assert told - 0.4 < given_s < told
    # What sounds on of the old words behind what is held is cut off as well; half of the time in which lips open stays.
    assert max(given_s, told - 0.11) <= cut_s < told - 0.03


def test_a_slow_speaker_goes_on_slowly(pack: Pack, parts: Parts) -> None:
    """Fewer words in the same time are a slower pace, for the new words as well."""
    paces = []
    for transcript in (f"{WORDS} again", WORDS):
        _, words, ends_at, _ = style(pack, parts, transcript)
        paces.append((ends_at - LEAD_S) / (clock(parts, words)[1] - LEAD_S))
    assert paces[0] < paces[1]


def test_decoding_leaves_the_reference_out(pack: Pack, parts: Parts) -> None:
    latent, *_ = style(pack, parts)
    drawn = torch.Generator().manual_seed(1)
    nested = type(latent["samples"])
    full = nested([torch.randn(part.shape, generator=drawn) for part in latent["samples"].unbind()])
    decode = pack("nodes.decode").Decode
    about = latent["unitalking"]
    whole, cut = (
        decode.execute({**latent, "samples": full, "unitalking": each}, parts.vae, parts.audio_vae, False, 0.0).args
        for each in ({**about, "cut": 0}, about)
    )
    frames = about["cut"]
    assert torch.equal(cut[0][0], whole[0][0][frames:])
    begin = timeline.samples_kept(frames, 24, whole[1][0]["sample_rate"])
    assert torch.equal(cut[1][0]["waveform"], whole[1][0]["waveform"][..., begin:])
    assert cut[2][0].get_components().images.shape[0] == about["frames"] - frames


def test_a_reference_that_is_too_long_is_cut_and_said(pack: Pack, parts: Parts, said: Callable[[], str]) -> None:
    lasts = parts.model.model.unitalking.trained.max_frames
    latent, *_ = style(pack, parts, "How much does a curious tribe", sample_clip="question", speech="Good morning.")
    assert latent["unitalking"]["cut"] < latent["unitalking"]["frames"] <= lasts
    assert "are the reference" in said()


@pytest.mark.parametrize(
    ("inputs", "match"),
    [
        ({"transcript": " "}, "transcript is empty"),
        ({"speech": ""}, "speech is empty"),
        ({"sample_clip": "none"}, "no clip. Wire a VIDEO"),
        ({"transcript": "river"}, r"speaks for .* takes about .*write exactly the words"),
        ({"transcript": " ".join([WORDS] * 3)}, r"write exactly the words"),
        ({"speech": "One two three four five six seven. " * 3}, "write less, or split it"),
        ({"start_s": 9.0}, "nothing is left"),
    ],
)
def test_what_does_not_fit_is_named(pack: Pack, parts: Parts, inputs: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        style(pack, parts, **inputs)


def test_a_transcript_of_signs_alone_is_refused_where_the_text_encoder_has_no_clock(pack: Pack, parts: Parts) -> None:
    with pytest.raises(ValueError, match="transcript has no words: write what is said in the reference clip"):
        style(pack, parts._replace(clip=SimpleNamespace(cond_stage_model=None)), "...")


@pytest.mark.parametrize(("sound", "match"), [(None, "has no sound"), (torch.zeros_like, "is silent")])
def test_a_clip_in_which_nobody_speaks_is_refused(pack: Pack, parts: Parts, sound: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        style(pack, parts, video=video_of(pack, sound))


def test_the_sound_codec_as_picture_codec_is_refused(pack: Pack, parts: Parts) -> None:
    with pytest.raises(ValueError, match="Style Reference: the VAE is no picture codec: wire vae"):
        style(pack, parts._replace(vae=parts.audio_vae))


def test_a_video_of_tensors_is_read_as_a_file_is(pack: Pack, parts: Parts) -> None:
    file, tensors = style(pack, parts), style(pack, parts, video=video_of(pack, lambda sound: sound))
    assert tensors[2] == pytest.approx(file[2], abs=0.02)
    assert tensors[0]["unitalking"] == file[0]["unitalking"]


# ---- clips of every kind


def file_of(pack: Pack, path: Path, pictures: int = 0, fps: float = 24.0, before_s: int = 0, **options: Any) -> Any:
    """The sample clip as a file of another rate, of its first pictures, behind so many seconds of nothing."""
    latest = pytest.importorskip("comfy_api.latest")
    components = pack("nodes.assets").load_clip("manner").get_components()
    given = components.images[:pictures] if pictures else components.images
    shown = timeline.shown_pictures(round(len(given) * fps / 24), fps, 24, len(given))
    still = torch.zeros(1, *given.shape[1:]).expand(round(before_s * fps), -1, -1, -1)
    sound = components.audio["waveform"][0].mean(0)
    sound = torch.nn.functional.pad(sound, (before_s * components.audio["sample_rate"], 0))
    return latest.InputImpl.VideoFromFile(
        str(clip_file(path, torch.cat([still, given[shown]]), Fraction(fps).limit_denominator(1001), sound, **options))
    )


@pytest.mark.parametrize("fps", [12, 25, 29.97, 60])
def test_a_clip_of_another_rate_is_shown_at_the_models(pack: Pack, parts: Parts, tmp_path: Path, fps: float) -> None:
    usual, (latent, _, ends_at, _) = (
        style(pack, parts),
        style(pack, parts, video=file_of(pack, tmp_path / "a.mkv", 0, fps)),
    )
    assert_cut_alike(latent, usual[0])
    assert ends_at == pytest.approx(usual[2], abs=0.02)
    shown = pack("nodes.assets").load_clip("manner").get_components().images
    there = timeline.shown_pictures(200, fps, 24, len(shown))
    seen = [there[index] for index in timeline.shown_pictures(held_frames(latent), 24, fps, 200)]
    expected = parts.vae.encode(resized(pack, shown[seen]))
    held = latent["samples"].unbind()[0][:, :, : expected.shape[2]]
    assert float((held - expected).norm() / expected.norm()) < 0.02  # 8-bit values


def test_a_reference_is_read_where_it_lies_in_a_long_file(pack: Pack, parts: Parts, tmp_path: Path) -> None:
    """A minute of nothing before it: of ten, none is read either (see test_driving)."""
    usual = style(pack, parts)
    video = file_of(pack, tmp_path / "long.mkv", before_s=60)
    latent, _, ends_at, audio = style(pack, parts, video=video, start_s=60.0)
    assert_cut_alike(latent, usual[0])
    # The host begins with the first block of sound behind the picture.
    assert ends_at == pytest.approx(usual[2], abs=2 * BLOCK / RATE)
    heard, expected = audio["waveform"][0].mean(0)[:8000], usual[3]["waveform"][0].mean(0)
    assert any(torch.allclose(heard, expected[late : late + 8000], atol=1e-3) for late in range(BLOCK))


@pytest.mark.parametrize(
    ("name", "codecs"),
    [
        ("a.avi", ("mjpeg", "mp3")),
        ("a.webm", ("libvpx-vp9", "libopus")),
        ("a.mp4", ("mpeg4", "aac")),
        ("a.mov", ("prores_ks", "pcm_s16le")),
    ],
)
def test_clips_of_other_codecs_are_read(
    pack: Pack, parts: Parts, tmp_path: Path, name: str, codecs: tuple[str, str]
) -> None:
    latent, _, ends_at, _ = style(pack, parts, video=file_of(pack, tmp_path / name, codecs=codecs))
    usual, _, usual_ends_at, _ = style(pack, parts)
    assert abs(latent["unitalking"]["cut"] - usual["unitalking"]["cut"]) <= TINY.time_stride
    assert ends_at == pytest.approx(usual_ends_at, abs=0.15)


def test_a_clip_without_a_face_is_taken(pack: Pack, parts: Parts, tmp_path: Path) -> None:
    latest = pytest.importorskip("comfy_api.latest")
    components = pack("nodes.assets").load_clip("manner").get_components()
    noise = torch.rand(components.images.shape, generator=torch.Generator().manual_seed(0))
    made = latest.Types.VideoComponents(images=noise, audio=components.audio, frame_rate=components.frame_rate)
    latent, *_ = style(pack, parts, video=latest.InputImpl.VideoFromComponents(made))
    assert latent["unitalking"] == style(pack, parts)[0]["unitalking"]


def test_pictures_that_end_before_the_sound_are_not_held_longer(
    pack: Pack, parts: Parts, tmp_path: Path, said: Callable[[], str]
) -> None:
    latent, *_, audio = style(pack, parts, video=file_of(pack, tmp_path / "short.mkv", 31))
    assert held_frames(latent) == 29
    assert audio["waveform"].shape[-1] == round(29 / 24 * 16000)
    assert "only the first 1.21 s of the clip have pictures: transcript must hold their words and no others" in said()


@pytest.mark.parametrize(("pictures", "start_s", "seconds"), [(3, 0.0, "0.12"), (12, 1.0, "0.00")])
def test_sound_without_pictures_is_refused(
    pack: Pack, parts: Parts, tmp_path: Path, pictures: int, start_s: float, seconds: str
) -> None:
    video = file_of(pack, tmp_path / "short.mkv", pictures)
    with pytest.raises(ValueError, match=f"has {seconds} s of pictures from start_s on, expected at least 0.21 s"):
        style(pack, parts, video=video, start_s=start_s)


# ---- the longest clip

SEVEN = "One two three four five six seven"


@pytest.mark.parametrize(
    ("sample_clip", "transcript"), [("question", f"{WORDS} again and"), ("weather", f"{WORDS} again and again")]
)
def test_a_slow_speaker_fits_into_the_longest_clip(
    pack: Pack, parts: Parts, said: Callable[[], str], sample_clip: str, transcript: str
) -> None:
    latent, _, ends_at, _ = style(pack, parts, transcript, SEVEN, sample_clip=sample_clip)
    assert latent["unitalking"]["frames"] <= TINY.trained.max_frames
    assert ends_at + TAIL_S <= latent["unitalking"]["frames"] / 24
    assert "fit beside the new speech: transcript must hold their words and no others" in said()


def test_a_model_with_its_own_lengths_takes_the_one_that_holds_the_end(
    pack: Pack, parts: Parts, tmp_path: Path
) -> None:
    """73 pictures are wanted, of which 65 are nearer than 97."""
    assert style(pack, parts)[0]["unitalking"]["frames"] == 73
    lengths = tuple((frames, TINY.audio_latents(frames)) for frames in (65, 97))
    write_random(tmp_path / "fixed.safetensors", replace(TINY, lengths=lengths), 0)
    model = pack("nodes.loading").load_model(str(tmp_path / "fixed.safetensors"), {})
    latent, _, ends_at, _ = style(pack, parts._replace(model=model))
    assert latent["unitalking"]["frames"] == 97
    assert ends_at + TAIL_S <= 97 / 24
