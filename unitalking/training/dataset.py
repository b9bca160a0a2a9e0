"""What a data set of cached latents is: `dataset.json`, the description that lies beside its shards.

dataset.json             this description, written last: a folder without it is not finished
NAME.tar, NAME.json      a shard and its index (`shards`)
empty_context.safetensors  the text embedding of the empty prompt, where embeddings are cached
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config import UniTalkingConfig
from ..latents import LatentStatistics
from ..mapping import from_mapping, to_mapping

FORMAT_VERSION = 1
DESCRIPTION = "dataset.json"
EMPTY_CONTEXT = "empty_context.safetensors"
STREAMS = ("video", "audio")
# The tensors that latents depend on: decoders and vocoders may be trained further without making them anew.
ENCODER_TENSORS = {
    "video_vae": ("encoder.",),
    "audio_vae": ("vae.encoder.", "vae.data_mean", "vae.data_std"),
}


class DataError(ValueError):
    """A data set that cannot be used: names the file and what to do."""


@dataclass(frozen=True)
class EncoderInfo:
    """What made a stream's latents or the text embeddings.

    Attributes:
        fingerprint: sha256 over the weights that they depend on.
        config: the part's config, None for the host's own codecs.
        name: the file it came from, for messages.
    """

    fingerprint: str
    config: Mapping[str, Any] | None = None
    name: str = ""


@dataclass(frozen=True)
class ChannelStatistics:
    """Mean and standard deviation of every latent channel over the whole data set."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def latents(self) -> LatentStatistics:
        """As tensors, float32."""
        return LatentStatistics(torch.tensor(self.mean).float(), torch.tensor(self.std).float())


@dataclass(frozen=True)
class ShardInfo:
    """One shard: its name without ending, its size, how many clips it holds."""

    name: str
    bytes: int
    samples: int


@dataclass(frozen=True)
class DatasetInfo:
    """A data set of cached latents.

    Attributes:
        fps, video_stride, sample_rate, samples_per_latent: rates of the model that it was made for.
        video_channels, audio_channels: channels of its latents.
        prompt_style: how its prompts are composed.
        dtype: of the latents and embeddings.
        video_codec, audio_codec, text_encoder: what encoded it; None where nothing was encoded by it.
        video, audio: latent statistics; None without latents of that stream.
        rgb: (video_channels + 1, 3), least squares from normalised video latents to colours in [-1, 1], the last row
            the bias; None without video.
        shards: in order.
        clips, skipped: how many were kept, and how many of the source were not.
    """

    fps: float
    video_stride: tuple[int, int, int]
    sample_rate: int
    samples_per_latent: int
    video_channels: int
    audio_channels: int
    prompt_style: str
    dtype: str
    video_codec: EncoderInfo | None
    audio_codec: EncoderInfo | None
    text_encoder: EncoderInfo | None
    video: ChannelStatistics | None
    audio: ChannelStatistics | None
    rgb: tuple[tuple[float, ...], ...] | None
    shards: tuple[ShardInfo, ...]
    clips: int
    skipped: int = 0
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if self.format_version != FORMAT_VERSION:
            raise ValueError(
                f"format_version: got {self.format_version}, this version reads {FORMAT_VERSION}; update the pack or "
                "make the data set anew."
            )

    def tensors(self) -> dict[str, Tensor]:
        """Statistics and preview factors as a new model's file carries them (`latents.*`)."""
        found: dict[str, Tensor] = {}
        for stream in STREAMS:
            statistics: ChannelStatistics | None = getattr(self, stream)
            if statistics is not None:
                latents = statistics.latents()
                found |= {f"latents.{stream}.mean": latents.mean, f"latents.{stream}.std": latents.std}
        if self.rgb is not None:
            found["latents.video.rgb"] = torch.tensor(self.rgb).float()
        return found


def read_description(folder: Path) -> DatasetInfo:
    """The description of the data set in `folder`.

    Raises:
        DataError: the folder holds none, or one that cannot be used.
    """
    path = folder / DESCRIPTION
    try:
        return from_mapping(DatasetInfo, json.loads(path.read_text(encoding="utf-8")), DESCRIPTION)
    except FileNotFoundError as error:
        raise DataError(
            f"{folder} holds no finished data set (no {DESCRIPTION}): give the folder that "
            "`python -m unitalking.training.prepare` wrote, and run that command again if it was interrupted."
        ) from error
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} cannot be used: {error} Make the data set anew.") from error


def write_description(folder: Path, info: DatasetInfo) -> None:
    """Writes `dataset.json` under a temporary name first."""
    temporary = folder / f"{DESCRIPTION}.part"
    temporary.write_text(json.dumps(to_mapping(info), indent=1), encoding="utf-8")
    temporary.replace(folder / DESCRIPTION)


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over names, shapes and values; values as float32, so that storing them wider changes nothing."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu()
        digest.update(f"{name}{tuple(value.shape)}".encode())
        values = value.float() if value.is_floating_point() else value
        digest.update(values.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def encoder_info(part: str, config: UniTalkingConfig, tensors: Mapping[str, Tensor], name: str = "") -> EncoderInfo:
    """The fingerprint of a bundle's "video_vae" or "audio_vae": of what its latents depend on.

    Args:
        part: the part's name.
        config: of the file that the part comes from.
        tensors: the part's tensors, without its prefix.
        name: of the file.
    """
    encoder = {key: value for key, value in tensors.items() if key.startswith(ENCODER_TENSORS[part])}
    mapping = config.video_vae if part == "video_vae" else config.audio_codec
    return EncoderInfo(fingerprint(encoder), mapping, name)


def check_model(
    folder: Path,
    info: DatasetInfo,
    config: UniTalkingConfig,
    video: EncoderInfo | None = None,
    audio: EncoderInfo | None = None,
) -> None:
    """Checks that a model and a data set belong together.

    Args:
        folder: the data set's, for messages.
        info: the data set.
        config: the model's.
        video, audio: the model's codecs, where it carries them (`encoder_info`).

    Raises:
        DataError: other rates or channels, or latents made by another codec.
    """
    pairs = {
        "fps": (info.fps, config.fps),
        "video_stride": (tuple(info.video_stride), tuple(config.video_stride)),
        "sample_rate": (info.sample_rate, config.sample_rate),
        "samples_per_latent": (info.samples_per_latent, config.samples_per_latent),
        "video_channels": (info.video_channels, config.in_dim),
        "audio_channels": (info.audio_channels, config.audio_channels),
        "prompt_style": (info.prompt_style, config.prompt_style),
    }
    wrong = [f"{name} {has} instead of {needs}" for name, (has, needs) in pairs.items() if has != needs]
    codecs = {"picture codec": (info.video_codec, video), "sound codec": (info.audio_codec, audio)}
    wrong += [
        f"the {name}'s weights (it was made with those of {made.name or 'another file'})"
        for name, (made, own) in codecs.items()
        if made is not None and own is not None and made.fingerprint != own.fingerprint
    ]
    if wrong:
        raise DataError(
            f"{folder} was made for another model: {'; '.join(wrong)}. Make a data set with this model: "
            "`python -m unitalking.training.prepare SOURCE OUT --model FILE`."
        )
