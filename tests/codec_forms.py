"""Tiny audio codecs in every form that MMAudio's VAE and BigVGAN are published in, for tests of what reads them.

Their raw weights are multiples of 1/32 below 8, which float16 and bfloat16 hold exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from unitalking.codec.audio_codec import BIGVGAN_TINY, AudioCodec, AudioCodecConfig
from unitalking.codec.audio_vae import normalise_weights
from unitalking.codec.mel import MEL_16K, MEL_44K, MelConfig, mel_basis
from unitalking.codec.vocoder import VocoderConfig, fuse_weight_norm, lowpass_filter

Tensors = dict[str, Tensor]
Form = Callable[[Mapping[str, Tensor]], Tensors]

V2_TINY = VocoderConfig(128, (8, 4, 2, 2, 2, 2), (16, 8, 4, 4, 4, 4), 64, final="clamp", final_bias=False)
CONFIGS = {
    "16k": AudioCodecConfig(MEL_16K, 20, 16, BIGVGAN_TINY),
    "44k": AudioCodecConfig(MEL_44K, 40, 16, V2_TINY),
}


def draw(shape: tuple[int, ...], generator: torch.Generator, scale: float = 1.0) -> Tensor:
    """Normal numbers, rounded to what half precision holds."""
    return (32 * scale * torch.randn(shape, generator=generator)).round().clamp(-255, 255) / 32


def raw_vae(config: AudioCodecConfig) -> Tensors:
    """The VAE as released: filters of norm about sqrt(N)."""
    generator = torch.Generator().manual_seed(1)
    shapes = {key: value.shape for key, value in AudioCodec(config, "meta").vae.state_dict().items()}
    drawn = {key: draw(shape, generator) for key, shape in shapes.items()}
    drawn["data_std"] = drawn["data_std"].abs() + 0.5
    return drawn | {key: draw((), generator, 0.2) for key in drawn if key.endswith("gain")}


def weight_norm(config: AudioCodecConfig) -> Tensors:
    """The vocoder as released: `weight_g` and `weight_v`, and the filter of every activation."""
    generator = torch.Generator().manual_seed(2)
    drawn: Tensors = {}
    for key, value in AudioCodec(config, "meta").vocoder.state_dict().items():
        if key.endswith(".weight"):
            # Loud enough to reach the ends of the range, where tanh and clamp differ.
            drawn[f"{key}_g"] = draw((value.shape[0], 1, 1), generator, 0.3).abs() + (2 if "post" in key else 0.5)
            drawn[f"{key}_v"] = draw(value.shape, generator)
        else:
            drawn[key] = draw(value.shape, generator, 0.1)
        if key.endswith(".alpha"):
            taps = lowpass_filter().float()[None, None]
            drawn[key.replace("act.alpha", "upsample.filter")] = taps
            drawn[key.replace("act.alpha", "downsample.lowpass.filter")] = taps.clone()
    return drawn


def stored(dtype: torch.dtype) -> Form:
    """Everything in one precision."""
    return lambda tensors: {key: value.to(dtype) for key, value in tensors.items()}


def parametrised(tensors: Mapping[str, Tensor]) -> Tensors:
    """Weight norm under the names of torch's parametrisation."""
    ends = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
    return {
        ".".join([*key.split(".")[:-1], ends.get(key.split(".")[-1], key.split(".")[-1])]): value
        for key, value in tensors.items()
    }


def fused(tensors: Mapping[str, Tensor]) -> Tensors:
    """Weight norm multiplied out, the filters kept."""
    return fuse_weight_norm(tensors) | {key: value for key, value in tensors.items() if key.endswith(".filter")}


VAE_FORMS: dict[str, Form] = {
    "raw": dict,
    "raw float16": stored(torch.float16),
    "raw bfloat16": stored(torch.bfloat16),
    "baked": normalise_weights,
}
VOCODER_FORMS: dict[str, Form] = {
    "weight_g": dict,
    "weight_g bfloat16": stored(torch.bfloat16),
    "parametrised": parametrised,
    "fused": fused,
}


def merged(vae: Mapping[str, Tensor], vocoder: Mapping[str, Tensor], mel: MelConfig) -> Tensors:
    """ComfyUI's one-file form of these halves."""
    converter = {"mel_basis": mel_basis(mel).float(), "hann_window": torch.hann_window(mel.n_fft)}
    return (
        {f"mel_converter.{key}": value for key, value in converter.items()}
        | {f"vae.{key}": value for key, value in vae.items()}
        | {f"vocoder.{key}": value for key, value in vocoder.items()}
    )


def one_file(vae: Mapping[str, Tensor], vocoder: Mapping[str, Tensor], mel: MelConfig) -> Tensors:
    """The same from released halves: normalised once, fused."""
    return merged(normalise_weights(vae), fused(vocoder), mel)
