"""A data set of small random latents for the pack's tiny random model, and recipes for it. Not a test itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tiny_model import TINY_MODEL as MODEL

from unitalking import timeline
from unitalking.checkpoint.random_model import TINY
from unitalking.prompt import compose_prompt
from unitalking.training.dataset import ChannelStatistics, DatasetInfo, write_description
from unitalking.training.hearing import PART, Hearing, HearingConfig
from unitalking.training.part_files import save_part
from unitalking.training.shard_writer import ShardWriter
from unitalking.training.shards import CachedClip
from unitalking.training.start import read_tensors

SENTENCES = ("Good morning.", "The train leaves at nine.", "How are you?", "Bring the red book.", "It rains.")


def clip(
    number: int, frames: int, *, speakers: int = 2, context_dim: int = 0, side: int = 4, timbre: float = 0.0
) -> CachedClip:
    """Clip `number`; without a picture where `frames` is 0; `timbre`: how far apart the speakers' sounds are."""
    generator = torch.Generator().manual_seed(number)
    of_speaker = torch.Generator().manual_seed(1000 + number % max(speakers, 1))
    voice = timbre * torch.randn(TINY.audio_channels, 1, generator=of_speaker)
    speech = SENTENCES[number % len(SENTENCES)]
    length = timeline.audio_latents(frames or 17, TINY.fps, TINY.sample_rate, TINY.samples_per_latent)
    grid = (TINY.in_dim, timeline.video_latents(frames), side, side)
    context = torch.randn(len(speech), context_dim, generator=generator) if context_dim else None
    return CachedClip(
        key=f"clip-{number:03d}",
        video=torch.randn(grid, generator=generator).half() if frames else None,
        audio=(torch.randn(TINY.audio_channels, length, generator=generator) + voice).half(),
        context=context,
        prompt=compose_prompt(speech, "a face", ""),
        speech=speech,
        scene="a face",
        speaker=f"speaker-{number % speakers}" if speakers else "",
        frames=frames,
        source=f"made {number}",
        spoken=(0.125, 0.5 + 0.01 * number) if number % 3 else None,
    )


def make_dataset(folder: Path, frames: tuple[int, ...] = (17,) * 6 + (25,) * 5, **options: Any) -> Path:
    """A finished data set, a clip for each of `frames`."""
    folder.mkdir(parents=True)
    with ShardWriter(folder, max_samples=4) as writer:
        for number, length in enumerate(frames):
            writer.add(clip(number, length, **options))
    info = DatasetInfo(
        fps=TINY.fps,
        video_stride=TINY.video_stride,
        sample_rate=TINY.sample_rate,
        samples_per_latent=TINY.samples_per_latent,
        video_channels=TINY.in_dim,
        audio_channels=TINY.audio_channels,
        prompt_style=TINY.prompt_style,
        dtype="float16",
        video_codec=None,
        audio_codec=None,
        text_encoder=None,
        video=ChannelStatistics((0.0,) * TINY.in_dim, (1.0,) * TINY.in_dim),
        audio=ChannelStatistics((0.0,) * TINY.audio_channels, (1.0,) * TINY.audio_channels),
        rgb=None,
        shards=tuple(writer.written),
        clips=len(frames),
    )
    write_description(folder, info)
    return folder


SMALL = replace(TINY, dim=32, ffn_dim=64, num_heads=2, num_layers=2, freq_dim=16, text_len=64, reference_tokens=12)


def write_hearing(path: Path) -> Path:
    """What a run of kind `hearing` leaves for this model, untrained."""
    torch.manual_seed(0)
    hearing = Hearing(HearingConfig(TINY.audio_channels, 16, 12, 8))
    statistics = read_tensors(MODEL)[0]
    hearing.mean.copy_(statistics["latents.audio.mean"])
    hearing.std.copy_(statistics["latents.audio.std"])
    save_part(path, PART, hearing.config, hearing.state_dict(), 0)
    return path


def recipe(data: Path, folder: Path, **changes: Any) -> dict[str, Any]:
    """A flow recipe as a mapping: the tiny random model, float32, nothing that waits."""
    trainer = {
        "steps": 3,
        "batch_size": 4,
        "precision": "fp32",
        "checkpoint_every": 2,
        "log_every": 1,
        "workers": 0,
        "optimiser": {"lr": 1e-3},
        **changes.pop("trainer", {}),
    }
    return {
        "data": str(data),
        "folder": str(folder),
        "tasks": {"t2av": {"weight": 1.0}, "ti2av": {"weight": 1.0}, "tr2av": {"weight": 1.0}, "tv2a": {"weight": 1.0}},
        "trainer": trainer,
        "model": {"start": str(MODEL)},
        **changes,
    }
