"""Small random models and inputs, all in float64 and seeded; what every test of this folder arranges with."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unitalking.config import UniTalkingConfig
from unitalking.model.transformer import UniTalking
from unitalking.types import Conditions, NoiseLevels, StreamInput, Turns

# A head of 22 splits 10 / 6 / 6 over time, height and width: uneven, and more than one frequency on each axis.
SIZES = {
    "dim": 44,
    "ffn_dim": 60,
    "num_heads": 2,
    "num_layers": 2,
    "in_dim": 3,
    "out_dim": 3,
    "audio_channels": 5,
    "text_dim": 10,
    "text_len": 7,
    "freq_dim": 16,
    "reference_tokens": 6,
}


def tiny_config(**changes: Any) -> UniTalkingConfig:
    """A model of two blocks of width 44."""
    return UniTalkingConfig(**{**SIZES, **changes})


def generator(seed: int) -> torch.Generator:
    """A seeded CPU generator."""
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int) -> Tensor:
    """Standard normal numbers, float64."""
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def tiny_model(config: UniTalkingConfig | None = None, seed: int = 0, **options: Any) -> UniTalking:
    """A float64 model whose every tensor is random, gates and heads included, so that everything has an effect."""
    model = UniTalking(config or tiny_config(), **{"dtype": torch.float64, **options})
    draw = generator(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
            if ".norm" in name and name.endswith("weight"):
                noise = 1 + 0.3 * noise
            elif parameter.ndim == 1 or "modulation" in name:
                noise = 0.4 * noise
            else:
                noise = noise * parameter[0].numel() ** -0.5
            parameter.copy_(noise)
    return model.requires_grad_(False)


@dataclass(frozen=True)
class Given:
    """All inputs of one call of a tiny model; `None` timesteps leave that stream out.

    Attributes:
        video, audio: latents (B, C, F, H, W) and (B, C, L).
        video_context, audio_context: text rows (B, rows, text_dim), fewer than text_len.
        video_timestep, audio_timestep: 1000 * sigma, (B, F) per latent frame and (B, L) per audio latent.
        reference: (B, C, reference_tokens) or None.
        voice_present: (B,) or None.
        turns: which of several voices each token of the sound hears.
    """

    video: Tensor
    audio: Tensor
    video_context: Tensor
    audio_context: Tensor
    video_timestep: Tensor | None
    audio_timestep: Tensor | None
    reference: Tensor | None = None
    voice_present: Tensor | None = None
    turns: Turns = ()

    def but(self, **changes: Any) -> Given:
        """The same with some fields changed."""
        return dataclasses.replace(self, **changes)

    def to(self, dtype: torch.dtype) -> Given:
        """The same in another floating dtype, noise levels apart."""
        fields = {name: getattr(self, name) for name in ("video", "audio", "video_context", "audio_context")}
        fields["reference"] = self.reference
        return self.but(**{name: None if value is None else value.to(dtype) for name, value in fields.items()})


def given(
    batch: int = 2, grid: tuple[int, int, int] = (3, 4, 6), length: int = 11, *, voice: bool = False, seed: int = 100
) -> Given:
    """Random inputs for a tiny model, noise levels different from sample to sample; joint, everything noisy."""
    times = torch.tensor([713.0, 291.0, 954.0], dtype=torch.float64)[:batch, None]
    return Given(
        video=normal(batch, 3, *grid, seed=seed),
        audio=normal(batch, 5, length, seed=seed + 1),
        video_context=normal(batch, 5, 10, seed=seed + 2),
        audio_context=normal(batch, 4, 10, seed=seed + 3),
        video_timestep=times.repeat(1, grid[0]),
        audio_timestep=times.repeat(1, length),
        reference=normal(batch, 5, 6, seed=seed + 4) if voice else None,
    )


def hold(timestep: Tensor, entries: int) -> Tensor:
    """The table with its first `entries` columns held clean."""
    held = timestep.clone()
    held[:, :entries] = 0
    return held


def stream_inputs(model: UniTalking, inputs: Given, *, keep_keys: bool = True) -> tuple[StreamInput | None, ...]:
    """What `UniTalking.forward` takes, for the streams that have a timestep."""
    present = [inputs.video_timestep is not None, inputs.audio_timestep is not None]
    contexts = [
        text if there else None
        for text, there in zip((inputs.video_context, inputs.audio_context), present, strict=True)
    ]
    conditions = model.encode_conditions(*contexts, inputs.reference, inputs.voice_present, keep_keys=keep_keys)
    return (
        _video_input(model, inputs, conditions[0]) if present[0] else None,
        _audio_input(model, inputs, conditions[1]) if present[1] else None,
    )


def _video_input(model: UniTalking, inputs: Given, conditions: Conditions) -> StreamInput:
    tokens_per_frame = inputs.video.shape[3] * inputs.video.shape[4] // 4
    noise = NoiseLevels.from_tokens(inputs.video_timestep, tokens_per_frame)
    rope, extra = model.video_layout(inputs.video)
    return StreamInput(inputs.video, noise, rope, conditions, extra)


def _audio_input(model: UniTalking, inputs: Given, conditions: Conditions) -> StreamInput:
    noise = NoiseLevels.from_tokens(inputs.audio_timestep)
    rope, extra = model.audio_layout(inputs.audio)
    return StreamInput(inputs.audio, noise, rope, conditions, extra, inputs.turns)


def run(model: UniTalking, inputs: Given, *, keep_keys: bool = True, **options: Any) -> tuple[Tensor, Tensor]:
    """The velocities of both streams, None for one that is left out."""
    return model(*stream_inputs(model, inputs, keep_keys=keep_keys), **options)


def rel_l2(actual: Tensor, expected: Tensor) -> float:
    """|actual - expected| / |expected|."""
    return float((actual.double() - expected.double()).norm() / expected.double().norm())
