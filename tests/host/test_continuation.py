"""Continue AV, Join AV, Split Speech and Long Talk: the next clip goes on from the last, and all become one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from graphs import Clip, assert_refused, only_media, texts
from lab import Parts
from torch import Tensor

from unitalking.checkpoint.random_model import TINY, write_random

if TYPE_CHECKING:
    from comfyui import ComfyUI

pytestmark = pytest.mark.usefixtures("as_nodes_run")

Pack = Callable[[str], ModuleType]
SIDE = 64
SPEECH = "Good morning. The river is long. We walked to the house. The door was open. Nobody was there. We went home."
LONG = " ".join([SPEECH] * 5)


def clip_of(frames: int, rate: int = 16000) -> tuple[Tensor, dict[str, Any]]:
    """Pictures and sound of one length."""
    drawn = torch.Generator().manual_seed(frames)
    pictures = torch.rand(frames, SIDE, SIDE, 3, generator=drawn)
    return pictures, {
        "waveform": 0.1 * torch.randn(1, 2, round(frames / 24 * rate), generator=drawn),
        "sample_rate": rate,
    }


def continued(
    pack: Pack, parts: Parts, frames: int = 33, overlap: int = 9, rate: int = 16000, one_face: bool = False
) -> Any:
    pictures, sound = clip_of(41, rate)
    node = pack("nodes.continuation").Continue
    model, _, *codecs = parts
    return node.execute(model, *codecs, pictures, sound, frames, overlap, one_face).args, pictures, sound


def test_a_chain_keeps_the_face_that_it_began_with(pack: Pack, parts: Parts) -> None:
    for overlap, latents in ((9, 3), (1, 1)):
        (latent, _), pictures, _ = continued(pack, parts, overlap=overlap, one_face=True)
        first = [pictures[:1]] if overlap > 1 else []  # one picture alone is where the next clip starts
        given = torch.cat([*first, pictures[-8:] if overlap > 1 else pictures[-1:]])
        assert torch.equal(latent["samples"].unbind()[0][:, :, :latents], parts.vae.encode(given))


@pytest.mark.parametrize(("overlap", "latents", "sound_latents"), [(1, 1, 1), (9, 3, 11), (17, 5, 22)])
def test_the_end_is_encoded_anew_and_held_in_both_streams(
    pack: Pack, parts: Parts, overlap: int, latents: int, sound_latents: int
) -> None:
    (latent, held_s), pictures, sound = continued(pack, parts, overlap=overlap)
    video, audio = latent["samples"].unbind()
    masks = latent["noise_mask"].unbind()
    total = overlap - 1 + 33
    assert held_s == pytest.approx(overlap / 24)
    assert video.shape[2] == (total - 1) // 4 + 1
    assert audio.shape[2] == TINY.audio_latents(total)
    assert torch.equal(video[:, :, :latents], parts.vae.encode(pictures[-overlap:]))
    assert not video[:, :, latents:].any()
    begin = round((41 - overlap) / 24 * 16000)
    samples = round(41 / 24 * 16000) - begin
    mono = sound["waveform"].mean(1)[:, begin:]
    filled = torch.nn.functional.pad(mono, (0, -(-samples // 512) * 512 - samples))
    expected = parts.audio_vae.encode(filled[:, :, None])[:, :, :sound_latents]
    assert torch.equal(audio[:, :, :sound_latents], expected)
    assert not audio[:, :, sound_latents:].any()
    assert [int((mask == 0).flatten(3).all(3).sum()) for mask in masks[:1]] == [latents]
    assert int((masks[1] == 0).sum()) == sound_latents


def test_sound_of_another_rate_is_resampled(pack: Pack, parts: Parts) -> None:
    (latent, _), _, sound = continued(pack, parts, rate=44100)
    tail = sound["waveform"].mean(1)[:, round(32 / 24 * 44100) :]
    mono = pack("unitalking.voice").resample(tail, 44100, 16000)
    filled = torch.nn.functional.pad(mono, (0, 12 * 512 - mono.shape[1]))
    held = parts.audio_vae.encode(filled[:, :, None])[:, :, :11]
    assert torch.allclose(latent["samples"].unbind()[1][:, :, :11], held, atol=1e-4)


@pytest.mark.parametrize("more", [-500, 0, 500])
def test_the_sound_is_taken_where_the_last_pictures_are(pack: Pack, parts: Parts, more: int) -> None:
    """Sound that is some samples shorter or longer than the pictures ends at another time than they do."""
    _, sound = clip_of(41)
    whole = sound["waveform"]
    other = torch.nn.functional.pad(whole, (0, more), value=0.1)
    given = pack("nodes.continuation").tail_of({**sound, "waveform": other}, 41, 9, 24)
    begin, end = round(32 / 24 * 16000), round(41 / 24 * 16000)
    expected = whole[..., begin:end].clone()
    expected[..., end - begin + min(more, 0) :] = 0
    assert torch.equal(given, expected)
    all_of_it = pack("nodes.continuation").tail_of(sound, 41, 41, 24)
    assert torch.equal(all_of_it, whole)


@pytest.mark.parametrize(
    ("frames", "seconds", "match"),
    [
        (96, 2.0, "96 pictures last 4.00 s at the model's 24 per second, its sound 2.00 s"),  # 48 per second
        (100, 4.0, "100 pictures last 4.17 s at the model's 24 per second, its sound 4.00 s"),  # 25 per second
        (96, 4.05, "its sound 4.05 s"),
    ],
)
def test_sound_of_another_length_than_the_pictures_is_refused(
    pack: Pack, parts: Parts, frames: int, seconds: float, match: str
) -> None:
    module, (model, _, *codecs) = pack("nodes.continuation"), parts
    sound = {"waveform": torch.zeros(1, 1, round(seconds * 16000)), "sample_rate": 16000}
    with pytest.raises(ValueError, match=f"{match}.*wire images and audio as Decode AV gives them with fps 0"):
        module.Continue.execute(model, *codecs, torch.zeros(frames, SIDE, SIDE, 3), sound, 33, 9)


@pytest.mark.parametrize("picture", [-1, 1])
def test_sound_that_ends_within_a_picture_of_the_last_is_taken(pack: Pack, parts: Parts, picture: int) -> None:
    module, (model, _, *codecs) = pack("nodes.continuation"), parts
    pictures, sound = clip_of(41)
    other = torch.nn.functional.pad(sound["waveform"], (0, picture * 660))
    module.Continue.execute(model, *codecs, pictures, {**sound, "waveform": other}, 33, 9)


def test_a_clip_beyond_what_the_model_knows_is_said(pack: Pack, parts: Parts, said: Callable[[], str]) -> None:
    longest = TINY.trained.max_frames
    continued(pack, parts, frames=longest, overlap=9)
    assert f"{longest + 8} frames is beyond the {longest}" in said()


@pytest.mark.parametrize("shape", [(41, 60, 64, 3), (41, 64, 72, 3)])
def test_pictures_of_another_size_than_the_models_are_refused(pack: Pack, parts: Parts, shape: tuple[int, ...]) -> None:
    module, (model, _, *codecs) = pack("nodes.continuation"), parts
    with pytest.raises(
        ValueError, match=rf"{shape[2]}x{shape[1]}, expected.*multiples of 32.*enlarge or crop the joined"
    ):
        module.Continue.execute(model, *codecs, torch.zeros(shape), clip_of(41)[1], 33, 9)


@pytest.mark.parametrize(
    ("overlap", "match"),
    [(45, "overlap is 45, the clip has 41 pictures"), (10, r"overlap is 10, expected 4n\+1, e.g. 9")],
)
def test_an_overlap_that_does_not_fit_is_refused(pack: Pack, parts: Parts, overlap: int, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        continued(pack, parts, overlap=overlap)


@pytest.fixture(scope="module")
def fixed_parts(pack: Pack, parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """A model that makes clips of 25 and 33 pictures alone, as Ovi makes those of 121 and 241."""
    path = tmp_path_factory.mktemp("fixed") / "fixed.safetensors"
    write_random(path, replace(TINY, lengths=tuple((frames, TINY.audio_latents(frames)) for frames in (25, 33))), 0)
    return parts._replace(model=pack("nodes.loading").load_model(str(path), {}))


@pytest.mark.parametrize("overlap", [33, 41])
def test_an_overlap_beyond_the_models_own_lengths_is_refused(pack: Pack, fixed_parts: Parts, overlap: int) -> None:
    with pytest.raises(ValueError, match=f"overlap is {overlap}, the next clip has 33 pictures in all: choose"):
        continued(pack, fixed_parts, overlap=overlap)
    (latent, _), *_ = continued(pack, fixed_parts, overlap=29)
    assert all(bool(mask.any()) for mask in latent["noise_mask"].unbind())


@pytest.mark.parametrize("overlap", [1, 41])
def test_an_overlap_that_nothing_follows_is_refused(pack: Pack, parts: Parts, overlap: int) -> None:
    with pytest.raises(ValueError, match=f"overlap is {overlap}, the next clip has {overlap} pictures in all: choose"):
        continued(pack, parts, frames=1, overlap=overlap)


def test_a_clip_without_sound_is_refused(pack: Pack, parts: Parts) -> None:
    module, (model, _, *codecs) = pack("nodes.continuation"), parts
    with pytest.raises(ValueError, match="the clip has no sound: wire audio"):
        module.Continue.execute(model, *codecs, clip_of(41)[0], None, 33, 9)
    with pytest.raises(ValueError, match="a clip without sound cannot be joined"):
        module.Join.execute(clip_of(41)[0], None, clip_of(41)[0], None, 24.0, 9, True)
    with pytest.raises(ValueError, match="not a UniTalking audio codec"):
        module.Continue.execute(model, codecs[0], codecs[0], *clip_of(41), 33, 9)
    with pytest.raises(ValueError, match="Continue AV: the VAE is no picture codec: wire vae"):
        module.Continue.execute(model, codecs[1], codecs[1], *clip_of(41), 33, 9)


def test_a_stereo_and_a_mono_clip_of_other_rates_are_joined(pack: Pack) -> None:
    pictures, sound = clip_of(41)
    more, other = clip_of(33, 44100)
    other["waveform"] = other["waveform"][:, :1]
    joined = pack("nodes.continuation").Join.execute(pictures, sound, more, other, 24.0, 9, True).args
    assert len(joined[0]) == 65
    assert joined[1]["waveform"].shape == (1, 2, round(65 / 24 * 16000))
    assert joined[1]["sample_rate"] == 16000


@pytest.mark.parametrize("fps", [1.0, 12.0, 29.97, 60.0, 240.0])
def test_clips_of_any_rate_are_joined_by_the_pictures_time(pack: Pack, fps: float) -> None:
    kept = pack("unitalking.timeline").samples_kept
    whole = 0.1 * torch.randn(1, 1, kept(65, fps, 16000), generator=torch.Generator().manual_seed(0)).sign()
    begin, end = kept(32, fps, 16000), kept(41, fps, 16000)
    pictures, more = (torch.rand(frames, 8, 8, 3) for frames in (41, 33))
    sounds = [{"waveform": sound, "sample_rate": 16000} for sound in (whole[..., :end], whole[..., begin:])]
    joined = pack("nodes.continuation").Join.execute(pictures, sounds[0], more, sounds[1], fps, 9, True).args
    assert len(joined[0]) == 65
    assert joined[1]["waveform"].shape == whole.shape
    assert torch.allclose(joined[1]["waveform"], whole, atol=1e-6)


def test_a_really_long_clip_goes_on(pack: Pack, parts: Parts) -> None:
    """Ten minutes, of which the end alone is touched."""
    module, (model, _, *codecs) = pack("nodes.continuation"), parts
    frames = 600 * 24 + 1
    pictures = torch.rand(1, SIDE, SIDE, 3).expand(frames, -1, -1, -1)
    sound = {"waveform": torch.zeros(1, 1, round(frames / 24 * 16000)), "sample_rate": 16000}
    latent, _ = module.Continue.execute(model, *codecs, pictures, sound, 33, 9).args
    assert torch.equal(latent["samples"].unbind()[0][:, :, :3], parts.vae.encode(pictures[-9:]))
    more = {"waveform": torch.zeros(1, 1, round(41 / 24 * 16000)), "sample_rate": 16000}
    shown = pictures[:, :8, :8]
    joined, heard = module.Join.execute(shown, sound, shown[:41], more, 24.0, 9, True).args
    assert len(joined) == frames + 32
    assert heard["waveform"].shape[-1] == round((frames + 32) / 24 * 16000)


def test_words_begin_after_what_is_given(pack: Pack, parts: Parts) -> None:
    """The clock of the small model's encoder is told; an encoder without one is not asked."""
    encode, clip = pack("nodes.conditioning").encode_text, parts.clip
    texts_of = [encode(clip, "<S>Hello<E>", TINY, "prompt", [], start)[0][0] for start in (0.0, 0.375)]
    encoder = clip.cond_stage_model
    tokens = clip.tokenize("<S>Hello<E>")
    row = encoder._row(tokens)
    natural = encoder.encoder.clock(*row)
    spoken = torch.tensor([[0.1 + 0.375, float(natural.max()) + 0.375]])
    assert torch.equal(texts_of[1], encoder.encoder(*row, spoken))
    later = encoder.encoder.clock(*row, spoken)
    assert torch.allclose(later[natural > 0], natural[natural > 0] + 0.375, atol=1e-5)
    assert not torch.equal(*texts_of)


