"""Training of the audio VAE: the mel frames of speech through a few latents and back. Ours, the paper takes MMAudio's.

B clips, S samples, M mels, C latent channels, F frames, L latents (F = 2 L).

The codec's modules hold baked weights: filters that were normalised once. Here every convolution keeps raw weights and
normalises them in each forward, as MMAudio does; `export` bakes them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..codec.audio_vae import TIME_FACTOR, AudioVAE, normalise_weights
from ..codec.magnitude import UnitConv1d
from ..codec.mel import MEL_16K, MelConfig, MelSpectrogram
from ..synthetic import SyntheticClips, SyntheticConfig
from .codec_samples import save_spectrograms
from .matrices import FilterMatrix, is_inner_matrix, plain_tensors
from .objective import Losses, Objective
from .part_files import Measurements, load_part, save_part
from .processes import make_accelerator
from .settings import TrainerSettings, require
from .trainer import Trainer
from .waves import KeptSpeech, WaveBatch, WaveBatches, WaveSettings, first_waves

PART_FILE = "audio_vae.safetensors"
STATISTICS_FLOOR = 1e-3
TRAINED = ("all", "decoder")


@dataclass(frozen=True)
class AudioVAEConfig:
    """The mel front end and the VAE that a run trains.

    Attributes:
        mel: the mel front end.
        latent_channels: C.
        hidden_dim: width of the VAE's first level; the next are 2 and 4 times as wide.
    """

    mel: MelConfig = MEL_16K
    latent_channels: int = 20
    hidden_dim: int = 40


@dataclass(frozen=True)
class AudioVAELoss:
    """Weights of the loss, all on mel frames normalised per band, and on latents.

    Attributes:
        l1: mean absolute error.
        mse: mean squared error.
        harmonics: mean absolute error of the differences between neighbouring bands, which keeps voices from blurring.
        kl: Kullback-Leibler divergence from the standard normal distribution, mean over latents and channels.
        posterior_std: of the noise on latents in training; 0: the encoder's own. A fresh encoder's is near 1 and sinks
            slowly, since its filters have norm 1 and no bias, and until then the noise hides the latents.
    """

    l1: float = 1.0
    mse: float = 1.0
    harmonics: float = 0.0
    kl: float = 3e-4
    posterior_std: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """A run that trains an audio VAE on synthetic speech.

    Attributes:
        folder: where checkpoints, curves, samples and the result go.
        data: the speech; held-out clips of the same kind are what samples are made of.
        trainer: the loop.
        vae: its size.
        loss: its loss.
        waves: the stretches of speech.
        start: file of an audio VAE, or a model that carries one, to start from; empty: random weights.
        trained: "all", or "decoder": latents stay what they are, and so do data sets made of them.
        statistics_clips: how many clips mean and standard deviation of the mel bands are measured on.
        sample_clips: how many held-out clips are measured and shown.
    """

    folder: str
    data: SyntheticConfig
    trainer: TrainerSettings
    vae: AudioVAEConfig = field(default_factory=AudioVAEConfig)
    loss: AudioVAELoss = field(default_factory=AudioVAELoss)
    waves: WaveSettings = field(default_factory=WaveSettings)
    start: str = ""
    trained: str = "all"
    statistics_clips: int = 256
    sample_clips: int = 32

    def __post_init__(self) -> None:
        require(self.trained in TRAINED, "trained", self.trained, " or ".join(TRAINED))
        for name in ("statistics_clips", "sample_clips"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")


class UnitFilters(FilterMatrix):
    """Filters kept as a matrix with rows of any size, and used with norm 1."""

    def forward(self, matrix: Tensor) -> Tensor:
        """(C_out, taps x C_in) -> (C_out, C_in, taps)."""
        return super().forward(normalise_weights({"filters.weight": matrix[:, :, None]})["filters.weight"][..., 0])


@torch.no_grad()
def start_frame_by_frame(vae: AudioVAE) -> None:
    """Fresh filters that each look at one frame, the centre, in directions as different as there can be.

    Random taps blur a frame over twenty convolutions, and training has to take that back: the recipe of the pack's own
    model is after 3,000 steps from here where it was after 5,000 from random filters.

    Source: Xiao et al. (2018), delta-orthogonal initialisation; ours for filters of norm 1.
    """
    for module in vae.modules():
        if isinstance(module, UnitConv1d):
            outputs, inputs, taps = module.weight.shape
            centre = nn.init.orthogonal_(torch.empty(outputs, inputs))
            module.weight.zero_()
            module.weight[:, :, taps // 2] = centre / centre.norm(dim=1, keepdim=True)


class AudioVAEObjective(Objective):
    """L1 + MSE of the reconstructed mel frames + KL of the latents.

    Args:
        config: of mel front end and VAE.
        loss: its weights.
        start: tensors to start from, under the codec's names.
    """

    def __init__(self, config: AudioVAEConfig, loss: AudioVAELoss, start: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        self.config, self.loss = config, loss
        self.mel = MelSpectrogram(config.mel)
        self.vae = AudioVAE(config.mel.n_mels, config.latent_channels, config.hidden_dim)
        if start is None:
            start_frame_by_frame(self.vae)
        else:
            self.vae.load_state_dict(start)
        for module in list(self.vae.modules()):
            if isinstance(module, UnitConv1d):
                parametrize.register_parametrization(module, "weight", UnitFilters(module.weight.shape))

    def is_matrix(self, name: str, parameter: nn.Parameter) -> bool:
        """All filters but those of the first and last convolutions."""
        return is_inner_matrix(name, parameter)

    def forward(self, batch: WaveBatch, party: str = "model") -> Losses:
        """Losses of clips, each (B,)."""
        vae, weights = self.vae, self.loss
        with torch.no_grad(), torch.autocast(batch.waveform.device.type, enabled=False):
            mel = self.mel(batch.waveform)  # (B, M, F)
        mean, logvar = vae.encode(mel)
        mean, logvar = mean.float(), logvar.float()
        if weights.posterior_std:
            logvar = torch.full_like(logvar, 2 * math.log(weights.posterior_std))
        decoded = vae.decode(mean + (0.5 * logvar).exp() * batch.noise).float()
        error = (decoded - mel) / vae.data_std
        parts = {
            "mel_l1": error.abs().mean((1, 2)),
            "mel_mse": error.square().mean((1, 2)),
            "harmonics": error.diff(dim=1).abs().mean((1, 2)),
            "kl": 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean((1, 2)),
        }
        shares = {"mel_l1": weights.l1, "mel_mse": weights.mse, "harmonics": weights.harmonics, "kl": weights.kl}
        return Losses(sum(share * parts[name] for name, share in shares.items()), parts)

    @torch.no_grad()
    def measure_statistics(self, waves: Iterator[Tensor]) -> None:
        """Sets the mean and standard deviation of every mel band from waveforms (S,)."""
        frames = torch.cat([self.mel(wave[None])[0] for wave in waves], dim=1).double()  # (M, frames)
        self.vae.data_mean.copy_(frames.mean(1)[None, :, None])
        self.vae.data_std.copy_(frames.std(1).clamp_min(STATISTICS_FLOOR)[None, :, None])

    def export(self) -> dict[str, Tensor]:
        """The VAE's tensors with baked filters, under the codec's names; fp32 on the CPU."""
        return plain_tensors(self.vae)


def run(recipe: Recipe) -> Path:
    """Trains; the VAE's file is in the run's folder, and is renewed with every sample.

    Raises:
        TrainingError: NaN, a full disk, a folder that holds another run.
    """
    build(recipe).run()
    return Path(recipe.folder) / PART_FILE


def build(recipe: Recipe) -> Trainer:
    """Everything of a run, ready to start."""
    set_seed(recipe.trainer.seed)
    accelerator = make_accelerator(recipe.trainer)
    clips = KeptSpeech(SyntheticClips(recipe.data))
    start = load_part(Path(recipe.start), "audio_vae", AudioVAEConfig)[1] if recipe.start else None
    objective = AudioVAEObjective(recipe.vae, recipe.loss, start)
    objective.vae.encoder.requires_grad_(recipe.trained == "all")
    if start is None:
        count = min(recipe.statistics_clips, len(clips))
        objective.measure_statistics(clips.speech(index).samples for index in range(count))
    batches = WaveBatches(
        clips,
        recipe.waves,
        recipe.trainer.samples_per_batch(accelerator.num_processes),
        recipe.trainer.seed,
        recipe.vae.latent_channels,
        TIME_FACTOR * recipe.vae.mel.hop,
    )
    return Trainer(recipe.trainer, objective, batches, Path(recipe.folder), Samples(recipe), accelerator)


class Samples:
    """Held-out clips through the VAE: mel error, spectrograms, and the weights so far."""

    def __init__(self, recipe: Recipe) -> None:
        self.folder = Path(recipe.folder)
        held_out = SyntheticClips(replace(recipe.data, split="held_out", clips=recipe.sample_clips))
        self.waves = first_waves(held_out, max(recipe.waves.samples))
        self.measurements = Measurements(self.folder / "measurements.jsonl")

    def __call__(self, step: int, trainer: Trainer) -> None:
        """Measures, shows and saves the averaged weights."""
        objective = trainer.inner
        mel = objective.mel(self.waves.to(trainer.accelerator.device))
        mean, _ = objective.vae.encode(mel)
        decoded = objective.vae.decode(mean)
        error, deviation = (decoded - mel).abs().mean(), mean.std(dim=(0, 2))
        self.measurements.add(trainer, mel_l1=float(error), latent_std=float(deviation.mean()))
        save_spectrograms(self.folder / "samples" / f"{step:07d}.png", mel, decoded)
        save_part(self.folder / PART_FILE, "audio_vae", objective.config, objective.export(), step)
