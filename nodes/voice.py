"""What the VOICE socket carries."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..unitalking.config import UniTalkingConfig
from .vae import codec_id


@dataclass(frozen=True)
class Voice:
    """An encoded voice clip.

    Attributes:
        latents: (1, C, n), in VAE space, not normalised, at most 10 s.
        codec: which codec made them; models on the same codec share voices.
        sample_rate: of that codec, Hz.
        report: what was found in the clip, for people.
    """

    latents: Tensor
    codec: str
    sample_rate: int
    report: str


def check_voice(voice: Voice, config: UniTalkingConfig, node: str) -> None:
    """Refuses a voice of another codec.

    Raises:
        ValueError: names both codecs.
    """
    expected = codec_id(config)
    if voice.codec != expected:
        raise ValueError(
            f"{node}: the VOICE was encoded by another audio codec (sample rate-channels-samples {voice.codec}, this "
            f"model has {expected}): encode the clip again with this model's audio_vae."
        )
