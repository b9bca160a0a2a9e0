"""Decode AV with a VOICE: the sound is brought to its tone, as much as is asked for or as the model says."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

pytestmark = pytest.mark.usefixtures("as_nodes_run")

Pack = Callable[[str], ModuleType]


@pytest.fixture
def voice(pack: Pack, loaded: tuple[Any, ...]) -> Any:
    """A sample voice, encoded."""
    return pack("nodes.conditioning").EncodeVoiceReference.execute(loaded[3], "clara_calm", True).args[0]


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def clip_of(pack: Pack, loaded: tuple[Any, ...], batch: int = 1, **about: Any) -> dict[str, Any]:
    """A clip of noise."""
    latent = pack("nodes.latents").empty_latent(loaded[0].model.unitalking, 64, 64, 33, batch_size=batch)
    nested = type(latent["samples"])([normal(*part.shape) for part in latent["samples"].unbind()])
    return {**latent, "samples": nested, "unitalking": {**latent["unitalking"], **about}}


def sounds(pack: Pack, loaded: tuple[Any, ...], clip: dict[str, Any], audio_vae: Any = None, **voiced: Any) -> list:
    """The decoded waveforms, one of (1, 2, S) for each clip."""
    decoded = pack("nodes.decode").Decode.execute(clip, loaded[2], audio_vae or loaded[3], False, 0.0, **voiced)
    return [each["waveform"] for each in decoded.args[1]]


def with_own_value(audio_vae: Any, value: float) -> Any:
    """The codec of a model that says how much is made up."""
    changed = copy(audio_vae)
    changed.config = replace(changed.config, sampling=replace(changed.config.sampling, voice_tone=value))
    return changed


def test_the_sound_is_matched_clip_by_clip(pack: Pack, loaded: tuple[Any, ...], voice: Any) -> None:
    clip, tone = clip_of(pack, loaded, batch=2), pack("unitalking.codec.tone")
    plain = sounds(pack, loaded, clip)
    toned = sounds(pack, loaded, clip, voice=voice, voice_tone=0.5)
    for before, after in zip(plain, toned, strict=True):
        expected = tone.matched(before[0, 0], voice.frames, loaded[3].mel, 0.5)
        assert after.shape == before.shape
        for channel in (0, 1):
            torch.testing.assert_close(after[0, channel], expected)
        assert float((after - before).abs().max()) > 1e-3


def test_a_model_says_how_much_is_made_up(pack: Pack, loaded: tuple[Any, ...], voice: Any) -> None:
    clip = clip_of(pack, loaded)
    plain, asked = sounds(pack, loaded, clip)[0], sounds(pack, loaded, clip, voice=voice, voice_tone=0.75)[0]
    own = with_own_value(loaded[3], 0.75)
    assert torch.equal(sounds(pack, loaded, clip, own, voice=voice)[0], asked)
    assert torch.equal(sounds(pack, loaded, clip, own, voice=voice, voice_tone=0.75)[0], asked)
    # A model that does not say leaves the sound alone, and so does every model without a voice.
    assert torch.equal(sounds(pack, loaded, clip, voice=voice)[0], plain)
    assert torch.equal(sounds(pack, loaded, clip, own)[0], plain)


def test_the_reference_before_a_clip_is_cut_off_first(pack: Pack, loaded: tuple[Any, ...], voice: Any) -> None:
    plain = sounds(pack, loaded, clip_of(pack, loaded, cut=9))[0]
    toned = sounds(pack, loaded, clip_of(pack, loaded, cut=9), voice=voice, voice_tone=1.0)[0]
    expected = pack("unitalking.codec.tone").matched(plain[0, 0], voice.frames, loaded[3].mel, 1.0)
    torch.testing.assert_close(toned[0, 0], expected)


def test_several_voices_and_files_of_before_leave_the_sound_and_say_so(
    pack: Pack, loaded: tuple[Any, ...], voice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, said = clip_of(pack, loaded), []
    monkeypatch.setattr(pack("nodes.decode"), "say", lambda node, text: said.append(text))
    plain = sounds(pack, loaded, clip)[0]
    turns = pack("nodes.voice").VoiceTurns((pack("nodes.voice").Turn(voice), pack("nodes.voice").Turn(voice, "", 0.5)))
    for each in (turns, replace(voice, frames=None)):
        assert torch.equal(sounds(pack, loaded, clip, voice=each, voice_tone=1.0)[0], plain)
    assert "several voices" in said[0]
    assert "encode its clip again" in said[1]


def test_a_voice_of_another_codec_is_refused(pack: Pack, loaded: tuple[Any, ...], voice: Any) -> None:
    with pytest.raises(ValueError, match="Decode AV: the VOICE was encoded by another audio codec"):
        sounds(pack, loaded, clip_of(pack, loaded), voice=replace(voice, codec="44100-40-1024"))


def test_a_voice_with_a_codec_that_is_not_ours_is_refused(pack: Pack, loaded: tuple[Any, ...], voice: Any) -> None:
    foreign = SimpleNamespace(latent_channels=20)
    with pytest.raises(ValueError, match="not a UniTalking audio codec, so voice cannot be used"):
        sounds(pack, loaded, clip_of(pack, loaded), foreign, voice=voice)


def test_a_voice_has_the_frames_of_the_part_that_is_used(pack: Pack, loaded: tuple[Any, ...], voice: Any) -> None:
    bands, count = voice.frames.shape
    assert bands == loaded[3].mel.n_mels
    # One for every latent; pauses are left out.
    assert voice.latents.shape[2] / 2 < count <= voice.latents.shape[2] + 1
    assert voice.frames.dtype == torch.float16


def test_a_long_talk_gives_every_part_the_voices_tone(pack: Pack, loaded: tuple[Any, ...], voice: Any) -> None:
    texts = ("One two three four five six. " * 6, "", "", 0, "draft", 9, "lena")
    made = pack("nodes.long_talk").LongTalk.execute(*loaded, *texts, voice=voice)
    decoders = [node for node in made.expand.values() if node["class_type"] == "UniTalkingDecode"]
    assert len(decoders) > 1
    assert all(node["inputs"].get("voice") is voice for node in decoders)
