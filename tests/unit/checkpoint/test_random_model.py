"""Random models: complete, repeatable, and every input changes every output."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from unitalking.checkpoint import __main__ as command
from unitalking.checkpoint.files import read_model
from unitalking.checkpoint.keys import to_module_keys
from unitalking.checkpoint.parts import build_part
from unitalking.checkpoint.random_model import FULL, PRESETS, SLICE, TINY, entries, random_tensors, write_random
from unitalking.codec.audio_vae import weights_are_raw
from unitalking.model.transformer import UniTalking
from unitalking.types import NoiseLevels, StreamInput

INPUTS = ("video", "audio", "video_context", "audio_context", "reference", "timestep")


@pytest.fixture(scope="module")
def tiny() -> dict[str, Tensor]:
    return {entry.name: value for entry, value in random_tensors(TINY, 0)}


@pytest.fixture(scope="module")
def model(tiny: dict[str, Tensor]) -> UniTalking:
    network = {key: value.float() for key, value in tiny.items() if key.startswith(("video.", "audio."))}
    model = UniTalking(TINY)
    model.load_state_dict(to_module_keys(network), strict=True)
    return model


def test_written_file_is_readable_and_small(tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    size = write_random(path, TINY, 0)
    assert size == path.stat().st_size <= 10_000_000
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    with safe_open(path, "pt") as file:
        loaded = read_model(load_file(path), file.metadata(), path.name)
    assert loaded.config == TINY


def test_seed_decides_every_value(tmp_path: Path, tiny: dict[str, Tensor]) -> None:
    again = {entry.name: value for entry, value in random_tensors(TINY, 0)}
    other = {entry.name: value for entry, value in random_tensors(TINY, 1)}
    assert all(torch.equal(again[key], value) for key, value in tiny.items())
    same = [key for key, value in tiny.items() if torch.equal(other[key], value)]
    assert same == ["unitalking.config"]


def test_no_tensor_is_constant(tiny: dict[str, Tensor]) -> None:
    flat = [key for key, value in tiny.items() if value.numel() > 1 and value.float().std() == 0]
    assert flat == []


def test_codec_weights_are_normalised(tiny: dict[str, Tensor]) -> None:
    weights = {key.removeprefix("audio_vae.vae."): value for key, value in tiny.items() if "audio_vae.vae." in key}
    assert not weights_are_raw({key: value.float() for key, value in weights.items()})


def test_full_and_slice_have_full_widths(tiny: dict[str, Tensor]) -> None:
    shapes = {entry.name: entry.shape for entry in entries(SLICE)}
    full = {entry.name: entry.shape for entry in entries(FULL)}
    assert shapes["video.blocks.1.ffn.0.weight"] == full["video.blocks.29.ffn.0.weight"] == (14336, 3072)
    assert shapes["audio_vae.vae.decoder.conv_in.weight"] == full["audio_vae.vae.decoder.conv_in.weight"]
    assert {key for key in full if key.startswith("video.")} - set(shapes)
    assert all(preset.text_encoder is None for preset in (FULL, SLICE))


def outputs(model: UniTalking, changed: str | None) -> dict[str, Tensor]:
    """Velocities of both streams with one input changed a little."""
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "video": (1, TINY.in_dim, 3, 4, 4),
        "audio": (1, TINY.audio_channels, 9),
        "video_context": (1, 7, TINY.text_dim),
        "audio_context": (1, 7, TINY.text_dim),
        "reference": (1, TINY.audio_channels, model.config.reference_tokens),
        "timestep": (1,),
    }
    given = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    given["timestep"] = torch.tensor([600.0])
    if changed:
        given[changed] = given[changed] * 1.1
    conditions = model.encode_conditions(given["video_context"], given["audio_context"], given["reference"])
    inputs = []
    for name, condition in zip(("video", "audio"), conditions, strict=True):
        rope, extra = getattr(model, f"{name}_layout")(given[name])
        noise = NoiseLevels.uniform(given["timestep"], rope.cos.shape[0])
        inputs.append(StreamInput(given[name], noise, rope, condition, extra))
    video, audio = model(*inputs)
    return {"video": video, "audio": audio}


@torch.inference_mode()
@pytest.mark.parametrize("changed", INPUTS)
def test_every_input_changes_every_output(model: UniTalking, changed: str) -> None:
    before, after = outputs(model, None), outputs(model, changed)
    for name in before:
        assert before[name].isfinite().all()
        moved = ((after[name] - before[name]).norm() / before[name].norm()).item()
        assert moved > 1e-4, f"{changed} moves {name} by {moved}"


def part(tiny: dict[str, Tensor], name: str) -> torch.nn.Module:
    module = build_part(TINY, name)
    prefix = f"{name}."
    weights = {key.removeprefix(prefix): value.float() for key, value in tiny.items() if key.startswith(prefix)}
    module.load_state_dict(weights, strict=True)
    return module


@torch.inference_mode()
def test_random_codecs_decode_something_audible_and_visible(tiny: dict[str, Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    sound = part(tiny, "audio_vae").decode(torch.randn(1, TINY.audio_channels, 8, generator=generator))
    assert 0.01 < sound.std() < 0.7
    pictures = part(tiny, "video_vae").decode(torch.randn(1, TINY.in_dim, 2, 4, 4, generator=generator))
    assert 0.05 < pictures.std() < 2


@torch.inference_mode()
def test_every_tensor_of_the_network_matters() -> None:
    config = dataclasses.replace(TINY, num_layers=1, text_len=8, reference_tokens=8)
    weights = {entry.name: value.float() for entry, value in random_tensors(config, 0)}
    model = UniTalking(config)
    model.load_state_dict(to_module_keys({key: weights[key] for key in weights if key[:6] in ("video.", "audio.")}))
    before = outputs(model, None)
    idle = []
    for name, weight in model.named_parameters():
        kept = weight.clone()
        generator = torch.Generator().manual_seed(1)
        weight.mul_(1 + 0.2 * torch.randn(weight.shape, generator=generator))
        after = outputs(model, None)
        weight.copy_(kept)
        if all(torch.equal(before[key], after[key]) for key in before):
            idle.append(name)
    # A key's bias shifts all scores of a softmax alike; only rounding tells it from nothing.
    assert [name for name in idle if not name.endswith((".k.bias", ".k_reference.bias"))] == []


def test_command_writes_and_inspects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "tiny.safetensors"
    assert command.main(["random", "--preset", "tiny", "--out", str(path), "--seed", "3"]) == 0
    assert command.main(["inspect", str(path)]) == 0
    printed = capsys.readouterr().out
    for expected in ("A UniTalking model", "audio_vae", "text_encoder", "random tiny"):
        assert expected in printed


def test_inspect_names_a_truncated_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cut.safetensors"
    write_random(path, TINY, 0)
    path.write_bytes(path.read_bytes()[:-1000])
    assert command.main(["inspect", str(path)]) == 1
    assert "was cut off" in capsys.readouterr().err


def test_inspect_names_a_file_that_is_no_safetensors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "notes.safetensors"
    path.write_text("hello, this is not a model at all")
    assert command.main(["inspect", str(path)]) == 1
    assert "not a safetensors file" in capsys.readouterr().err


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    broken = dataclasses.replace(TINY, video_vae={"widths": "no"})
    with pytest.raises((ValueError, TypeError)):
        write_random(tmp_path / "model.safetensors", broken, 0)
    assert list(tmp_path.iterdir()) == []


def test_presets_are_the_three_named_ones() -> None:
    assert set(PRESETS) == {"tiny", "slice", "full"}
