"""The bundle: a complete model file, whose latent statistics and preview factors are those of its own codecs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

pytest.importorskip("accelerate", reason="needs requirements-train.txt")

from clips import Tone, Tones
from tiny_data import make_dataset

from unitalking.checkpoint.files import load_strict, read_model
from unitalking.checkpoint.parts import build_part
from unitalking.checkpoint.random_model import TINY, random_tensors
from unitalking.codec.audio_codec import AUDIO_CODEC_TINY, AudioCodec
from unitalking.codec.video_vae import VIDEO_VAE_TINY, VideoVAE
from unitalking.domain import Domain
from unitalking.latents import LatentStatistics
from unitalking.mapping import to_mapping
from unitalking.training import assemble
from unitalking.training.audio_vae import AudioVAEConfig
from unitalking.training.bundle import (
    _cell_colours,
    _preview_factors,
    measure_domain,
    measure_latents,
    with_codecs,
)
from unitalking.training.dataset import read_description
from unitalking.training.part_files import save_part
from unitalking.training.result import write_bundle, write_model
from unitalking.training.settings import TrainingError
from unitalking.training.start import ModelSettings, load_start


def codecs(seed: int = 0) -> assemble.Codecs:
    torch.manual_seed(seed)
    found = assemble.Codecs(VideoVAE(VIDEO_VAE_TINY), AudioCodec(AUDIO_CODEC_TINY))
    found.audio_codec.vae.data_mean.fill_(-2.0)
    return found


def write_parts(folder: Path, made: assemble.Codecs) -> list[Path]:
    config = AUDIO_CODEC_TINY
    vae = AudioVAEConfig(config.mel, config.latent_channels, config.hidden_dim)
    parts: dict[str, tuple[Any, torch.nn.Module]] = {
        "video_vae": (VIDEO_VAE_TINY, made.video_vae),
        "audio_vae": (vae, made.audio_codec.vae),
        "vocoder": (config.vocoder, made.audio_codec.vocoder),
    }
    paths = []
    for part, (described, module) in parts.items():
        paths.append(folder / f"{part}.safetensors")
        save_part(paths[-1], part, described, module.state_dict(), 7)
    return paths


def test_statistics_make_latents_standard() -> None:
    made = codecs()
    found = measure_latents(made.video_vae, made.audio_codec, Tones(samples=9000), 3, 4)
    with torch.no_grad():
        clips = [Tones(samples=9000).clip(index) for index in range(4)]
        heard = torch.cat([made.audio_codec.encode(clip.samples[None]) for clip in clips], 2)
        frames = torch.stack([clip.frames for clip in clips[:3]]).permute(0, 4, 1, 2, 3) / 127.5 - 1
        seen = made.video_vae.encode(frames)
    for latents, statistics in ((heard, found.audio), (seen, found.video)):
        normalised = statistics.normalise(latents).transpose(0, 1).flatten(1)
        assert torch.allclose(normalised.mean(1), torch.zeros(len(normalised)), atol=1e-3)
        assert torch.allclose(normalised.std(1), torch.ones(len(normalised)), atol=1e-3)


class ManyTones(Tones):
    """The same six clips over and over."""

    def clip(self, index: int) -> Tone:
        return super().clip(index % 6)


def test_a_model_knows_the_pictures_of_its_clips_early_and_late() -> None:
    made, clips = codecs(), ManyTones(clips=128, size=64)
    found = measure_domain(made.video_vae, clips, 128)
    assert found.cells == (4, 4)

    def distance(frame: torch.Tensor) -> float:
        values = frame.permute(2, 0, 1)[None, :, None].float() / 127.5 - 1
        with torch.no_grad():
            return float(found.distance(made.video_vae.encode(values)[:, :, 0]))

    for index in (3, 60, 127):
        for place in (0, 6, 12):
            assert distance(clips.clip(index).frames[place]) < 1.2 * found.limit
    assert distance(torch.randint(0, 255, (64, 64, 3))) > 1.1 * found.limit


def test_preview_factors_find_a_linear_picture() -> None:
    torch.manual_seed(0)
    latents, factors, bias = torch.randn(5, 400), torch.randn(5, 3), torch.tensor([0.1, -0.2, 0.3])
    found = _preview_factors(latents, factors.T @ latents + bias[:, None])
    assert found.shape == (6, 3)
    assert torch.allclose(found[:-1], factors, atol=1e-5)
    assert torch.allclose(found[-1], bias, atol=1e-5)


def test_the_colour_of_a_cell_is_that_of_its_own_frames() -> None:
    frames = torch.zeros(3, 9, 32, 32)
    frames[0, 0, :16, :16] = 1.0  # the first frame has a latent of its own
    frames[1, 5:7, 16:] = 0.5  # half of the frames of the last latent
    colours = _cell_colours(frames)
    wanted = torch.zeros(3, 3, 2, 2)
    wanted[0, 0, 0, 0] = 1.0
    wanted[1, 2, 1, :] = 0.25
    assert torch.equal(colours, wanted)


def test_an_assembled_bundle_loads_and_codes_as_its_parts_do(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="needs requirements-train.txt")
    made = codecs()
    paths = write_parts(tmp_path, made)
    out = tmp_path / "bundle.safetensors"
    arguments = [f"--{path.stem.replace('_', '-')}={path}" for path in paths]
    assert assemble.main([*arguments, f"--out={out}", "--clips=4", "--pictures=64"]) == 0
    with safetensors.safe_open(out, "pt") as opened:
        metadata = opened.metadata()
    file = read_model(safetensors.torch.load_file(out), metadata, out.name)
    assert file.config.in_dim == file.config.out_dim == VIDEO_VAE_TINY.latent_channels
    assert (file.config.sample_rate, file.config.hop) == (16000, 256)
    assert file.rgb.shape == (file.config.in_dim + 1, 3)
    assert file.domain.cells == (8, 8)
    assert 0.5 < file.domain.limit < 5
    assert file.parts.keys() == {"text_encoder", "video_vae", "audio_vae"}
    assert file.parts["audio_vae"]["vae.data_mean"].dtype == torch.float32
    assert file.parts["audio_vae"]["vocoder.conv_pre.weight"].dtype == torch.float16
    loaded = build_part(file.config, "audio_vae")
    load_strict(loaded, {name: value.float() for name, value in file.parts["audio_vae"].items()}, "audio_vae")
    wave = Tones().speech(1).samples[None]
    with torch.no_grad():
        wanted, got = made.audio_codec.encode(wave), loaded.encode(wave)
    assert (wanted - got).abs().max() < 0.02 * wanted.abs().max()


def test_what_a_bundle_knows_is_kept_by_the_models_that_start_from_it(tmp_path: Path) -> None:
    made, known = codecs(), Domain.measured(torch.randn(64, VIDEO_VAE_TINY.latent_channels, 4, 4))
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for entry, values in random_tensors(TINY, seed=0):
        part, _, name = entry.name.partition(".")
        if part in ("video", "audio", "text_encoder"):
            parts.setdefault(part, {})[name] = values
    parts |= {"video_vae": made.video_vae.state_dict(), "audio_vae": made.audio_codec.state_dict()}
    bundle, out = tmp_path / "bundle.safetensors", tmp_path / "trained.safetensors"
    write_bundle(bundle, TINY, parts, {}, None, {}, domain=known)
    info = read_description(make_dataset(tmp_path / "data"))
    fresh = to_mapping(replace(TINY, video_vae=None, audio_codec=None))
    for settings in (ModelSettings(start=str(bundle)), ModelSettings(config=fresh, codecs=str(bundle))):
        start = load_start(settings, info)
        write_model(out, start, {f"network.{name}": value for name, value in start.network.state_dict().items()}, {})
        kept = Domain.from_tensors(safetensors.torch.load_file(out), TINY.in_dim)
        assert kept is not None
        assert torch.equal(kept.precision, known.precision)


def test_a_picture_codec_that_was_ready_later_replaces_the_one_that_speech_was_trained_with(tmp_path: Path) -> None:
    """The sound keeps its codec, its statistics and its network; the pictures get all of theirs."""
    random = {seed: {e.name: v for e, v in random_tensors(TINY, seed=seed)} for seed in (0, 1)}
    files = {}
    for seed, tensors in random.items():
        parts: dict[str, dict[str, torch.Tensor]] = {}
        for name, values in tensors.items():
            part, _, rest = name.partition(".")
            if part in ("video", "audio", "text_encoder", "video_vae", "audio_vae"):
                parts.setdefault(part, {})[rest] = values
        channels = {"video": TINY.in_dim, "audio": TINY.audio_channels}
        latents = {name: LatentStatistics(torch.full((n,), float(seed)), torch.ones(n)) for name, n in channels.items()}
        known = Domain.measured(torch.randn(64, TINY.in_dim, 4, 4))
        files[seed] = tmp_path / f"{seed}.safetensors"
        write_bundle(files[seed], TINY, parts, latents, None, {}, domain=known)
    info = read_description(make_dataset(tmp_path / "data"))
    old, new = (load_start(ModelSettings(start=str(files[seed])), info) for seed in (0, 1))
    start = load_start(ModelSettings(start=str(files[0]), picture_codec=str(files[1])), info)

    def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
        return all(torch.equal(value, other[name]) for name, value in one.items())

    assert same(start.codecs["video_vae"], new.codecs["video_vae"])
    assert not same(start.codecs["video_vae"], old.codecs["video_vae"])
    assert same(start.codecs["audio_vae"], old.codecs["audio_vae"])
    assert same(start.network.state_dict(), old.network.state_dict())
    assert [float(statistics.mean[0]) for statistics in start.statistics] == [1.0, 0.0]
    assert torch.equal(start.domain.precision, new.domain.precision)
    other = tmp_path / "other.safetensors"
    wider = replace(TINY, in_dim=12, out_dim=12)
    write_bundle(other, wider, {"video_vae": {"weight": torch.ones(1)}}, {}, None, {})
    with pytest.raises(TrainingError, match=r"model.picture_codec.*12 channels"):
        load_start(ModelSettings(start=str(files[0]), picture_codec=str(other)), info)


def test_codecs_set_channels_rates_and_strides_of_the_model() -> None:
    config = with_codecs(TINY, VIDEO_VAE_TINY, AUDIO_CODEC_TINY)
    assert (config.in_dim, config.audio_channels, config.video_stride) == (24, 20, (4, 16, 16))
    assert (config.sample_rate, config.hop) == (16000, 256)
    assert config.video_vae["widths"] == [16, 32, 48]


def test_weights_beyond_half_precision_are_refused(tmp_path: Path) -> None:
    parts = {"video_vae": {"weight": torch.tensor([1e6])}}
    with pytest.raises(ValueError, match=r"video_vae\.weight: holds values that are not finite"):
        write_bundle(tmp_path / "bundle.safetensors", TINY, parts, {}, None, {})
    assert not list(tmp_path.iterdir())


def test_parts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    video, audio, vocoder = write_parts(tmp_path, codecs())
    with pytest.raises(TrainingError, match="expected video_vae"):
        assemble.load_codecs(audio, audio, vocoder)
    with pytest.raises(TrainingError, match="Train the vocoder first"):
        assemble.load_codecs(video, audio, tmp_path / "none")
