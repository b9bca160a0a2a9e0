"""The audio codec: waveform -> mel -> audio latents, and back through the vocoder.

B clips, S samples, C latent channels, L latents. Latents are the posterior mean, unscaled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .audio_vae import TIME_FACTOR, AudioVAE, latents_needed
from .checks import positive_integer
from .mel import MEL_16K, MEL_44K, MelConfig, MelSpectrogram
from .refinement import refine
from .vocoder import Vocoder, VocoderConfig


@dataclass(frozen=True)
class AudioCodecConfig:
    """A mel front end, a VAE and a vocoder that fit each other.

    Attributes:
        mel: the mel front end.
        latent_channels: C.
        hidden_dim: width of the VAE's first level.
        vocoder: the vocoder.
        refine_steps: rounds that bring the vocoder's waveform to the magnitudes of its mel frames, for a small vocoder;
            0: its waveform as it is.
    """

    mel: MelConfig
    latent_channels: int
    hidden_dim: int
    vocoder: VocoderConfig
    refine_steps: int = 0

    def __post_init__(self) -> None:
        positive_integer("AudioCodecConfig.latent_channels", self.latent_channels)
        positive_integer("AudioCodecConfig.hidden_dim", self.hidden_dim)
        if not isinstance(self.refine_steps, int) or self.refine_steps < 0:
            raise ValueError(
                f"AudioCodecConfig.refine_steps: got {self.refine_steps!r}, expected 0 or a positive integer."
            )
        if self.vocoder.mels != self.mel.n_mels:
            raise ValueError(f"VocoderConfig.mels: got {self.vocoder.mels}, expected {self.mel.n_mels} (mel.n_mels).")
        if self.vocoder.hop != self.mel.hop:
            raise ValueError(
                f"VocoderConfig.upsample_rates: got {self.vocoder.upsample_rates} with product {self.vocoder.hop}, "
                f"expected product {self.mel.hop} (mel.hop)."
            )

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.mel.sample_rate

    @property
    def samples_per_latent(self) -> int:
        """Samples that one latent stands for."""
        return TIME_FACTOR * self.mel.hop


BIGVGAN_V2_44K = VocoderConfig(128, (8, 4, 2, 2, 2, 2), (16, 8, 4, 4, 4, 4), 1536, final="clamp", final_bias=False)
BIGVGAN_V1_16K = VocoderConfig(80, (4, 4, 2, 2, 2, 2), (8, 8, 4, 4, 4, 4), 1536)
BIGVGAN_TINY = VocoderConfig(80, (4, 4, 2, 2, 2, 2), (8, 8, 4, 4, 4, 4), 64)

AUDIO_CODEC_44K = AudioCodecConfig(MEL_44K, 40, 512, BIGVGAN_V2_44K)
AUDIO_CODEC_16K = AudioCodecConfig(MEL_16K, 20, 384, BIGVGAN_V1_16K)
AUDIO_CODEC_TINY = AudioCodecConfig(MEL_16K, 20, 16, BIGVGAN_TINY)


class AudioCodec(nn.Module):
    """Mono waveforms to audio latents and back; state-dict keys `vae.*` (baked) and `vocoder.*` (fused)."""

    def __init__(
        self,
        config: AudioCodecConfig,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.mel = MelSpectrogram(config.mel)
        self.vae = AudioVAE(config.mel.n_mels, config.latent_channels, config.hidden_dim, device, dtype)
        self.vocoder = Vocoder(config.vocoder, device, dtype)

    def encode(self, waveform: Tensor) -> Tensor:
        """The latents of a waveform; deterministic.

        Args:
            waveform: (B, S) at `config.sample_rate`, mono. A clip too short for one latent is filled up with silence.

        Returns:
            (B, C, floor(floor(S / hop) / 2)), at least one latent.

        Raises:
            ValueError: not (B, S), or no samples.
        """
        if waveform.ndim != 2 or waveform.shape[1] == 0:
            raise ValueError(
                f"waveform: got shape {tuple(waveform.shape)}, expected (clips, samples), mono, not empty."
            )
        shortest = max(self.config.samples_per_latent, self.config.mel.min_samples)
        waveform = functional.pad(waveform, (0, max(0, shortest - waveform.shape[1])))
        mean, _ = self.vae.encode(self.mel(waveform).to(self.vae.data_mean.dtype))
        return mean

    def decode(self, latents: Tensor) -> Tensor:
        """The waveform of latents, all at once.

        Args:
            latents: (B, C, L).

        Returns:
            (B, L * samples_per_latent), in [-1, 1]; NaN in the latents stays NaN.

        Raises:
            ValueError: other channels than the codec's, or no latents.
        """
        mel = self.vae.decode(self._checked(latents))
        return self._refined(self.vocoder(mel), mel)

    def decode_chunked(self, latents: Tensor, chunk: int, on_chunk: Callable[[int, int], None] | None = None) -> Tensor:
        """`decode` in stretches, so that memory does not grow with the clip's length.

        Only the VAE's middle level sees the whole clip; it runs once, at latent rate. The rest is convolutions: each
        stretch is decoded with all the hidden values that its samples depend on (27 latents more on each side at
        44.1 kHz, 35 at 16 kHz), which leaves rounding as the only difference from `decode`: measured rel_l2 1.2e-6 and
        at most 1e-5 on a sample in fp32 (`decode` itself is 1e-6 from float64), 1e-15 in float64. A codec's
        refinement sees the whole clip, too.

        Args:
            latents: (B, C, L).
            chunk: latents per stretch.
            on_chunk: called with (latents done, L) after each stretch; what it raises ends the decoding.

        Returns:
            (B, L * samples_per_latent).

        Raises:
            ValueError: as `decode`, or `chunk` is not a positive integer.
        """
        positive_integer("chunk", chunk)
        hidden = self.vae.decoder.whole_clip(self._checked(latents))  # (B, 4 hidden_dim, L)
        total, step = latents.shape[2], self.config.samples_per_latent
        samples, mels = [], []
        for start in range(0, total, chunk):
            stop = min(start + chunk, total)
            first, last = self._hidden_needed(start, stop)
            first, last = max(0, first), min(total, last)
            mel = self.vae.decode_local(hidden[:, :, first:last])
            samples.append(self.vocoder(mel)[:, (start - first) * step : (stop - first) * step].clone())
            mels.append(mel[:, :, (start - first) * TIME_FACTOR : (stop - first) * TIME_FACTOR].clone())
            if on_chunk is not None:
                on_chunk(stop, total)
        return self._refined(torch.cat(samples, dim=1), torch.cat(mels, dim=2))

    def _refined(self, waveform: Tensor, mel: Tensor) -> Tensor:
        steps = self.config.refine_steps
        return refine(waveform, mel, self.config.mel, steps) if steps else waveform

    def _hidden_needed(self, start: int, stop: int) -> tuple[int, int]:
        """The hidden values that the samples of latents [start, stop) depend on, ignoring the clip's ends."""
        step = self.config.samples_per_latent
        return latents_needed(*self.config.vocoder.frames_needed(start * step, stop * step))

    def _checked(self, latents: Tensor) -> Tensor:
        channels = self.config.latent_channels
        if latents.ndim != 3 or latents.shape[1] != channels or latents.shape[2] == 0:
            raise ValueError(f"audio latents: got shape {tuple(latents.shape)}, expected (clips, {channels}, latents).")
        return latents.to(self.vae.data_mean.dtype)
