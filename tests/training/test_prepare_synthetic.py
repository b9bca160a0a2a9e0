"""The synthetic clips as a source: the same pictures, sound, words and voices as `SyntheticClips` makes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_model import TINY_MODEL as MODEL

from unitalking import timeline
from unitalking.prompt import compose_prompt
from unitalking.synthetic import MissingEspeakError, SyntheticClips, SyntheticConfig
from unitalking.training.dataset import DataError
from unitalking.training.prepare.__main__ import main, parser, settings_of
from unitalking.training.prepare.encoders import EncoderFiles, load_encoders
from unitalking.training.prepare.run import Summary, prepare
from unitalking.training.prepare.sources import list_clips
from unitalking.training.prepare.synthetic_clips import (
    SCENE_LEFT_OUT,
    SOUND_LEFT_OUT,
    SyntheticReader,
    given_texts,
)
from unitalking.training.shards import Shards

SOURCE = "synthetic:clips=3,seed=5,size=64,longest_s=2.0"


@pytest.fixture(scope="module")
def clips() -> SyntheticClips:
    """Three short clips of small pictures; skips without espeak-ng."""
    try:
        return SyntheticClips(SyntheticConfig(clips=3, seed=5, size=64, longest_s=2.0))
    except MissingEspeakError as error:
        pytest.skip(str(error))


def run(out: Path, *options: str, source: str = SOURCE) -> Summary:
    """Makes the data set in this process."""
    arguments = [source, str(out), "--model", str(MODEL), "--size", "64x64", "--dtype", "float32", *options]
    return prepare(settings_of(parser().parse_args(arguments)), out)


def test_clips_are_those_that_the_synthetic_data_makes(clips: SyntheticClips, tmp_path: Path) -> None:
    run(tmp_path / "set", "--references", "2")
    shards = Shards(tmp_path / "set")
    encoders = load_encoders(EncoderFiles(str(MODEL), dtype="float32"), audio_only=False)
    assert len(shards) == 3
    for number in range(3):
        cached, made = shards.read(number), clips.clip(number)
        assert cached.source == f"{SOURCE} {number}"
        scene, sound = given_texts(5, number, made.scene, made.sound, audio_only=False)
        assert (cached.speech, cached.scene, cached.speaker) == (made.speech, scene, made.speaker)
        assert cached.prompt == compose_prompt(made.speech, scene, sound)
        assert cached.frames == len(made.frames)
        assert cached.spoken == (made.start_s, made.end_s)
        torch.testing.assert_close(cached.video, encoders.encode_video(made.frames), rtol=0, atol=1e-5)
        latents = timeline.audio_latents(cached.frames, 24, 16000, 512)
        padded = torch.nn.functional.pad(made.samples, (0, 512))[: 512 * latents]
        torch.testing.assert_close(cached.audio, encoders.encode_audio(padded), rtol=0, atol=1e-4)
        assert len(cached.references) == 2
        assert not torch.equal(cached.references[0][:, :9], cached.references[1][:, :9])


def test_sound_alone_has_the_lengths_and_texts_of_the_whole_clips(clips: SyntheticClips, tmp_path: Path) -> None:
    run(tmp_path / "whole", "--references", "0")
    run(tmp_path / "sound", "--references", "0", "--audio-only")
    whole, sound = Shards(tmp_path / "whole"), Shards(tmp_path / "sound")
    assert sound.table.audio_latents.tolist() == whole.table.audio_latents.tolist()
    for number in range(3):
        assert sound.read(number).video is None
        assert torch.equal(sound.read(number).audio, whole.read(number).audio)
        made = clips.spec(number)
        texts = given_texts(5, number, made.scene, made.sound, audio_only=True)
        assert sound.read(number).prompt == compose_prompt(made.speech, *texts)


def test_texts_are_left_out_of_a_share_of_the_clips() -> None:
    for audio_only, share in SCENE_LEFT_OUT.items():
        given = [given_texts(0, number, "scene", "sound", audio_only) for number in range(2000)]
        scenes = {""} if share == 1 else {"scene", ""}
        assert set(given) == {(scene, sound) for scene in scenes for sound in ("sound", "")}
        scenes, sounds = zip(*given, strict=True)
        assert abs(scenes.count("") / 2000 - share) < 0.04
        assert abs(sounds.count("") / 2000 - SOUND_LEFT_OUT) < 0.04
    assert given == [given_texts(0, number, "scene", "sound", audio_only) for number in range(2000)]
    assert given != [given_texts(1, number, "scene", "sound", audio_only) for number in range(2000)]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("synthetic:clips=3,colour=red", r"unknown key\(s\) colour; this version knows .*vocabulary"),
        ("synthetic:clips=many", "clips: got 'many', expected a whole number"),
        ("synthetic:", "clips"),
    ],
)
def test_a_setting_that_the_synthetic_data_does_not_have_is_named(source: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list_clips(source)


def test_rates_and_sizes_that_differ_from_the_models_are_refused(
    clips: SyntheticClips, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [str(tmp_path / "set"), "--model", str(MODEL)]
    assert main([f"{SOURCE},fps=25", *options, "--size", "64x64"]) == 1
    assert "makes 25 pictures and 16000 samples per second, the model takes 24 and 16000" in capsys.readouterr().err
    assert main([SOURCE, *options, "--size", "128x128"]) == 1
    assert "makes pictures of 64x64: give --size 64x64" in capsys.readouterr().err


def test_reading_a_clip_again_gives_the_same(clips: SyntheticClips) -> None:
    settings = settings_of(parser().parse_args([SOURCE, "out", "--model", str(MODEL), "--size", "64x64"]))
    config = load_encoders(settings.files, audio_only=True).config
    source = list_clips(SOURCE)[1]
    first, second = (next(SyntheticReader(SOURCE, config, settings.read).read(source)) for _ in range(2))
    assert torch.equal(first.frames, second.frames)
    assert torch.equal(first.waveform, second.waveform)
    assert torch.equal(first.references[0], second.references[0])
