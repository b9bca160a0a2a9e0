"""The config: derived numbers, defaults of the full model, and what it refuses."""

from __future__ import annotations

import dataclasses

import pytest

from unitalking.config import FORMAT_VERSION, UniTalkingConfig
from unitalking.mapping import from_mapping, to_mapping


def test_defaults_are_the_full_model() -> None:
    config = UniTalkingConfig()
    sizes = (config.dim, config.ffn_dim, config.num_heads, config.num_layers, config.text_dim, config.text_len)
    assert sizes == (3072, 14336, 24, 30, 4096, 512)
    assert (config.in_dim, config.out_dim, config.audio_channels, config.patch_size) == (48, 48, 40, (1, 2, 2))
    assert (config.reference_tokens, config.reference_streams) == (257, ("audio",))
    assert (config.fps, config.sample_rate, config.hop, config.video_stride) == (24, 44100, 512, (4, 16, 16))
    assert config.eps == 1e-6
    assert config.rope_theta == 10000.0
    assert config.extra_positions is None


def test_sampling_defaults_are_the_published_ones() -> None:
    sampling = UniTalkingConfig().sampling
    assert (sampling.steps, sampling.sigma_shift) == (50, 5.0)
    assert (sampling.guidance_video, sampling.guidance_audio) == (4.0, 3.0)


def test_the_trained_range_of_the_full_model_is_five_seconds_of_704_by_704() -> None:
    trained = UniTalkingConfig().trained
    assert (trained.width, trained.height, trained.frames) == (704, 704, 121)
    assert (trained.max_area, trained.max_frames) == (704 * 1280, 241)


def test_derived_numbers_follow_the_fields() -> None:
    config = UniTalkingConfig()
    assert config.head_dim == 128
    assert config.time_stride == 4
    assert config.samples_per_latent == 1024
    assert config.side_multiple == 32
    assert UniTalkingConfig(video_stride=(4, 8, 8), patch_size=(1, 4, 4)).side_multiple == 32
    assert UniTalkingConfig(video_stride=(4, 8, 8)).side_multiple == 16
    assert config.audio_latents_per_s == pytest.approx(43.06640625)


def test_position_scale_comes_from_the_rates() -> None:
    assert UniTalkingConfig().position_scale == pytest.approx(512 / 3675, rel=1e-15)
    assert UniTalkingConfig(sample_rate=16000, hop=256).position_scale == pytest.approx(0.192, rel=1e-15)


def test_position_scale_of_the_file_wins() -> None:
    assert UniTalkingConfig(audio_position_scale=0.25).position_scale == 0.25


@pytest.mark.parametrize(("joint_blocks", "joint"), [(None, [True] * 3), (0, [False] * 3), (2, [True, True, False])])
def test_first_joint_blocks_are_joint(joint_blocks: int | None, joint: list[bool]) -> None:
    config = UniTalkingConfig(num_layers=3, joint_blocks=joint_blocks)
    assert [config.is_joint(block) for block in range(3)] == joint


def test_config_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        UniTalkingConfig().dim = 4


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"format_version": FORMAT_VERSION + 1}, "format_version"),
        ({"fusion": "adjacent"}, "fusion"),
        ({"audio_stem": "spline"}, "audio_stem"),
        ({"prompt_style": "verse"}, "prompt_style"),
        ({"dim": 0}, "dim"),
        ({"num_heads": 0}, "num_heads"),
        ({"num_layers": 0}, "num_layers"),
        ({"ffn_dim": -1}, "ffn_dim"),
        ({"text_len": 0}, "text_len"),
        ({"hop": 0}, "hop"),
        ({"sample_rate": 0}, "sample_rate"),
        ({"reference_tokens": -1}, "reference_tokens"),
        ({"num_heads": 7}, "num_heads"),
        ({"dim": 72, "num_heads": 24}, "dim"),
        ({"freq_dim": 255}, "freq_dim"),
        ({"joint_blocks": 31}, "joint_blocks"),
        ({"joint_blocks": -1}, "joint_blocks"),
        ({"reference_streams": ("audio", "smell")}, "reference_streams"),
        ({"patch_size": (2, 2, 2)}, "patch_size"),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_name(change: dict, named: str) -> None:
    value = str(change[named])
    with pytest.raises(ValueError, match=named) as refusal:
        UniTalkingConfig(**change)
    assert value.strip("()").split(", ")[-1].strip("'") in str(refusal.value), "the message quotes the value"


def test_config_survives_json_shapes() -> None:
    config = UniTalkingConfig(
        dim=64, num_heads=2, reference_streams=("video", "audio"), extra_positions=(4, 4), video_vae={"width": 32}
    )
    plain = to_mapping(config)
    assert plain["patch_size"] == [1, 2, 2]
    assert plain["sampling"]["steps"] == 50
    assert from_mapping(UniTalkingConfig, plain) == config


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValueError, match="num_layres"):
        from_mapping(UniTalkingConfig, {"num_layres": 3})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fps": 0}, "fps: got 0"),
        ({"eps": -1.0}, "eps: got -1.0"),
        ({"rope_theta": 0.0}, "rope_theta: got 0.0"),
        ({"time_scale": 0.0}, "time_scale: got 0.0"),
        ({"video_stride": (4, 16, 8)}, "must be square"),
        ({"sampling": {"steps": 0}}, "steps: got 0"),
        ({"sampling": {"sigma_shift": -1.0}}, "sigma_shift: got -1.0"),
        ({"trained": {"frames": 0}}, "frames: got 0"),
    ],
)
def test_a_value_that_would_fail_later_is_refused_by_name(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_mapping(UniTalkingConfig, change)
