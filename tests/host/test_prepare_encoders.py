"""What data sets cache is what ComfyUI and our nodes encode: references, a host VAE, a host text encoder."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_model import TINY_MODEL as MODEL

from unitalking.checkpoint.files import config_tensors, read_model
from unitalking.config import UniTalkingConfig
from unitalking.training.prepare.__main__ import parser, settings_of
from unitalking.training.prepare.clips import reference_waveform
from unitalking.training.prepare.encoders import EncoderFiles, load_encoders
from unitalking.training.prepare.host_encoders import HostEncoders
from unitalking.training.prepare.media import read_sound
from unitalking.training.prepare.run import prepare
from unitalking.training.shards import Shards

ROOT = Path(__file__).resolve().parent.parent.parent


def training_helper(name: str) -> ModuleType:
    """A helper module of tests/training."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tests" / "training" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["alice_clear", "martin_deep"])
def test_reference_is_what_encode_voice_reference_makes(name: str, pack: Callable[[str], ModuleType]) -> None:
    channels, rate = read_sound(ROOT / "assets" / "voices" / f"{name}.flac", start_s=0, end_s=None, beside_video=False)
    encoders = load_encoders(EncoderFiles(str(MODEL), dtype="float32"), audio_only=True)
    cached = encoders.encode_audio(reference_waveform(channels, rate, encoders.config))
    vae = pack("nodes.vae")
    config, tensors = vae.read_audio_codec(str(MODEL))
    audio_vae = vae.load_audio_vae(config, tensors, MODEL.name)
    audio = {"waveform": channels[None], "sample_rate": rate}
    voice = pack("nodes.conditioning").encode_voice(audio_vae, audio, trim=True)
    torch.testing.assert_close(cached, voice.latents[0].float(), rtol=0, atol=1e-4)


def changed_model(path: Path, **changes: Any) -> tuple[Path, UniTalkingConfig]:
    """The tiny random model with another config; parts that it has as None are left out."""
    fields = {"video_vae": "video_vae.", "text_encoder": "text_encoder."}
    gone = tuple(prefix for field, prefix in fields.items() if field in changes)
    tensors = {name: value for name, value in load_file(MODEL).items() if not name.startswith(gone)}
    config = replace(read_model(load_file(MODEL), None, "model").config, **changes)
    text, tensors["unitalking.config"] = config_tensors(config)
    save_file(tensors, path, metadata={"unitalking": text})
    return path, config


def random_wan_vae(path: Path) -> Any:
    """A Wan2.1 video VAE of width 8 with random weights, in ComfyUI's class; written to `path`."""
    module = importlib.import_module("comfy.ldm.wan.vae")
    vae = module.WanVAE(
        dim=8,
        z_dim=16,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=2,
        attn_scales=[],
        temperal_downsample=[False, True, True],
    )
    generator = torch.Generator().manual_seed(0)
    for value in vae.requires_grad_(False).parameters():
        fan_in = max(1, value[0].numel()) if value.ndim else 1
        value.normal_(std=fan_in**-0.5, generator=generator)
    save_file({name: value.contiguous() for name, value in vae.state_dict().items()}, path)
    return vae.eval()


def test_a_host_vae_encodes_as_in_comfyui(comfy_imports: Path, tmp_path: Path) -> None:
    clip_files = training_helper("clip_files")
    frames = clip_files.pictures(9, 64, 64)
    clip_files.write_video(tmp_path / "clips" / "a.mkv", frames, clip_files.tone(9 / 24))
    (tmp_path / "clips" / "a.txt").write_text("Hello.")
    strides = {"in_dim": 16, "out_dim": 16, "video_stride": (4, 8, 8)}
    model, _ = changed_model(tmp_path / "model.safetensors", video_vae=None, **strides)
    wan = random_wan_vae(tmp_path / "vae.safetensors")
    options = ["--comfyui", str(comfy_imports), "--vae", str(tmp_path / "vae.safetensors"), "--dtype", "float32"]
    arguments = [str(tmp_path / "clips"), str(tmp_path / "set"), "--model", str(model), "--size", "64x64", *options]
    settings = settings_of(parser().parse_args([*arguments, "--shortest", "0.3"]))
    prepare(settings, tmp_path / "set")
    shards = Shards(tmp_path / "set")
    values = torch.from_numpy(frames).float().permute(3, 0, 1, 2)[None] / 127.5 - 1
    expected = wan.encode(values)[0]
    torch.testing.assert_close(shards.read(0).video, expected, rtol=1e-4, atol=1e-4)
    assert shards.info.video_codec.name == "vae.safetensors"
    assert shards.info.video_codec.config is None


