"""Mel, audio VAE, vocoder and their chain against the original MMAudio and BigVGAN code."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from unitalking.codec.audio_codec import AudioCodec, AudioCodecConfig
from unitalking.codec.audio_vae import AudioVAE, normalise_weights, weights_are_raw
from unitalking.codec.mel import MelConfig, MelSpectrogram, mel_basis
from unitalking.codec.vocoder import Vocoder, VocoderConfig, fuse_weight_norm, lowpass_filter

LIMIT = 3e-6  # rel_l2 in fp32

NAMES = ("mel_44k", "mel_16k", "vae_44k", "vae_16k", "bigvgan_v2_44k", "bigvgan_v1_16k", "chain_44k", "chain_16k")


@pytest.mark.golden
@pytest.mark.parametrize("name", NAMES)
def test_golden(golden: Any, name: str) -> None:
    file = golden.open(name)
    with torch.no_grad():
        outputs = OUTPUTS[file.metadata["kind"]](golden, file)
    assert sorted(outputs) == sorted(file.keys("out.") + file.keys("ref.")), "computed and stored results"
    for key, value in outputs.items():
        file.assert_close(key, value, LIMIT)


def mel_outputs(golden: Any, file: Any) -> dict[str, Tensor]:
    config = mel_config(file)
    mel = MelSpectrogram(config)
    counts = file.json("frame_counts")
    assert counts, f"{file.path.name}: frame_counts is empty"
    for samples, frames in counts.items():
        assert mel(torch.zeros(1, int(samples))).shape == (1, config.n_mels, frames)
    return {"out.mel": mel(file.tensor("in.waveform")[None])[0], "ref.mel_basis": mel_basis(config)}


def vae_outputs(golden: Any, file: Any) -> dict[str, Tensor]:
    raw = file.weights()
    baked = normalise_weights(raw)
    assert weights_are_raw(raw)
    assert not weights_are_raw(baked)
    vae = load(AudioVAE(**vae_sizes(file)), baked)
    mean, logvar = vae.encode(file.tensor("in.mel")[None])
    outputs = {
        "out.mean": mean[0],
        "out.logvar": logvar[0],
        "out.decode_mean": vae.decode(mean)[0],
        "out.decode_z": vae.decode(file.tensor("in.z")[None])[0],
    }
    return outputs | {key: baked[key.removeprefix("ref.normed.")] for key in file.keys("ref.normed.")}


def vocoder_outputs(golden: Any, file: Any) -> dict[str, Tensor]:
    weights = file.weights()
    filters = [value for key, value in weights.items() if key.endswith(".filter")]
    assert filters, f"{file.path.name}: no filters stored"
    for value in filters:
        torch.testing.assert_close(value.flatten().double(), lowpass_filter(), rtol=0, atol=1e-7)
    vocoder = load(Vocoder(vocoder_config(file)), fuse_weight_norm(weights))
    mel = file.tensor("in.mel")
    return {"out.audio": vocoder(mel[None]).view(1, mel.shape[1] * vocoder.config.hop)}


def chain_outputs(golden: Any, file: Any) -> dict[str, Tensor]:
    """The parts are named in the file's metadata: "vae_44k + bigvgan_v2_44k, waveform from mel_44k"."""
    parts = {part: golden.open(name) for name, part in re.findall(r"((vae|bigvgan|mel)\w*)", file.metadata["weights"])}
    config = AudioCodecConfig(
        mel_config(parts["mel"]),
        vae_sizes(parts["vae"])["latent_channels"],
        vae_sizes(parts["vae"])["hidden_dim"],
        vocoder_config(parts["bigvgan"]),
    )
    codec = AudioCodec(config)
    load(codec.vae, normalise_weights(parts["vae"].weights()))
    load(codec.vocoder, fuse_weight_norm(parts["bigvgan"].weights()))
    waveform = parts["mel"].tensor("in.waveform")[None]
    assert waveform.shape[1] == int(file.metadata["samples_in"])
    latents = codec.encode(waveform)
    return {
        "out.latent": latents[0],
        "out.mel_decoded": codec.vae.decode(latents)[0],
        "out.audio": codec.decode(latents),
    }


OUTPUTS = {
    "mel": mel_outputs,
    "mmaudio_vae": vae_outputs,
    "bigvgan": vocoder_outputs,
    "audio_chain": chain_outputs,
}


def mel_config(file: Any) -> MelConfig:
    metadata = file.metadata
    assert metadata["win"] == metadata["n_fft"], f"{file.path.name}: window and transform differ"
    sizes = {name: int(metadata[name]) for name in ("sample_rate", "n_fft", "hop", "n_mels")}
    return MelConfig(**sizes, fmin=float(metadata["fmin"]), fmax=float(metadata["fmax"]), log=metadata["log"])


def vae_sizes(file: Any) -> dict[str, int]:
    config = file.json("config")
    return {"mels": config["data_dim"], "latent_channels": config["embed_dim"], "hidden_dim": config["hidden_dim"]}


def vocoder_config(file: Any) -> VocoderConfig:
    """The published config; v1 files say nothing about the end, which is tanh with a bias."""
    config = file.json("config")
    assert (config["resblock"], config["activation"], config["snake_logscale"]) == ("1", "snakebeta", True)
    return VocoderConfig(
        mels=config["num_mels"],
        upsample_rates=tuple(config["upsample_rates"]),
        upsample_kernel_sizes=tuple(config["upsample_kernel_sizes"]),
        initial_channels=config["upsample_initial_channel"],
        resblock_kernel_sizes=tuple(config["resblock_kernel_sizes"]),
        resblock_dilations=tuple(map(tuple, config["resblock_dilation_sizes"])),
        final="tanh" if config.get("use_tanh_at_final", True) else "clamp",
        final_bias=config.get("use_bias_at_final", True),
    )


def load(module: Any, weights: dict[str, Tensor]) -> Any:
    module.load_state_dict(weights, strict=True)
    return module
