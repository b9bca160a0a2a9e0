"""What audio latents are known by: a VOICE and a sound codec say it, and models ask for theirs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

from ..config import UniTalkingConfig

ENCODER = "vae.encoder."


def codec_id(config: UniTalkingConfig, carried: Mapping[str, Tensor] | None = None) -> str:
    """Sample rate, channels and samples per latent of a model's audio latents.

    Args:
        config: of the model.
        carried: the codec in the model's own file: others were trained to the same numbers, so that the id ends with a
            digest of its encoder, in whatever precision it was saved.
    """
    name = f"{config.sample_rate}-{config.audio_channels}-{config.samples_per_latent}"
    if not carried:
        return name
    digest = hashlib.sha256()
    for key in sorted(key for key in carried if key.startswith(ENCODER)):
        digest.update(carried[key].to("cpu", torch.float16).flatten().view(torch.uint8).numpy())
    return f"{name}-{digest.hexdigest()[:8]}"


def understands(one: str, other: str) -> bool:
    """Whether two codecs, by `codec_id`, make the same latents; where one has no digest, their numbers decide."""
    return all(mine == others for mine, others in zip(one.split("-"), other.split("-"), strict=False))
