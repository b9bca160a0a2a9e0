"""What is said in audio latents, and in whose voice: two small networks, and the losses that they give flow matching.

B clips, C channels, L latents, D width, P classes of phonemes, E numbers of a voice, R runs of equal noise level.

The mean squared error counts every latent alike. Whose voice it is weighs little in it and is heard at once; the same
goes for a consonant. So the clean latent that a predicted velocity leads to is listened to, at every noise level. The
networks share neither weights nor input with the judges of the evaluation, which hear mel frames; both learn from clips
of one generator. Ours, the paper has none of this; DMOSpeech (Li et al. 2024) trains speech on a recogniser and a
speaker encoder, after sampling in a few steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..codec.checks import positive_integer
from ..flow import denoised_from_velocity
from ..latents import LatentStatistics
from ..synthetic.phonemes import PHONEMES
from .flow_batches import StreamBatch
from .part_files import load_part
from .settings import TrainingError

PART = "hearing"
PAUSE = 0  # the class of latents in which nothing is said
CLASSES = len(PHONEMES) + 1
PHONEME_DILATIONS = (1, 2, 4, 1, 2, 1)
VOICE_DILATIONS = (1, 2, 4, 1)
HEADS = 4
# The estimate from noise alone is heard as well, for less.
LEAST_SHARE = 0.5
STATISTICS_TOLERANCE = 1e-3


@dataclass(frozen=True)
class HearingConfig:
    """Sizes.

    Attributes:
        channels: of the audio latents, C.
        phoneme_dim, voice_dim: width of the two networks, D.
        voice_size: numbers of a voice, E.
    """

    channels: int
    phoneme_dim: int = 256
    voice_dim: int = 192
    voice_size: int = 128

    def __post_init__(self) -> None:
        for name in ("channels", "phoneme_dim", "voice_dim", "voice_size"):
            positive_integer(f"HearingConfig.{name}", getattr(self, name))


class LatentBlock(nn.Module):
    """x + out(silu(conv(norm(x)))) along time, (B, D, L) -> (B, D, L)."""

    def __init__(self, dim: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, dim)
        self.conv = nn.Conv1d(dim, dim, 3, padding=dilation, dilation=dilation)
        self.out = nn.Conv1d(dim, dim, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + self.out(functional.silu(self.conv(self.norm(hidden))))


def _stack(channels: int, dim: int, dilations: tuple[int, ...]) -> nn.Sequential:
    blocks = (LatentBlock(dim, dilation) for dilation in dilations)
    return nn.Sequential(nn.Conv1d(channels, dim, 3, padding=1), *blocks, nn.GroupNorm(1, dim))


class PhonemeRecogniser(nn.Module):
    """Scores of what is said in each latent, (B, C, L) -> (B, P, L)."""

    def __init__(self, config: HearingConfig) -> None:
        super().__init__()
        self.stack = _stack(config.channels, config.phoneme_dim, PHONEME_DILATIONS)
        self.head = nn.Conv1d(config.phoneme_dim, CLASSES, 1)

    def forward(self, latents: Tensor) -> Tensor:
        return self.head(self.stack(latents)).float()


class SpeakerEncoder(nn.Module):
    """Whose voice a clip has: (B, C, L) -> (B, E) of length 1, from means and spreads under several attentions."""

    def __init__(self, config: HearingConfig) -> None:
        super().__init__()
        self.stack = _stack(config.channels, config.voice_dim, VOICE_DILATIONS)
        self.attention = nn.Conv1d(config.voice_dim, HEADS, 1)
        self.head = nn.Linear(2 * HEADS * config.voice_dim, config.voice_size)

    def forward(self, latents: Tensor, counted: Tensor | None = None) -> Tensor:
        """
        Args:
            latents: (B, C, L).
            counted: (B, L), whether a latent counts; None: all.
        """
        hidden = self.stack(latents)
        scores = self.attention(hidden).float()
        if counted is not None:
            scores = scores.masked_fill(~counted[:, None], -1e4)
        weights, hidden = scores.softmax(dim=2), hidden.float()
        mean = torch.einsum("bhl,bdl->bhd", weights, hidden)
        square = torch.einsum("bhl,bdl->bhd", weights, hidden.square())
        spread = (square - mean.square()).clamp_min(1e-5).sqrt()
        return functional.normalize(self.head(torch.cat((mean, spread), dim=2).flatten(1)).float(), dim=1)


class Hearing(nn.Module):
    """Both networks, and the statistics by which the latents that they hear are normalised."""

    def __init__(self, config: HearingConfig) -> None:
        super().__init__()
        self.config = config
        self.phonemes = PhonemeRecogniser(config)
        self.voice = SpeakerEncoder(config)
        self.register_buffer("mean", torch.zeros(config.channels))
        self.register_buffer("std", torch.ones(config.channels))


class HearingLosses:
    """How an estimate of the clean sound differs, to the ear, from the clip.

    Args:
        hearing: trained; it stays as it is.
    """

    def __init__(self, hearing: Hearing) -> None:
        self.hearing = hearing.eval().requires_grad_(False)

    def __call__(
        self, stream: StreamBatch, predicted: Tensor, reference: Tensor | None, voice_present: Tensor | None
    ) -> dict[str, Tensor]:
        """Losses of the sound that is generated, (B,) each; 0 where none is.

        Args:
            stream: the sound.
            predicted: its velocity, (B, C, L).
            reference: the voice, (B, C, n); None: the model takes none.
            voice_present: 1 or 0, (B,).

        Returns:
            `phonemes`: Kullback-Leibler divergence of what each latent is taken for, mean over generated latents, nats.
            `voice`: 1 - cosine with the middle between the clip's own voice, the reference's and that of the sound that
            is given, which is nearer to the speaker than any of them; 0 where neither reference nor sound is given.
        """
        generated = stream.generated
        level = stream.per_latent(stream.levels)
        estimate = denoised_from_velocity(stream.noisy, predicted.to(stream.data), level)
        share = (1 - stream.sigma).clamp(min=LEAST_SHARE) * generated.any(dim=1)
        found = {"phonemes": share * self._misheard(estimate, stream.data, generated)}
        if reference is not None:
            told = self.hearing.voice(reference) * voice_present[:, None]
            found["voice"] = share * self._unlike(estimate, stream.data, told, generated)
        return found

    def _misheard(self, estimate: Tensor, clip: Tensor, generated: Tensor) -> Tensor:
        with torch.no_grad():
            said = self.hearing.phonemes(clip).log_softmax(dim=1)
        heard = self.hearing.phonemes(estimate).log_softmax(dim=1)
        apart = (said.exp() * (said - heard)).sum(dim=1) * generated
        return apart.sum(dim=1) / generated.sum(dim=1).clamp(min=1)

    def _unlike(self, estimate: Tensor, clip: Tensor, told: Tensor, generated: Tensor) -> Tensor:
        voice, given = self.hearing.voice, ~generated
        with torch.no_grad():
            told = told + voice(clip, given) * given.any(dim=1, keepdim=True)
            wanted = functional.normalize(voice(clip, generated) + told, dim=1)
        return told.any(dim=1) * (1 - (voice(estimate, generated) * wanted).sum(dim=1))


def load_hearing(path: Path, statistics: LatentStatistics) -> Hearing:
    """Trained networks, on the CPU.

    Args:
        path: what a run of kind `hearing` wrote.
        statistics: of the audio latents of the model that is to be trained.

    Raises:
        TrainingError: no such file, or one for latents of another codec.
    """
    config, tensors = load_part(path, PART, HearingConfig)
    hearing = Hearing(config)
    hearing.load_state_dict(tensors)
    wanted = torch.stack((statistics.mean.flatten(), statistics.std.flatten())).float()
    own = torch.stack((hearing.mean, hearing.std))
    if own.shape != wanted.shape or not torch.allclose(own, wanted, STATISTICS_TOLERANCE, STATISTICS_TOLERANCE):
        raise TrainingError(
            f"{path} was trained on other latents than the model has: train it with `model` set to the model that this "
            "run starts from."
        )
    return hearing
