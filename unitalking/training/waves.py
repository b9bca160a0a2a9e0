"""Batches of speech waveforms for the audio codec. B clips of this process, S samples, C latent channels, L latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from .draws import generator, uniform
from .settings import require


class Speech(Protocol):
    """What is said in one clip: mono samples (S,) in [-1, 1]."""

    samples: Tensor


class SpeechClips(Protocol):
    """Clips of speech by number, each the same whenever it is asked for."""

    def __len__(self) -> int: ...

    def speech(self, index: int) -> Speech: ...


@dataclass(frozen=True)
class Kept:
    """Speech kept in memory: mono samples (S,), int16."""

    whole: Tensor

    @property
    def samples(self) -> Tensor:
        """In [-1, 1]."""
        return self.whole.float() / 32768


class KeptSpeech:
    """Clips that are made once, when first asked for; 80 kB each for 2.5 s at 16 kHz.

    Args:
        clips: whose samples are whole numbers of 1/32768, as the synthetic ones are.
    """

    def __init__(self, clips: SpeechClips) -> None:
        self.clips = clips
        self._kept: dict[int, Kept] = {}

    def __len__(self) -> int:
        return len(self.clips)

    def speech(self, index: int) -> Kept:
        """Clip `index`."""
        if index not in self._kept:
            samples = self.clips.speech(index).samples
            self._kept[index] = Kept((samples * 32768).round().clamp(-32768, 32767).to(torch.int16))
        return self._kept[index]


@dataclass(frozen=True)
class WaveSettings:
    """Which stretches of the clips are trained on.

    Attributes:
        samples: lengths that batches take in turn, in samples; each a whole number of latents.
        quietest_db, loudest_db: the level of each clip is changed by a number of decibels drawn from this range.
        silence_share: share of the samples that are silence, so that silence stays silent.
    """

    samples: tuple[int, ...] = (16384, 32768, 49152)
    quietest_db: float = -9.0
    loudest_db: float = 3.0
    silence_share: float = 0.02

    def __post_init__(self) -> None:
        require(bool(self.samples) and min(self.samples) > 0, "waves.samples", self.samples, "lengths above 0 samples")
        levels = (self.quietest_db, self.loudest_db)
        require(levels[0] <= levels[1], "waves.quietest_db, waves.loudest_db", levels, "a range of decibels")
        require(0 <= self.silence_share <= 1, "waves.silence_share", self.silence_share, "a share of the samples, 0-1")


class WaveBatch(NamedTuple):
    """Waveforms, and the noise of their latents.

    Attributes:
        keys: which clips these are.
        waveform: (B, S), in [-1, 1].
        noise: standard normal, (B, C, L), L = S / samples per latent.
    """

    keys: tuple[str, ...]
    waveform: Tensor
    noise: Tensor


class WaveBatches:
    """Stretches of random clips at random levels, a function of seed, batch number and place in the whole batch.

    Args:
        clips: the speech.
        settings: of the stretches.
        size: samples of a micro-batch over all processes.
        seed: of the run.
        latent_channels: C.
        samples_per_latent: of the codec.

    Raises:
        ValueError: a length that is not a whole number of latents.
    """

    def __init__(
        self,
        clips: SpeechClips,
        settings: WaveSettings,
        size: int,
        seed: int,
        latent_channels: int,
        samples_per_latent: int,
    ) -> None:
        whole = all(length % samples_per_latent == 0 for length in settings.samples)
        require(whole, "waves.samples", settings.samples, f"multiples of {samples_per_latent} samples (one latent)")
        self.clips, self.settings, self.size, self.seed = clips, settings, size, seed
        self.latent_channels, self.samples_per_latent = latent_channels, samples_per_latent

    def batch(self, index: int, rank: int, ranks: int) -> WaveBatch:
        """The share of process `rank` of `ranks` in micro-batch `index`."""
        length = self.settings.samples[index % len(self.settings.samples)]
        share = self.size // ranks
        drawn = [self._draw(index, sample, length) for sample in range(rank * share, (rank + 1) * share)]
        keys, waves, noise = zip(*drawn, strict=True)
        return WaveBatch(keys, torch.stack(waves), torch.stack(noise))

    def _draw(self, index: int, sample: int, length: int) -> tuple[str, Tensor, Tensor]:
        random = generator(self.seed, index, sample)
        clip = int(uniform(random) * len(self.clips))
        place, level, kind = uniform(random), uniform(random), uniform(random)
        settings = self.settings
        if kind < settings.silence_share:
            wave = torch.zeros(length)
        else:
            decibels = settings.quietest_db + level * (settings.loudest_db - settings.quietest_db)
            wave = stretch(self.clips.speech(clip).samples, length, place) * 10 ** (decibels / 20)
        shape = (self.latent_channels, length // self.samples_per_latent)
        return str(clip), wave.clamp(-1, 1), torch.randn(shape, generator=random)


def stretch(samples: Tensor, length: int, place: float) -> Tensor:
    """`length` samples of a clip: at `place` in [0, 1) of what can be chosen; a shorter clip is followed by silence."""
    missing = length - samples.shape[0]
    if missing >= 0:
        return torch.nn.functional.pad(samples, (0, missing))
    start = int(place * (1 - missing))
    return samples[start : start + length]


def first_waves(clips: SpeechClips, length: int) -> Tensor:
    """The first `length` samples of every clip, (N, length)."""
    return torch.stack([stretch(clips.speech(index).samples, length, 0.0) for index in range(len(clips))])
