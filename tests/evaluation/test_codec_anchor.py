"""Real clips through a codec, and Griffin-Lim as the bar for vocoders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from unitalking.checkpoint.files import CheckpointError
from unitalking.checkpoint.random_model import TINY, write_random
from unitalking.codec.mel import MEL_16K, MEL_44K, MelSpectrogram
from unitalking.evaluation.clips import JudgedClip
from unitalking.evaluation.codec_anchor import Codec, griffin_lim_of, load_codec, mel_distance, through_codec
from unitalking.evaluation.griffin_lim import griffin_lim


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> Codec:
    path = tmp_path_factory.mktemp("codec") / "tiny.safetensors"
    write_random(path, TINY, 0)
    return load_codec(path)


def glide(seconds: float = 1.0, rate: int = 16000) -> torch.Tensor:
    """A voice-like sound whose pitch rises."""
    time = torch.arange(int(rate * seconds)) / rate
    phase = 2 * torch.pi * (120 * time + 40 * time.square())
    return 0.1 * torch.stack([torch.sin(n * phase) / n for n in range(1, 20)]).sum(dim=0)


@pytest.mark.parametrize("frames", [25, 26, 28])
def test_a_coded_clip_has_the_length_of_the_real_one(codec: Codec, frames: int) -> None:
    pictures = torch.randint(0, 256, (frames, 64, 64, 3), dtype=torch.uint8)
    clip = JudgedClip("a", glide(frames / 24), pictures, speech="what was asked for")
    coded = through_codec(clip, codec)
    assert coded.frames.shape == pictures.shape
    assert coded.frames.dtype == torch.uint8
    assert coded.sound.shape == clip.sound.shape
    assert not torch.equal(coded.frames, pictures)
    assert coded.speech == clip.speech


def test_what_a_bundle_lacks_passes_unchanged() -> None:
    clip = JudgedClip("a", glide(), torch.zeros(5, 32, 32, 3, dtype=torch.uint8))
    same = through_codec(clip, Codec(None, None))
    assert torch.equal(same.sound, clip.sound)
    assert torch.equal(same.frames, clip.frames)
    with pytest.raises(ValueError, match="no audio codec"):
        griffin_lim_of(Codec(None, None))


def test_another_file_is_no_codec(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(3)}, str(tmp_path / "other.safetensors"))
    with pytest.raises(CheckpointError, match=r"other\.safetensors"):
        load_codec(tmp_path / "other.safetensors")


@pytest.mark.parametrize(("config", "farthest"), [(MEL_16K, 0.35), (MEL_44K, 0.5)], ids=["16k", "44k"])
def test_griffin_lim_gives_the_mel_back_in_time_with_the_original(config: object, farthest: float) -> None:
    waveform = glide(rate=config.sample_rate)[None]
    front_end = MelSpectrogram(config)
    mel = front_end(waveform)
    again = griffin_lim(mel, config)
    assert again.shape[1] == mel.shape[2] * config.hop
    scale = 1.0 if config.log == "ln" else 2.302585

    def distance(shift: int) -> float:
        inner = slice(4096, 12000)
        moved = front_end(again.roll(shift, dims=1)[:, inner])
        return float((moved - front_end(waveform[:, inner])).abs().mean()) * scale

    assert distance(0) < farthest
    assert distance(0) < min(distance(config.hop // 2), distance(-config.hop // 2))


def test_griffin_lim_is_repeatable_and_leaves_the_global_random_state() -> None:
    mel = MelSpectrogram(MEL_16K)(glide(0.4)[None])
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    once, again = griffin_lim(mel), griffin_lim(mel)
    assert torch.equal(once, again)
    assert torch.rand(1) == expected


def test_mel_distance_is_zero_for_the_same_and_in_nepers_for_a_louder_one() -> None:
    sound = glide() + 0.01 * torch.randn(16000, generator=torch.Generator().manual_seed(0))
    assert mel_distance(sound, sound) == 0
    assert mel_distance(sound, 0.5 * sound) == pytest.approx(0.693, abs=0.02)
