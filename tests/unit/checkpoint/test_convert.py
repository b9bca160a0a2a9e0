"""`convert`, `verify` and `inspect` of `python -m unitalking.checkpoint`, on small files in public layouts."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from codec_forms import CONFIGS, raw_vae, weight_norm
from public_files import OVI, WAN, network, ovi_merged, ovi_published, stream_of, wan_diffusers, wan_native
from safetensors.torch import load_file, save_file
from torch import Tensor

from unitalking.checkpoint.__main__ import main
from unitalking.checkpoint.files import CONFIG_TENSOR, METADATA_KEY, read_model, read_part
from unitalking.checkpoint.parts import build_part
from unitalking.checkpoint.public_codecs import Source, join_codec
from unitalking.checkpoint.public_models import OVI_MODELS
from unitalking.checkpoint.random_model import TINY, write_random
from unitalking.checkpoint.tensor_files import TensorFile
from unitalking.codec.audio_codec import AudioCodec
from unitalking.config import UniTalkingConfig
from unitalking.latents import WAN22_MEAN
from unitalking.mapping import from_mapping


def save(path: Path, tensors: dict[str, Tensor]) -> Path:
    save_file({name: value.contiguous() for name, value in tensors.items()}, path)
    return path


def bits(tensors: dict[str, Tensor]) -> dict[str, bytes]:
    return {name: value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() for name, value in tensors.items()}


def config_of(path: Path) -> UniTalkingConfig:
    return from_mapping(UniTalkingConfig, json.loads(TensorFile(path).metadata[METADATA_KEY]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float8_e4m3fn], ids=str)
def test_ovi_there_and_back_is_the_same_file(tmp_path: Path, dtype: torch.dtype) -> None:
    given = {name: value.to(dtype) for name, value in ovi_published(network(OVI)).items()}
    ours, back = tmp_path / "ours.safetensors", tmp_path / "back.safetensors"
    assert main(["convert", str(save(tmp_path / "model.safetensors", given)), "--out", str(ours)]) == 0
    assert config_of(ours) == OVI
    assert read_model(load_file(ours), TensorFile(ours).metadata, "ours").notes == (), "it says itself what it is"
    assert main(["convert", str(ours), "--out", str(back), "--back", "ovi"]) == 0
    assert bits(load_file(back)) == bits(given)


@pytest.mark.parametrize("layout", [wan_native, wan_diffusers])
def test_wan_there_and_back_is_the_same_weights(tmp_path: Path, layout: object) -> None:
    tensors = network(WAN)
    ours, back = tmp_path / "ours.safetensors", tmp_path / "back.safetensors"
    assert main(["convert", str(save(tmp_path / "wan.safetensors", layout(tensors))), "--out", str(ours)]) == 0
    assert config_of(ours) == WAN
    assert main(["convert", str(ours), "--out", str(back), "--back", "wan"]) == 0
    assert bits(load_file(back)) == bits(wan_native(tensors))


def test_merged_and_two_files_give_one_file(tmp_path: Path) -> None:
    tensors = network(OVI)
    merged = save(tmp_path / "merged.safetensors", ovi_merged(tensors))
    halves = [
        str(save(tmp_path / f"{stream}.safetensors", stream_of(tensors, stream))) for stream in ("audio", "video")
    ]
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    assert main(["convert", str(merged), "--out", str(first)]) == 0
    assert main(["convert", *halves, "--out", str(second)]) == 0
    assert bits(load_file(first)) == bits(load_file(second))


def test_the_model_can_be_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = save(tmp_path / "any.safetensors", ovi_published(network(OVI))), tmp_path / "out.safetensors"
    assert main(["convert", str(path), "--out", str(out), "--model", "960x960_10s"]) == 0
    known = OVI_MODELS["960x960_10s"]
    assert config_of(out) == replace(
        OVI, **{n: getattr(known, n) for n in ("name", "lengths", "prompt_style", "trained")}
    )
    wan = save(tmp_path / "wan.safetensors", wan_native(network(WAN)))
    assert main(["convert", str(wan), "--out", str(tmp_path / "no"), "--model", "960x960_10s"]) == 1
    assert "for an Ovi file" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_what_cannot_be_converted_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    foreign = save(tmp_path / "foreign.safetensors", {"double_blocks.0.x": torch.zeros(1)})
    assert main(["convert", str(foreign), "--out", str(tmp_path / "no")]) == 1
    assert "foreign.safetensors is no Ovi and no Wan2.2 model" in capsys.readouterr().err
    incomplete = ovi_published(network(OVI))
    del incomplete["audio_model.head.head.bias"]
    path = save(tmp_path / "incomplete.safetensors", incomplete)
    assert main(["convert", str(path), "--out", str(tmp_path / "no")]) == 1
    assert "1 missing: audio.head.head.bias" in capsys.readouterr().err
    assert sorted(each.name for each in tmp_path.iterdir()) == ["foreign.safetensors", "incomplete.safetensors"]


def test_verify_gives_the_sum_and_finds_nan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tiny.safetensors"
    write_random(path, TINY, 0)
    assert main(["verify", str(path)]) == 0
    assert hashlib.sha256(path.read_bytes()).hexdigest() in capsys.readouterr().out
    tensors, metadata = load_file(path), TensorFile(path).metadata
    tensors["audio.blocks.1.ffn.0.weight"][3, 4] = torch.nan
    save_file(tensors, path, metadata)
    assert main(["verify", str(path)]) == 1
    assert "audio.blocks.1.ffn.0.weight holds NaN or Inf" in capsys.readouterr().out
    del tensors["video.head.head.bias"]
    save_file(tensors, path, metadata)
    assert main(["verify", str(path)]) == 1
    assert "1 missing: video.head.head.bias" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        (ovi_published(network(OVI)), "This is Ovi 720x720_5s: Load UniTalking Model takes it as it is"),
        (wan_native(network(WAN)), "This is Wan2.2-TI2V-5B: Load UniTalking Model takes it as it is"),
        (stream_of(network(OVI), "audio"), "is Ovi's audio stream alone: choose its video stream"),
    ],
    ids=["ovi", "wan", "half"],
)
def test_inspect_knows_public_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tensors: dict[str, Tensor], said: str
) -> None:
    assert main(["inspect", str(save(tmp_path / "file.safetensors", tensors))]) == 0
    assert said in capsys.readouterr().out


def test_quantize_keeps_all_but_the_blocks_matrices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "tiny.safetensors", tmp_path / "narrow.safetensors"
    write_random(source, TINY, 0)
    assert main(["quantize", str(source), "--out", str(out)]) == 0
    given, found = load_file(source), load_file(out)
    narrow = {name for name, value in found.items() if value.dtype == torch.float8_e4m3fn}
    kinds = {name.split(".", 3)[3].split(".")[0] for name in narrow}
    assert kinds == {"self_attn", "cross_attn", "ffn"}
    # q k v o twice and the FFN's two in each block; keys and values of the voice in the sound stream's.
    assert len(narrow) == TINY.num_layers * (10 + 12)
    said = dict(line.split(": ") for line in capsys.readouterr().out.splitlines() if ".blocks." in line)
    assert set(said) == narrow
    for name in narrow:
        exact = given[name].float()
        error = (found[name].float() * found[name + "_scale"] - exact).norm() / exact.norm()
        assert 0.005 < error < 0.03
        assert float(said[name]) == pytest.approx(float(error), abs=1e-4)
        assert found[name].float().abs().amax() == 448
    rest = set(given) - narrow
    assert bits({name: found[name] for name in rest}) == bits({name: given[name] for name in rest})
    assert main(["quantize", str(out), "--out", str(tmp_path / "again")]) == 1
    assert "is quantised already" in capsys.readouterr().err


@pytest.mark.parametrize("sound", ["fresh", "ovi", "ovi's stream alone"])
def test_assemble_makes_a_start_of_public_weights(tmp_path: Path, sound: str) -> None:
    pictures, talking = wan_native(network(WAN)), network(OVI, seed=1)
    names = sorted(pictures)
    shards = [
        str(save(tmp_path / f"{n}.safetensors", {name: pictures[name] for name in names[n::2]})) for n in range(2)
    ]
    audio = {"fresh": {}, "ovi": ovi_published(talking), "ovi's stream alone": stream_of(talking, "audio")}[sound]
    out = tmp_path / "start.safetensors"
    more = ["--audio", str(save(tmp_path / "ovi.safetensors", audio))] if audio else []
    assert main(["assemble", "--video", *shards, *more, "--out", str(out)]) == 0
    file = read_model(load_file(out), TensorFile(out).metadata, "start")
    config = file.config
    assert (config.fusion, config.reference_tokens, config.in_dim) == ("joint", 257, 48)
    rates = (16000, 256, 20, "conv", 0.19676) if audio else (44100, 512, 40, "linear", None)
    found = (config.sample_rate, config.hop, config.audio_channels, config.audio_stem, config.audio_position_scale)
    assert found == rates
    written = load_file(out)
    assert bits({name: written[f"video.{name}"] for name in pictures}) == bits(pictures)
    if audio:
        taken = {name: value for name, value in talking.items() if name.startswith("audio.") and "_fusion" not in name}
        assert bits({name: written[name] for name in taken}) == bits(taken)
    fresh = written["audio.blocks.1.cross_attn.k_reference.weight"].float()
    assert 0.5 < fresh.std() * config.dim**0.5 < 2
    assert file.video.mean.tolist() == pytest.approx(WAN22_MEAN)


def test_assemble_refuses_other_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wan = str(save(tmp_path / "wan.safetensors", wan_native(network(WAN))))
    ovi = str(save(tmp_path / "ovi.safetensors", ovi_published(network(OVI))))
    out = str(tmp_path / "no")
    assert main(["assemble", "--video", ovi, "--out", out]) == 1
    assert "ovi.safetensors is no Wan2.2-TI2V-5B" in capsys.readouterr().err
    assert main(["assemble", "--video", wan, "--audio", wan, "--out", out]) == 1
    assert "wan.safetensors is no Ovi model" in capsys.readouterr().err
    assert not Path(out).exists()


@pytest.fixture
def halves(tmp_path: Path) -> tuple[str, str]:
    """A 16 kHz codec as it is published: safetensors of raw filters, and a pickle of weight norm."""
    vae = save(tmp_path / "vae.safetensors", raw_vae(CONFIGS["16k"]))
    torch.save({"generator": weight_norm(CONFIGS["16k"])}, tmp_path / "best_netG.pt")
    return str(vae), str(tmp_path / "best_netG.pt")


def codec_of(path: Path) -> AudioCodec:
    """The codec inside a file of ours."""
    config, weights = read_part(load_file(path), TensorFile(path).metadata, "audio_vae", path.name)
    codec = build_part(config, "audio_vae")
    codec.load_state_dict(weights)
    return codec.requires_grad_(False)


def test_a_public_codec_becomes_one_file_that_sounds_the_same(
    tmp_path: Path, halves: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "codec.safetensors"
    assert main(["convert", *halves, "--out", str(out)]) == 0
    assert "audio codec of 16000 Hz" in capsys.readouterr().out
    config, weights = join_codec(
        *(Source(n, t) for n, t in (("v", raw_vae(CONFIGS["16k"])), ("b", weight_norm(CONFIGS["16k"]))))
    )
    assert config_of(out) == config
    assert bits({name: value for name, value in load_file(out).items() if name != CONFIG_TENSOR}) == bits(
        {f"audio_vae.{name}": value for name, value in weights.items()}
    )
    sound = 0.1 * torch.randn(1, 4096, generator=torch.Generator().manual_seed(0))
    codec = codec_of(out)
    assert codec.decode(codec.encode(sound)).std() > 0
    assert main(["convert", halves[0], "--out", str(tmp_path / "half")]) == 1
    assert "vae.safetensors: a BigVGAN vocoder of the codec is missing; give its file" in capsys.readouterr().err


def test_assemble_puts_a_codec_inside_that_fits_the_sound_stream(
    tmp_path: Path, halves: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    wan = str(save(tmp_path / "wan.safetensors", wan_native(network(WAN))))
    ovi = str(save(tmp_path / "ovi.safetensors", ovi_published(network(OVI, seed=1))))
    out, codec = tmp_path / "start.safetensors", tmp_path / "codec.safetensors"
    assert main(["assemble", "--video", wan, "--audio", ovi, "--codec", *halves, "--out", str(out)]) == 0
    assert main(["convert", *halves, "--out", str(codec)]) == 0
    expected = {name: value for name, value in load_file(codec).items() if name.startswith("audio_vae.")}
    written = load_file(out)
    assert bits({name: written[name] for name in expected}) == bits(expected)
    assert set(read_model(written, TensorFile(out).metadata, "start").parts) == {"audio_vae"}
    assert codec_of(out).config == CONFIGS["16k"]
    assert main(["assemble", "--video", wan, "--codec", *halves, "--out", str(tmp_path / "no")]) == 1
    assert (
        "sample_rate 16000, hop 256 is for another sound stream; expected audio_channels 40" in capsys.readouterr().err
    )
