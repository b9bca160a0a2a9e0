"""One file of trained parts: codecs, their latent statistics and preview factors, with a network or a random one.

C latent channels, N latent cells; a bundle is a complete UniTalking model file (`checkpoint.files`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from ..codec.audio_codec import AudioCodec, AudioCodecConfig
from ..codec.video_vae import SPACE_STRIDE, TIME_STRIDE, VideoVAE, VideoVAEConfig
from ..config import UniTalkingConfig
from ..domain import Domain
from ..latents import LatentStatistics
from ..mapping import to_mapping
from .waves import SpeechClips


class TalkingClip(Protocol):
    """Frames (F, H, W, 3) uint8 and mono samples (S,) of one clip."""

    frames: Tensor
    samples: Tensor


class TalkingClips(SpeechClips, Protocol):
    """Clips with sound and pictures, by number."""

    def clip(self, index: int) -> TalkingClip: ...


@dataclass(frozen=True)
class MeasuredLatents:
    """What is known of the latents of trained codecs.

    Attributes:
        video, audio: mean and standard deviation of each channel.
        rgb: (C + 1, 3), from normalised video latents to colours in [-1, 1], the last row the bias.
    """

    video: LatentStatistics
    audio: LatentStatistics
    rgb: Tensor


def with_codecs(config: UniTalkingConfig, video_vae: VideoVAEConfig, audio_codec: AudioCodecConfig) -> UniTalkingConfig:
    """The config of a model whose latents these codecs make: channels, rates and strides follow them."""
    return replace(
        config,
        in_dim=video_vae.latent_channels,
        out_dim=video_vae.latent_channels,
        audio_channels=audio_codec.latent_channels,
        video_stride=(TIME_STRIDE, SPACE_STRIDE, SPACE_STRIDE),
        sample_rate=audio_codec.sample_rate,
        hop=audio_codec.mel.hop,
        video_vae=to_mapping(video_vae),
        audio_codec=to_mapping(audio_codec),
    )


@torch.no_grad()
def measure_latents(
    video_vae: VideoVAE, audio_codec: AudioCodec, clips: TalkingClips, pictures: int, sounds: int
) -> MeasuredLatents:
    """Statistics and preview factors, measured on clips.

    Args:
        video_vae, audio_codec: trained.
        clips: of the data the model will be trained on.
        pictures, sounds: how many clips are encoded by each of them, the first ones.
    """
    latents, colours = [], []
    for index in range(min(pictures, len(clips))):
        frames = clips.clip(index).frames.permute(3, 0, 1, 2).float() / 127.5 - 1  # (3, F, H, W)
        latents.append(video_vae.encode(frames[None])[0].flatten(1))  # (C, N)
        colours.append(_cell_colours(frames).flatten(1))  # (3, N)
    video = _statistics(latents)
    heard = [audio_codec.encode(clips.speech(index).samples[None])[0] for index in range(min(sounds, len(clips)))]
    normalised = video.normalise(torch.cat(latents, 1)[None])[0]
    return MeasuredLatents(video, _statistics(heard), _preview_factors(normalised, torch.cat(colours, 1)))


@torch.no_grad()
def measure_domain(video_vae: VideoVAE, clips: TalkingClips, pictures: int) -> Domain:
    """What a model of these clips knows as first pictures: one picture of each clip, early and late ones.

    Args:
        video_vae: trained.
        clips: of the data the model will be trained on.
        pictures: how many, at most one of every clip.
    """
    latents = []
    for index in range(min(pictures, len(clips))):
        frames = clips.clip(index).frames
        picture = frames[index % len(frames)].permute(2, 0, 1).float() / 127.5 - 1  # (3, H, W)
        latents.append(video_vae.encode(picture[None, :, None])[:, :, 0])
    return Domain.measured(torch.cat(latents))


def _cell_colours(frames: Tensor) -> Tensor:
    """Mean colour of every latent cell: frame 0 alone, then four frames together; (3, F, H, W) -> (3, L, h, w)."""
    cells = torch.nn.functional.avg_pool2d(frames.transpose(0, 1), SPACE_STRIDE).transpose(0, 1)
    later = cells[:, 1:].unflatten(1, (-1, TIME_STRIDE)).mean(2)
    return torch.cat((cells[:, :1], later), 1)


def _statistics(latents: list[Tensor]) -> LatentStatistics:
    every = torch.cat(latents, 1).double()
    return LatentStatistics(every.mean(1).float(), every.std(1).clamp_min(1e-4).float())


def _preview_factors(latents: Tensor, colours: Tensor) -> Tensor:
    """The least-squares map from (C, N) to (3, N), (C + 1, 3)."""
    with_bias = torch.cat((latents, torch.ones_like(latents[:1]))).T.double()
    return torch.linalg.lstsq(with_bias, colours.T.double()).solution.float()
