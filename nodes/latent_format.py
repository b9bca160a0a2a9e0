"""Latents between VAE space (what sockets carry) and what the network sees, in all shapes the host hands over."""

from __future__ import annotations

from collections.abc import Sequence

import comfy.latent_formats
import comfy.nested_tensor
import comfy.utils
from torch import Tensor

from ..unitalking.config import UniTalkingConfig
from ..unitalking.latents import LatentStatistics


class UniTalkingLatentFormat(comfy.latent_formats.LatentFormat):
    """Normalises picture and sound by the model's own statistics.

    The host calls it with a plain video latent (B, C, F, H, W), with the packed latent (B, 1, N) of a run, whose
    shapes `packed_shapes` then holds, or with a nested (video, audio) latent.

    Args:
        config: channels and strides.
        video, audio: the model's latent statistics.
        rgb: (C + 1, 3), factors that turn a normalised video latent into a picture, the last row the bias; or None.
    """

    latent_dimensions = 3

    def __init__(
        self, config: UniTalkingConfig, video: LatentStatistics, audio: LatentStatistics, rgb: Tensor | None
    ) -> None:
        self.video, self.audio = video, audio
        # EasyCache slices both streams to this many channels.
        self.latent_channels = max(config.in_dim, config.audio_channels)
        self.spacial_downscale_ratio = config.video_stride[1]
        self.temporal_downscale_ratio = config.time_stride
        self.packed_shapes: Sequence[Sequence[int]] | None = None
        if rgb is not None:
            self.latent_rgb_factors = rgb[:-1].tolist()
            self.latent_rgb_factors_bias = rgb[-1].tolist()
        self.latent_rgb_factors_reshape = self._video_of

    def process_in(self, latent: Tensor) -> Tensor:
        """VAE space -> normalised, shape kept."""
        return self._apply(latent, LatentStatistics.normalise)

    def process_out(self, latent: Tensor) -> Tensor:
        """Normalised -> VAE space, shape kept."""
        return self._apply(latent, LatentStatistics.restore)

    def _apply(self, latent: Tensor, convert: object) -> Tensor:
        if getattr(latent, "is_nested", False):
            return comfy.nested_tensor.NestedTensor(self._each(latent.unbind(), convert))
        if latent.ndim == 3 and self.packed_shapes is not None and len(self.packed_shapes) > 1:
            streams = comfy.utils.unpack_latents(latent, self.packed_shapes)
            return comfy.utils.pack_latents(self._each(streams, convert))[0]
        return convert(self.audio if latent.ndim == 3 else self.video, latent)

    def _each(self, streams: Sequence[Tensor], convert: object) -> list[Tensor]:
        return [convert(statistics, part) for statistics, part in zip((self.video, self.audio), streams, strict=True)]

    def _video_of(self, latent: Tensor) -> Tensor:
        """The video stream of what a preview is given, one plain frame for a clip without picture.

        Hosts before 0.30 hand over the packed latent.
        """
        if latent.ndim == 3 and self.packed_shapes is not None:
            latent = comfy.utils.unpack_latents(latent, self.packed_shapes)[0]
        if latent.ndim == 5 and not latent.shape[2]:
            return latent.new_zeros(*latent.shape[:2], 1, *latent.shape[3:])
        return latent
