"""The codec against ComfyUI's own mel, VAE and vocoder classes, with the same weights in both."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unitalking.codec.audio_vae import AudioVAE
from unitalking.codec.mel import MEL_16K, MEL_44K, MelConfig, MelSpectrogram, mel_basis
from unitalking.codec.vocoder import Vocoder, VocoderConfig

LIMIT = 3e-6  # rel_l2 in fp32

MELS = pytest.mark.parametrize("config", [MEL_44K, MEL_16K], ids=["44k", "16k"])


@pytest.fixture(scope="module")
def mmaudio(comfy_imports: Path) -> Any:
    """ComfyUI's modules of the codec."""
    try:
        return importlib.import_module("comfy.ldm.mmaudio.vae.autoencoder")
    except ImportError as error:
        pytest.skip(f"this ComfyUI has no comfy.ldm.mmaudio: {error}")


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def rel_l2(actual: Tensor, expected: Tensor) -> float:
    return float((actual.double() - expected.double()).norm() / expected.double().norm())


def drawn(module: nn.Module, std: float) -> nn.Module:
    """The module with every vector and scalar drawn; matrices keep their initial scale."""
    generator = torch.Generator().manual_seed(1)
    for value in module.requires_grad_(False).parameters():
        if value.ndim < 2:
            value.normal_(std=std, generator=generator)
    return module


@MELS
def test_mel_equals_comfyuis(mmaudio: Any, config: MelConfig) -> None:
    theirs = mmaudio.MelConverter(
        sampling_rate=config.sample_rate,
        n_fft=config.n_fft,
        num_mels=config.n_mels,
        hop_size=config.hop,
        win_size=config.n_fft,
        fmin=config.fmin,
        fmax=config.fmax,
        norm_fn=torch.log if config.log == "ln" else torch.log10,
    )
    theirs.mel_basis.copy_(mel_basis(config))
    waveform = 0.6 * normal(2, 30_001)
    assert rel_l2(MelSpectrogram(config)(waveform), theirs(waveform)) <= LIMIT


@MELS
def test_vae_equals_comfyuis(mmaudio: Any, config: MelConfig) -> None:
    ours = drawn(AudioVAE(config.n_mels, 20, 24), 0.2)
    theirs = importlib.import_module("comfy.ldm.mmaudio.vae.vae").VAE(
        data_dim=config.n_mels, embed_dim=20, hidden_dim=24
    )
    ours.data_mean.copy_(theirs.data_mean)
    ours.data_std.copy_(theirs.data_std)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    theirs.requires_grad_(False)
    mel, latents = 2 * normal(2, config.n_mels, 31) - 3, normal(2, 20, 15)
    posterior = theirs.encode(mel)
    mean, logvar = ours.encode(mel)
    assert rel_l2(mean, posterior.mode()) <= LIMIT
    assert rel_l2(logvar, posterior.logvar) <= LIMIT
    assert rel_l2(ours.decode(latents), theirs.decode(latents)) <= LIMIT


def test_vocoder_equals_comfyuis_which_is_version_one(mmaudio: Any) -> None:
    config = VocoderConfig(20, (4, 4, 2), (8, 8, 4), 64)
    ours = drawn(Vocoder(config), 0.3)
    theirs = mmaudio.BigVGANVocoder(
        {
            "resblock": "1",
            "num_mels": config.mels,
            "upsample_rates": config.upsample_rates,
            "upsample_kernel_sizes": config.upsample_kernel_sizes,
            "upsample_initial_channel": config.initial_channels,
            "resblock_kernel_sizes": config.resblock_kernel_sizes,
            "resblock_dilation_sizes": config.resblock_dilations,
            "activation": "snakebeta",
            "snake_logscale": True,
        }
    ).requires_grad_(False)
    missing, unexpected = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert not unexpected
    assert all(key.endswith(".filter") for key in missing)
    mel = normal(2, config.mels, 40)
    expected = theirs(mel)[:, 0]
    assert expected.std() > 0.01
    assert rel_l2(ours(mel), expected) <= LIMIT
    clamped = Vocoder(replace(config, final="clamp")).requires_grad_(False)
    clamped.load_state_dict(ours.state_dict())
    assert rel_l2(clamped(mel), expected) > 1e-3
