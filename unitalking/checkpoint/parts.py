"""The parts that a bundle carries beside the streams, built from the config in its file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from ..codec.audio_codec import AudioCodec, AudioCodecConfig
from ..codec.text_encoder import ByteTextEncoder, TextEncoderConfig
from ..codec.video_vae import VideoVAE, VideoVAEConfig
from ..config import UniTalkingConfig
from ..mapping import from_mapping

# part name in files -> (field of the model's config, class of the part's config, class of the part)
PARTS: dict[str, tuple[str, type, Callable[..., nn.Module]]] = {
    "text_encoder": ("text_encoder", TextEncoderConfig, ByteTextEncoder),
    "video_vae": ("video_vae", VideoVAEConfig, VideoVAE),
    "audio_vae": ("audio_codec", AudioCodecConfig, AudioCodec),
}


def part_config(config: UniTalkingConfig, part: str) -> Any | None:
    """The parsed config of a part, or None where the model has none.

    Raises:
        ValueError: a config that the part refuses.
    """
    field, config_class, _ = PARTS[part]
    mapping: Mapping[str, Any] | None = getattr(config, field)
    return None if mapping is None else from_mapping(config_class, mapping, f"config.{field}")


def build_part(config: UniTalkingConfig, part: str, **factory: Any) -> nn.Module:
    """The module of a part, without weights of its own choosing.

    Args:
        config: the model's config.
        part: "text_encoder", "video_vae" or "audio_vae".
        factory: device and dtype.

    Raises:
        ValueError: the model has no such part.
    """
    parsed = part_config(config, part)
    if parsed is None:
        raise ValueError(f"{part}: the model's config describes none, so it must come from a file of its own.")
    return PARTS[part][2](parsed, **factory)