def test_a_host_vae_of_other_channels_is_refused(comfy_imports: Path, tmp_path: Path) -> None:
    random_wan_vae(tmp_path / "vae.safetensors")
    with pytest.raises(ValueError, match=r"vae\.safetensors is no video VAE of 48 channels: it has 16"):
        HostEncoders(str(comfy_imports), "cpu").video(str(tmp_path / "vae.safetensors"), 48)
    with pytest.raises(ValueError, match="there is no such file"):
        HostEncoders(str(comfy_imports), "cpu").video(str(tmp_path / "none.safetensors"), 48)


@pytest.mark.slow
def test_a_host_text_encoder_embeds_as_text_prompt_does(
    comfy_imports: Path, pack: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    """T5 base with random weights stands for UMT5-xxl: the same classes, the smallest that ComfyUI knows."""
    sd = importlib.import_module("comfy.sd")
    t5 = importlib.import_module("comfy.text_encoders.sa_t5").T5BaseModel(device="cpu", dtype=torch.float32)
    generator = torch.Generator().manual_seed(0)
    for value in t5.transformer.requires_grad_(False).parameters():
        value.normal_(std=0.03, generator=generator)
    path = tmp_path / "t5.safetensors"
    save_file({name: value.contiguous() for name, value in t5.transformer.state_dict().items()}, path)
    model, config = changed_model(tmp_path / "m.safetensors", text_encoder=None, text_dim=768, text_len=128)
    encode, info = HostEncoders(str(comfy_imports), "cpu").text(str(path), "stable_audio", config)
    clip = sd.load_clip(ckpt_paths=[str(path)], clip_type=sd.CLIPType.STABLE_AUDIO)
    for prompt in ("a (woman:1.5) <S>Hello there.<E>", "", "word " * 300):
        expected = pack("nodes.conditioning").encode_text(clip, prompt, config, "prompt", [])[0][0][0]
        torch.testing.assert_close(encode(prompt), expected.float(), rtol=0, atol=1e-6)
    assert len(info.fingerprint) == 64
    clip_files = training_helper("clip_files")
    clip_files.write_sound(tmp_path / "clips" / "a.wav", clip_files.tone(1.0))
    (tmp_path / "clips" / "a.txt").write_text("Hello there.")
    options = ["--comfyui", str(comfy_imports), "--text-encoder", str(path), "--text-encoder-type", "stable_audio"]
    arguments = [str(tmp_path / "clips"), str(tmp_path / "set"), "--model", str(model), "--audio-only", *options]
    prepare(settings_of(parser().parse_args([*arguments, "--dtype", "float32"])), tmp_path / "set")
    shards = Shards(tmp_path / "set")
    for cached, prompt in ((shards.read(0).context, shards.read(0).prompt), (shards.empty_context, "")):
        whole = encode(prompt)
        torch.testing.assert_close(cached, whole[: len(cached)], rtol=0, atol=1e-6)
        assert 0 < len(cached) < len(whole)
        assert not whole[len(cached) :].any()
    assert shards.info.text_encoder == info
    with pytest.raises(ValueError, match="makes embeddings of 768 numbers, the model takes 4096"):
        HostEncoders(str(comfy_imports), "cpu").text(str(path), "stable_audio", UniTalkingConfig())
