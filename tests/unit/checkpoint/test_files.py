"""The one-file format: reading, refusing, inferring."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from unitalking.checkpoint.files import CONFIG_TENSOR, METADATA_KEY, CheckpointError, read_model, read_part
from unitalking.checkpoint.keys import to_file_keys, to_module_keys
from unitalking.checkpoint.random_model import TINY, random_tensors
from unitalking.mapping import to_mapping


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return {entry.name: value for entry, value in random_tensors(TINY, 0)}


@pytest.fixture(scope="module")
def metadata() -> dict[str, str]:
    return {METADATA_KEY: json.dumps(to_mapping(TINY))}


def test_a_bundle_comes_apart_completely(tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    file = read_model(tensors, metadata, "tiny")
    assert file.config == TINY
    assert set(file.parts) == {"text_encoder", "video_vae", "audio_vae"}
    assert torch.equal(file.video.mean, tensors["latents.video.mean"])
    assert torch.equal(file.audio.std, tensors["latents.audio.std"])
    assert file.rgb.shape == (TINY.in_dim + 1, 3)
    counted = len(file.network) + sum(len(part) for part in file.parts.values())
    assert counted == len(tensors) - 6  # the config, four statistics and the preview factors
    assert file.notes == ()


def test_config_tensor_serves_without_metadata(tensors: dict[str, Tensor]) -> None:
    assert read_model(tensors, None, "tiny").config == TINY


@pytest.mark.parametrize("prefix", ["model.diffusion_model.", "diffusion_model."])
def test_prefix_of_a_saver_is_stripped(tensors: dict[str, Tensor], prefix: str) -> None:
    saved = {prefix + key: value for key, value in tensors.items()}
    assert read_model(saved, None, "saved").config == TINY


def test_without_config_sizes_come_from_shapes_and_a_note_says_so(tensors: dict[str, Tensor]) -> None:
    config = dataclasses.replace(TINY, dim=128, num_heads=1)
    given = {entry.name: value for entry, value in random_tensors(config, 0) if entry.name != CONFIG_TENSOR}
    file = read_model(given, None, "bare")
    assert (file.config.dim, file.config.num_layers, file.config.in_dim) == (128, 3, config.in_dim)
    assert (file.config.audio_channels, file.config.text_dim) == (config.audio_channels, config.text_dim)
    assert file.config.sample_rate == 44100
    assert len(file.notes) == 1
    assert "no config" in file.notes[0]


def test_without_config_a_width_that_is_no_multiple_of_128_is_refused(tensors: dict[str, Tensor]) -> None:
    bare = {key: value for key, value in tensors.items() if key != CONFIG_TENSOR}
    with pytest.raises(CheckpointError, match="width 96 is not a multiple of 128"):
        read_model(bare, None, "bare")


Change = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def without(prefix: str) -> Change:
    return lambda given: {key: value for key, value in given.items() if not key.startswith(prefix)}


CASES: dict[str, tuple[Change, str]] = {
    "missing": (without("video.head.head.bias"), "1 missing: video.head.head.bias"),
    "unexpected": (lambda given: {**given, "audio.more": torch.zeros(1)}, "1 unexpected: audio.more"),
    "shape": (
        lambda given: {**given, "audio.head.head.bias": torch.zeros(3)},
        r"1 of another shape: audio.head.head.bias \(\(3,\) instead of \(20,\)\)",
    ),
    "many": (without("audio.blocks.1."), "and 26 more"),
    "no audio": (without("audio."), "has a video stream but no audio stream"),
    "foreign": (lambda given: {"input_blocks.0.0.weight": torch.zeros(1)}, "a Stable Diffusion checkpoint, not a Uni"),
    "empty": (lambda given: {}, "an empty file, not a UniTalking model"),
    "statistics": (lambda given: {**given, "latents.video.std": torch.zeros(24)}, "not above 0"),
    "statistics shape": (
        lambda given: {**given, "latents.audio.mean": torch.zeros(3)},
        r"got \(3,\), expected \(20,\)",
    ),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_file_that_does_not_fit_is_refused_by_name(
    tensors: dict[str, Tensor], metadata: dict[str, str], name: str
) -> None:
    change, message = CASES[name]
    with pytest.raises(CheckpointError, match=message) as caught:
        read_model(change(dict(tensors)), metadata, "file.safetensors")
    assert "file.safetensors" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 99}, "format_version: got 99"),
        ({"fusion": "other"}, "fusion: got 'other'"),
        ({"surprise": 1}, "unknown key"),
        ({"num_heads": 5}, "dim, num_heads"),
    ],
)
def test_a_config_that_cannot_be_honoured_is_refused(
    tensors: dict[str, Tensor], change: dict[str, object], message: str
) -> None:
    config = {METADATA_KEY: json.dumps({**to_mapping(TINY), **change})}
    with pytest.raises(CheckpointError, match=message):
        read_model(tensors, config, "file")


def test_scales_of_quantised_weights_are_not_unexpected(tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    given = {**tensors, "video.blocks.0.ffn.0.weight_scale": torch.ones(())}
    assert "video.blocks.0.ffn.0.weight_scale" in read_model(given, metadata, "fp8").network


def test_module_and_file_names_are_inverse(tensors: dict[str, Tensor]) -> None:
    network = {key: None for key in tensors if key.startswith(("video.", "audio."))}
    assert to_file_keys(to_module_keys(network)) == network
    assert sum(key.endswith(".modulation") for key in network) == 2 * (TINY.num_layers + 1)


def test_a_part_can_be_taken_from_a_bundle(tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    config, part = read_part(tensors, metadata, "audio_vae", "tiny")
    assert config == TINY
    assert "vae.data_mean" in part
    with pytest.raises(CheckpointError, match=r"holds no audio_vae"):
        read_part({"decoder.mid.attn_1.qkv.weight": torch.zeros(1)}, None, "audio_vae", "v1-44.pth")
