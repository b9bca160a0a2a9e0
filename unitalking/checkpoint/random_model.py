"""Random models of every size: complete files to test with where no trained ones are, streamed to disk.

Every tensor is drawn, gates and heads included, so that every input changes every output. Each comes from a generator
seeded by the file's seed and the tensor's name: its values depend on nothing else, and one tensor is in memory at a
time.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..codec.audio_codec import AUDIO_CODEC_44K, AUDIO_CODEC_TINY
from ..codec.audio_vae import normalise_weights
from ..codec.text_encoder import TextEncoderConfig
from ..codec.video_vae import VIDEO_VAE_TINY
from ..config import Sampling, Trained, UniTalkingConfig
from ..latents import WAN22_MEAN, WAN22_STD
from ..mapping import to_mapping
from ..model.transformer import UniTalking
from .files import CONFIG_TENSOR, METADATA_KEY, config_tensors
from .keys import to_file_keys
from .parts import PARTS, build_part
from .tensor_files import Entry, write_tensors

# Keeps the random vocoder's sound below full scale: its residual blocks add up.
VOCODER_GAIN = 0.7

FULL = UniTalkingConfig(name="random full", audio_codec=to_mapping(AUDIO_CODEC_44K))
SLICE = replace(FULL, name="random slice", num_layers=2)
TINY = UniTalkingConfig(
    name="random tiny",
    dim=96,
    ffn_dim=256,
    num_heads=2,
    num_layers=3,
    in_dim=VIDEO_VAE_TINY.latent_channels,
    out_dim=VIDEO_VAE_TINY.latent_channels,
    audio_channels=AUDIO_CODEC_TINY.latent_channels,
    text_dim=64,
    text_len=192,
    freq_dim=64,
    reference_tokens=96,
    sample_rate=AUDIO_CODEC_TINY.sample_rate,
    hop=AUDIO_CODEC_TINY.mel.hop,
    sampling=Sampling(steps=8, sigma_shift=2.0, guidance_video=2.5, guidance_audio=2.5),
    trained=Trained(128, 128, 49, 256 * 256, 121, "random weights: pictures and sound are noise"),
    text_encoder=to_mapping(
        TextEncoderConfig(64, 1, 2, 192, AUDIO_CODEC_TINY.sample_rate / AUDIO_CODEC_TINY.samples_per_latent)
    ),
    video_vae=to_mapping(VIDEO_VAE_TINY),
    audio_codec=to_mapping(AUDIO_CODEC_TINY),
)
PRESETS = {"tiny": TINY, "slice": SLICE, "full": FULL}


def entries(config: UniTalkingConfig) -> list[Entry]:
    """Every tensor of a model with this config: streams, statistics and the parts it carries."""
    found = [Entry(CONFIG_TENSOR, tuple(config_tensors(config)[1].shape), torch.uint8)]
    network = to_file_keys(UniTalking(config, device="meta").state_dict())
    found += [Entry(name, tuple(value.shape), torch.bfloat16) for name, value in network.items()]
    for stream, channels in (("video", config.in_dim), ("audio", config.audio_channels)):
        found += [Entry(f"latents.{stream}.{name}", (channels,), torch.float32) for name in ("mean", "std")]
    if config.in_dim != len(WAN22_MEAN):
        found.append(Entry("latents.video.rgb", (config.in_dim + 1, 3), torch.float32))
    for part in PARTS:
        if getattr(config, PARTS[part][0]) is None:
            continue
        for name, value in build_part(config, part, device="meta").state_dict().items():
            wide = name.endswith(("data_mean", "data_std"))
            found.append(Entry(f"{part}.{name}", tuple(value.shape), torch.float32 if wide else torch.bfloat16))
    return found


def draw(entry: Entry, config: UniTalkingConfig, seed: int) -> Tensor:
    """The values of one tensor, in the file's dtype; a function of seed, name and shape alone."""
    if entry.name == CONFIG_TENSOR:
        return config_tensors(config)[1]
    known = _known(entry)
    if known is not None:
        return known
    digest = hashlib.sha256(f"{seed}/{entry.name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    normal = torch.randn(entry.shape, generator=generator)
    return _scaled(entry.name, normal).to(entry.dtype)


def _known(entry: Entry) -> Tensor | None:
    """Wan2.2's latent statistics, where the model has its channels."""
    if entry.shape == (len(WAN22_MEAN),) and entry.name.startswith("latents.video."):
        return torch.tensor(WAN22_MEAN if entry.name.endswith("mean") else WAN22_STD)
    return None


def _scaled(name: str, normal: Tensor) -> Tensor:
    if name.startswith("audio_vae.vae.") and normal.ndim == 3 and not name.endswith(("data_mean", "data_std")):
        key = name.removeprefix("audio_vae.vae.")
        return normalise_weights({key: normal * math.sqrt(normal[0].numel())})[key]
    if name.endswith("data_mean"):
        return normal - 3.0  # log-mel of audible sound
    if name.endswith(("data_std", ".std")):
        return torch.exp(0.1 * normal)
    if name.endswith("modulation"):
        return 0.3 * normal
    if normal.ndim == 0 or name.endswith((".alpha", ".beta")):
        return 0.1 * normal
    if normal.ndim == 1:
        return 1 + 0.1 * normal if name.endswith("weight") else 0.1 * normal
    gain = VOCODER_GAIN if name.startswith("audio_vae.vocoder.") else 1.0
    return gain * normal / math.sqrt(normal[0].numel())


def random_tensors(config: UniTalkingConfig, seed: int) -> Iterator[tuple[Entry, Tensor]]:
    """All tensors of a random model, one at a time, in the file's order."""
    for entry in entries(config):
        yield entry, draw(entry, config, seed)


def write_random(path: Path, config: UniTalkingConfig, seed: int) -> int:
    """Writes a random model as safetensors, tensor by tensor, under a temporary name first.

    Returns:
        Bytes written.

    Raises:
        OSError: the folder is missing or the disk is full.
    """
    metadata = {METADATA_KEY: config_tensors(config)[0], "format": "pt"}
    return write_tensors(path, entries(config), metadata, lambda entry: draw(entry, config, seed))