def test_a_speech_is_split_and_every_part_planned(pack: Pack, parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    model, clip, *_ = parts
    module = pack("nodes.long_talk")
    found, frames, count = module.SplitSpeech.execute(model, clip, SPEECH, 2.5).args
    assert " ".join(found) == SPEECH
    assert len(found) == len(frames) == count >= 4
    for part, planned in zip(found, frames, strict=True):
        seconds = pack("nodes.clip").speech_s(clip, f"<S>{part}<E>")
        assert seconds <= 2.5 or " " not in part
        assert planned >= min(seconds, 1.0) * 24
        assert planned % 4 == 1
        assert f"{planned} frames: {part}" in caplog.text
    whole = module.SplitSpeech.execute(model, clip, SPEECH, 0.0).args[0]
    longest = module.longest_part_s(TINY, 9)
    assert all(pack("nodes.clip").speech_s(clip, f"<S>{part}<E>") <= longest for part in whole)
    for nothing in ("", " "):
        with pytest.raises(ValueError, match="Split Speech: there is no speech: write some"):
            module.SplitSpeech.execute(model, clip, nothing, 0.0)


def test_no_part_is_planned_longer_than_a_clip(pack: Pack, parts: Parts, said: Callable[[], str]) -> None:
    """Clips of their own may be as long as the model's longest; what fits into none is said."""
    model, clip, *_ = parts
    module, longest = pack("nodes.long_talk"), TINY.trained.max_frames
    found = module.SplitSpeech.execute(model, clip, LONG, 600.0).args[0]
    assert found == module.speech_parts(clip, LONG, longest / 24)
    assert all(pack("nodes.clip").speech_s(clip, f"<S>{part}<E>") * 24 <= longest for part in found)
    assert f"longest_s is 600, {longest / 24:.2f} s fit into this model's longest clip: no part is longer" in said()
    assert "the speech needs about" not in said()
    one_word = "a" * 150
    assert module.SplitSpeech.execute(model, clip, one_word, 0.0).args[:2] == ([one_word], [longest])
    assert f"this model was trained on up to {longest}" in said()


def talk(host: ComfyUI, **changes: Any) -> tuple[Clip, Any]:
    clip = Clip(host)
    model, text, vae, audio_vae = (clip.model[slot] for slot in range(4))
    wires = {"model": model, "clip": text, "vae": vae, "audio_vae": audio_vae}
    node = clip.add("UniTalkingLongTalk", **wires, **{"speech": LONG, "preset": "draft", **changes})
    clip.add("UniTalkingSaveMP4", images=node[0], audio=node[1], fps=node[2])
    return clip, node


def test_a_long_talk_is_one_clip_of_all_its_parts(host: ComfyUI) -> None:
    clip, node = talk(host)
    result = clip.run()
    media = only_media(host, result)
    (said,) = texts(result, node)
    count, *spoken = said.splitlines()
    assert " ".join(spoken) == LONG
    assert count == f"{len(spoken)} clips"
    assert len(spoken) >= 6
    shown = [event.data["text"] for event in result.of_kind("text")]
    planned = [int(line.split()[0]) for text in shown for line in text.splitlines() if line.endswith("frames planned")]
    assert len(planned) == len(spoken)
    assert len(media.pictures) == sum(planned) - len(planned) + 1
    assert media.lengths_s[0] == pytest.approx(len(media.pictures) / 24)
    assert abs(media.lengths_s[0] - media.lengths_s[1]) < 1 / 24
    assert np.abs(media.sound).max() > 0


@pytest.mark.parametrize(("longest_s", "longest_fitting"), [(1.2, False), (0.0, True), (600.0, True)])
def test_parts_of_a_long_talk_are_as_long_as_asked_for_and_as_fits(
    pack: Pack, parts: Parts, longest_s: float, longest_fitting: bool
) -> None:
    model, text_encoder, *codecs = parts
    module = pack("nodes.long_talk")
    spoken = ("", "", 0, "draft", 9, pack("unitalking.samples").NO_SAMPLE)
    count = module.LongTalk.execute(model, text_encoder, *codecs, LONG, *spoken, longest_s=longest_s).args[3]
    limit = module.longest_part_s(TINY, 9) if longest_fitting else longest_s
    assert count == len(module.speech_parts(text_encoder, LONG, limit))
    assert (count == len(module.speech_parts(text_encoder, LONG, module.longest_part_s(TINY, 9)))) is longest_fitting


def sampled_seeds(pack: Pack, parts: Parts, seed: int) -> list[int]:
    """The seeds of a long talk's parts."""
    spoken = (LONG, "", "", seed, "draft", 9, pack("unitalking.samples").NO_SAMPLE)
    made = pack("nodes.long_talk").LongTalk.execute(parts.model, parts.clip, parts.vae, parts.audio_vae, *spoken)
    samplers = [node for node in made.expand.values() if node["class_type"] == "UniTalkingJointSampler"]
    return [node["inputs"]["seed"] for node in samplers]


def test_seeds_count_up_and_begin_anew_behind_the_last(pack: Pack, parts: Parts) -> None:
    assert sampled_seeds(pack, parts, 5)[:3] == [5, 6, 7]
    assert sampled_seeds(pack, parts, 2**64 - 1)[:3] == [2**64 - 1, 0, 1]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"overlap": 121}, r"overlap is 121, of which this model's longest clip leaves 0.04 s for words, expected at"),
        ({"overlap": 145}, "leaves 0.00 s for words"),
        ({"speech": ""}, "there is no speech"),
        ({"voice": "other"}, "Long Talk: the VOICE was encoded by another audio codec"),
    ],
)
def test_talks_that_cannot_be_made_are_refused(pack: Pack, parts: Parts, changes: dict[str, Any], match: str) -> None:
    if "voice" in changes:
        changes = {"voice": pack("nodes.voice").Voice(torch.zeros(1, 40, 9), "44100-40-512", 44100, "")}
    given = {"speech": LONG, "scene": "", "sound": "", "seed": 0, "preset": "draft", "overlap": 9}
    with pytest.raises(ValueError, match=match):
        pack("nodes.long_talk").LongTalk.execute(*parts, **{**given, "sample_portrait": "none", **changes})


def test_an_empty_speech_is_refused(host: ComfyUI) -> None:
    clip, _ = talk(host, speech="  ")
    assert_refused(clip, "UniTalkingLongTalk", "there is no speech: write some into it")
