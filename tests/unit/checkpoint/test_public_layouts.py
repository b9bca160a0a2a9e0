"""Ovi's and Wan2.2's files in every public layout are one and the same model."""

from __future__ import annotations

import pytest
import torch
from public_files import (
    OVI,
    OVI_LAYOUTS,
    WAN,
    WAN_LAYOUTS,
    cast_float8,
    network,
    ovi_published,
    scaled_float8,
    stream_of,
    wan_native,
)
from torch import Tensor

from unitalking.checkpoint.files import CheckpointError, ModelFile, read_model
from unitalking.checkpoint.float8 import as_scaled
from unitalking.checkpoint.keys import to_module_keys
from unitalking.checkpoint.public_layouts import joined
from unitalking.checkpoint.public_models import OVI_MODELS, WAN22_5B
from unitalking.latents import WAN22_MEAN, WAN22_STD


def same(file: ModelFile, tensors: dict[str, Tensor]) -> bool:
    expected = to_module_keys(tensors)
    return set(file.network) == set(expected) and all(torch.equal(file.network[key], expected[key]) for key in expected)


def read(tensors: dict[str, Tensor], name: str) -> ModelFile:
    """A file that has to be understood."""
    try:
        return read_model(tensors, None, name)
    except CheckpointError as error:
        pytest.fail(str(error))


@pytest.mark.parametrize("layout", OVI_LAYOUTS)
@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_ovi_is_read_from_every_layout(layout: str, prefix: str, dtype: torch.dtype) -> None:
    tensors = {name: value.to(dtype) for name, value in network(OVI).items()}
    given = {prefix + name: value for name, value in OVI_LAYOUTS[layout](tensors).items()}
    file = read(given, "model.safetensors")
    assert same(file, tensors), "every weight bit for bit, its dtype kept"
    assert file.config == OVI
    assert file.video.mean.tolist() == pytest.approx(WAN22_MEAN)
    assert file.video.std.tolist() == pytest.approx(WAN22_STD)
    assert file.audio.mean.tolist() == [0.0] * 20
    assert file.audio.std.tolist() == [1.0] * 20
    assert file.notes == ("model.safetensors is taken for Ovi 720x720_5s.",)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("model.safetensors", "720x720_5s"),
        ("model_960x960.safetensors", "960x960_5s"),
        ("Wan2_2-5B-Ovi_960x960_10s_bf16.safetensors", "960x960_10s"),
    ],
)
def test_ovis_models_differ_in_length_size_and_prompts(name: str, model: str) -> None:
    file = read_model(ovi_published(network(OVI)), None, name)
    known = OVI_MODELS[model]
    assert file.config.name == f"Ovi {model}"
    assert (file.config.lengths, file.config.prompt_style) == (known.lengths, known.prompt_style)
    assert (file.config.trained, file.config.sampling.skipped_block) == (known.trained, 11)


@pytest.mark.parametrize("order", [("video", "audio"), ("audio", "video")])
@pytest.mark.parametrize("prefixed", [True, False])
def test_ovi_in_two_files_is_joined_in_either_order(order: tuple[str, str], *, prefixed: bool) -> None:
    tensors = network(OVI)
    files = []
    for stream in order:
        part = stream_of(tensors, stream)
        files.append({f"{stream}_model.{name}": value for name, value in part.items()} if prefixed else part)
    assert same(read(joined(*files, ("one", "two")), "one"), tensors)


def test_half_of_ovi_says_which_half_is_missing() -> None:
    tensors = network(OVI)
    for stream, other in (("video", "audio"), ("audio", "video")):
        with pytest.raises(CheckpointError, match=f"half is Ovi's {stream} stream alone: choose its {other} stream at"):
            read_model(stream_of(tensors, stream), None, "half")
    video = stream_of(tensors, "video")
    with pytest.raises(ValueError, match="one and two are both video streams"):
        joined(video, video, ("one", "two"))
    with pytest.raises(ValueError, match="two is not one stream of an Ovi model"):
        joined(video, wan_native(network(WAN)), ("one", "two"))


@pytest.mark.parametrize("layout", WAN_LAYOUTS)
def test_wan_is_read_as_the_picture_stream(layout: str) -> None:
    tensors = network(WAN)
    file = read_model(WAN_LAYOUTS[layout](tensors), None, "wan2.2_ti2v_5B_fp16.safetensors")
    assert same(file, tensors)
    assert file.config == WAN
    assert (file.config.audio_channels, file.config.sampling) == (0, WAN22_5B.sampling)
    assert file.video.mean.tolist() == pytest.approx(WAN22_MEAN)


def test_other_wan_models_are_refused_with_what_they_are() -> None:
    given = wan_native(network(WAN))
    given["patch_embedding.weight"] = given["patch_embedding.weight"][:, :16]
    with pytest.raises(CheckpointError, match=r"14B\.safetensors is a Wan video model of 16 latent channels, of which"):
        read_model(given, None, "14B.safetensors")


@pytest.mark.parametrize("suffix", [".scale_weight", ".weight_scale"])
def test_scales_of_float8_are_brought_to_one_name(suffix: str) -> None:
    given = scaled_float8(ovi_published(network(OVI)), suffix)
    file = read_model(as_scaled(given), None, "model.safetensors")
    scales = {key for key in file.network if key.endswith(".scale_weight")}
    narrow = {key for key, value in file.network.items() if value.dtype == torch.float8_e4m3fn}
    assert {key.removesuffix(".scale_weight") + ".weight" for key in scales} == narrow
    assert len(narrow) == OVI.num_layers * 2 * 12
    name = "video.blocks.1.cross_attn.k_fusion"
    expected = network(OVI)[f"{name}.weight"].float()
    found = file.network[f"{name}.weight"].float() * file.network[f"{name}.scale_weight"]
    assert (found - expected).norm() / expected.norm() < 0.05


def test_float8_without_scales_keeps_only_matrices_narrow() -> None:
    tensors = network(OVI)
    file = read_model(as_scaled(cast_float8(ovi_published(tensors))), None, "model.safetensors")
    for key, value in file.network.items():
        if key.endswith(".scale_weight"):
            assert value == 1
        elif value.dtype == torch.float8_e4m3fn:
            assert value.ndim == 2
            assert f"{key.removesuffix('.weight')}.scale_weight" in file.network
        else:
            assert value.dtype == torch.bfloat16
    for key in (
        "video.blocks.0.modulation.weight",
        "audio.patch_embedding.2.w1.weight",
        "video.patch_embedding.weight",
    ):
        assert torch.equal(file.network[key], to_module_keys(tensors)[key].to(torch.float8_e4m3fn).to(torch.bfloat16))


def test_files_in_the_hosts_own_forms_are_left_alone() -> None:
    given = scaled_float8(network(OVI), ".weight_scale")
    given["video.blocks.0.self_attn.q.comfy_quant"] = torch.zeros(3, dtype=torch.uint8)
    assert as_scaled(given).keys() == given.keys()
    plain = network(OVI)
    assert as_scaled(plain).keys() == plain.keys()
