"""Small data sets for tests: clips drawn from a seed, written by the pack's own writer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch

from unitalking.training.dataset import EMPTY_CONTEXT, ChannelStatistics, DatasetInfo, EncoderInfo, write_description
from unitalking.training.shard_writer import ShardWriter
from unitalking.training.shards import CachedClip

VIDEO_CHANNELS, AUDIO_CHANNELS, TEXT_DIM = 3, 2, 4

INFO = DatasetInfo(
    fps=24,
    video_stride=(4, 16, 16),
    sample_rate=16000,
    samples_per_latent=512,
    video_channels=VIDEO_CHANNELS,
    audio_channels=AUDIO_CHANNELS,
    prompt_style="tagged",
    dtype="float16",
    video_codec=EncoderInfo("a" * 64, {"latent_channels": VIDEO_CHANNELS}, "model.safetensors"),
    audio_codec=EncoderInfo("b" * 64),
    text_encoder=None,
    video=ChannelStatistics((0.0, 1.0, 2.0), (1.0, 2.0, 3.0)),
    audio=ChannelStatistics((0.5, -0.5), (1.5, 2.5)),
    rgb=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.1, 0.2, 0.3)),
    shards=(),
    clips=0,
)


def make_clip(
    number: int, *, video: bool = True, references: int = 1, context: int = 0, dtype: torch.dtype = torch.float16
) -> CachedClip:
    """Clip `number`, every value a function of it."""
    generator = torch.Generator().manual_seed(number)
    draw = lambda *shape: torch.randn(shape, generator=generator).to(dtype)  # noqa: E731
    latent_frames = 2 + number % 3
    return CachedClip(
        key=f"{number:08d}",
        video=draw(VIDEO_CHANNELS, latent_frames, 2, 3) if video else None,
        audio=draw(AUDIO_CHANNELS, 5 + number % 4),
        references=tuple(draw(AUDIO_CHANNELS, 4 + index) for index in range(references)),
        context=draw(context, TEXT_DIM) if context else None,
        prompt=f"<S>word {number}<E>",
        speech=f"word {number}",
        scene="a face, naïve \N{GRINNING FACE}",
        sound="",
        speaker=f"voice {number % 2}" if number % 5 else "",
        frames=4 * (latent_frames - 1) + 1 if video else 0,
        source=f"clips/{number}.mp4",
        spoken=(0.125, 0.5 + number) if number % 2 else None,
    )


def write_dataset(folder: Path, clips: list[CachedClip], per_shard: int = 3, info: DatasetInfo = INFO) -> Path:
    """A finished data set in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with ShardWriter(folder, "000000", max_samples=per_shard) as writer:
        for clip in clips:
            writer.add(clip)
    if info.text_encoder is not None:
        safetensors.torch.save_file({"context": torch.ones(1, TEXT_DIM)}, folder / EMPTY_CONTEXT)
    write_description(folder, replace(info, shards=tuple(writer.written), clips=len(clips)))
    return folder
