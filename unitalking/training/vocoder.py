"""Training of the vocoder: BigVGAN, first on spectrograms alone, then as a GAN. Ours, the paper takes BigVGAN's own.

B clips, S samples, M mels, F frames (S = F * hop).

What is trained computes what the codec's vocoder does, but its filters are matrices (`matrices`), and its activations
have a gradient written by hand (`activation`); `export` gives the codec's own tensors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from accelerate.utils import DistributedDataParallelKwargs, set_seed
from torch import Tensor, nn

from ..codec.audio_vae import AudioVAE
from ..codec.mel import MEL_16K, MelConfig, MelSpectrogram
from ..codec.vocoder import Vocoder, VocoderConfig
from ..synthetic import SyntheticClips, SyntheticConfig
from . import audio_vae
from .activation import replace_activations
from .codec_samples import save_spectrograms, save_wave
from .discriminators import (
    DiscriminatorConfig,
    Discriminators,
    adversarial_loss,
    discriminator_loss,
    feature_loss,
)
from .matrices import is_inner_matrix, keep_as_matrices, plain_tensors
from .objective import Losses, Objective
from .part_files import Measurements, load_part, save_part
from .processes import make_accelerator
from .settings import TrainerSettings, require
from .spectral import SpectralLoss, SpectralLossConfig
from .trainer import Trainer
from .waves import KeptSpeech, WaveBatch, WaveBatches, WaveSettings, first_waves

PART_FILE = "vocoder.safetensors"
# About -100 dB of full scale in the codec's mel frames.
QUIETEST_MEL = 3e-4
GENERATOR, DISCRIMINATOR = "generator", "discriminator"


@dataclass(frozen=True)
class GanSettings:
    """The adversarial part of the loss.

    Attributes:
        judges: the discriminators.
        adversarial: weight of the judges' scores.
        features: weight of the difference of the judges' features.
    """

    judges: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    adversarial: float = 0.1
    features: float = 2.0


@dataclass(frozen=True)
class VocoderLoss:
    """Weights of the loss without the GAN.

    Attributes:
        codec_mel: of the codec's own mel frames, natural log.
        spectral: of `scales`.
        scales: mel bands and magnitudes of several windows.
    """

    codec_mel: float = 1.0
    spectral: float = 1.0
    scales: SpectralLossConfig = field(default_factory=SpectralLossConfig)


@dataclass(frozen=True)
class Recipe:
    """A run that trains a vocoder on synthetic speech.

    Attributes:
        folder: where checkpoints, curves, samples and the result go.
        data: the speech; held-out clips of the same kind are what samples are made of.
        trainer: the loop.
        vocoder: its size.
        mel: the mel front end.
        waves: the stretches of speech that mel frames are made of.
        context: mel frames at each end of a stretch that are left out, so that none is made of a mirrored edge.
        audio_vae: file of a trained audio VAE, whose decoded frames `decoded_share` of the samples get; empty: none.
        decoded_share: share of the samples.
        start: file of a vocoder, or a model that carries one, to start from; empty: random weights.
        loss: without the GAN.
        gan: the GAN; null: none.
        compiled: compile the activations, if there is a C++ compiler; makes a step several times faster on a CPU.
        sample_clips: how many held-out clips are measured and shown.
    """

    folder: str
    data: SyntheticConfig
    trainer: TrainerSettings
    vocoder: VocoderConfig
    mel: MelConfig = MEL_16K
    waves: WaveSettings = field(default_factory=WaveSettings)
    context: int = 16
    audio_vae: str = ""
    decoded_share: float = 0.0
    start: str = ""
    loss: VocoderLoss = field(default_factory=VocoderLoss)
    gan: GanSettings | None = None
    compiled: bool = False
    sample_clips: int = 16

    def __post_init__(self) -> None:
        require(self.vocoder.hop == self.mel.hop, "vocoder.upsample_rates", self.vocoder.hop, "product mel.hop")
        shortest = min(self.waves.samples) // self.mel.hop
        require(0 <= 2 * self.context < shortest, "context", self.context, f"less than half of {shortest} frames")
        require(0 <= self.decoded_share <= 1, "decoded_share", self.decoded_share, "a share of the samples, 0 to 1")
        require(bool(self.audio_vae) or not self.decoded_share, "audio_vae", "none", "a file, for decoded_share")
        require(self.sample_clips >= 1, "sample_clips", self.sample_clips, "at least 1")


class VocoderObjective(Objective):
    """Spectrograms of the made sound against the real one's, and the judges' opinion.

    Args:
        recipe: sizes and weights.
        vae: makes the decoded frames; frozen.
    """

    def __init__(self, recipe: Recipe, vae: AudioVAE | None = None) -> None:
        super().__init__()
        self.recipe = recipe
        self.mel = MelSpectrogram(recipe.mel)
        self.vocoder = Vocoder(recipe.vocoder)
        self.spectral = SpectralLoss(recipe.loss.scales, recipe.mel.sample_rate)
        self.vae = None if vae is None else vae.eval().requires_grad_(False)
        self.judges = None if recipe.gan is None else Discriminators(recipe.gan.judges)
        self.parties = (GENERATOR,) if recipe.gan is None else (DISCRIMINATOR, GENERATOR)

    def prepare(self) -> None:
        """Filters as matrices and fast activations, once the weights to start from are in place."""
        keep_as_matrices(self.vocoder)
        replace_activations(self.vocoder, self.recipe.compiled)

    def trained(self, party: str) -> Iterator[tuple[str, nn.Parameter]]:
        """The vocoder's parameters, or the judges'."""
        prefix = "vocoder." if party == GENERATOR else "judges."
        return ((name, value) for name, value in self.named_parameters() if name.startswith(prefix))

    def is_matrix(self, name: str, parameter: nn.Parameter) -> bool:
        """All filters of the vocoder but those of the first and last convolutions."""
        return name.startswith("vocoder.") and is_inner_matrix(name, parameter)

    def train(self, mode: bool = True) -> VocoderObjective:
        """The audio VAE stays as it is."""
        super().train(mode)
        if self.vae is not None:
            self.vae.eval()
        return self

    def forward(self, batch: WaveBatch, party: str = GENERATOR) -> Losses:
        """Losses of clips, each (B,)."""
        mel, real = self.frames_and_samples(batch.waveform)
        if party == DISCRIMINATOR:
            with torch.no_grad():
                made = self.vocoder(mel).float()
            loss = discriminator_loss(self.judges(real), self.judges(made))
            return Losses(loss, {"judges": loss})
        made = self.vocoder(mel).float()
        total, parts = self._spectral(made, real)
        if self.judges is not None:
            total, parts = self._adversarial(made, real, total, parts)
        return Losses(total, parts)

    @torch.no_grad()
    def frames_and_samples(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Waveforms (B, S) to mel frames (B, M, F) and the samples (B, F * hop) that belong to them.

        The first `decoded_share` of the clips have frames that went through the audio VAE.
        """
        with torch.autocast(waveform.device.type, enabled=False):
            mel = self.mel(waveform)
        decoded = round(self.recipe.decoded_share * mel.shape[0])
        if self.vae is not None and decoded:
            mean, _ = self.vae.encode(mel[:decoded])
            mel = torch.cat((self.vae.decode(mean).float(), mel[decoded:]))
        edge, hop = self.recipe.context, self.recipe.mel.hop
        frames = mel.shape[2]
        return mel[:, :, edge : frames - edge], waveform[:, edge * hop : (frames - edge) * hop]

    def _spectral(self, made: Tensor, real: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        weights = self.recipe.loss
        scales = self.spectral(made, real)
        with torch.autocast(made.device.type, enabled=False):
            got, wanted = (self.audible(self.mel(each)) for each in (made, real))
            codec_mel = (got - wanted).abs().mean((1, 2))
        total = weights.codec_mel * codec_mel + weights.spectral * self.spectral.total(scales)
        return total, {"codec_mel": codec_mel, **scales}

    def audible(self, mel: Tensor) -> Tensor:
        """The codec's log-mel frames as natural logarithms, without what is too quiet to be heard."""
        natural = math.log(10.0) * mel if self.recipe.mel.log == "log10" else mel
        return natural.clamp_min(math.log(QUIETEST_MEL))

    def _adversarial(
        self, made: Tensor, real: Tensor, total: Tensor, parts: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        self.judges.requires_grad_(False)  # only what they pass on is needed
        wanted, got = self.judges(real), self.judges(made)
        self.judges.requires_grad_(True)
        adversarial, features = adversarial_loss(got), feature_loss(wanted, got)
        gan = self.recipe.gan
        total = total + gan.adversarial * adversarial + gan.features * features
        return total, {**parts, "adversarial": adversarial, "features": features}

    def export(self) -> dict[str, Tensor]:
        """The vocoder's tensors under the codec's names; fp32 on the CPU."""
        return plain_tensors(self.vocoder)


def run(recipe: Recipe) -> Path:
    """Trains; the vocoder's file is in the run's folder, and is renewed with every sample.

    Raises:
        TrainingError: a file that cannot be used, NaN, a full disk, a folder that holds another run.
    """
    build(recipe).run()
    return Path(recipe.folder) / PART_FILE


def build(recipe: Recipe) -> Trainer:
    """Everything of a run, ready to start.

    Raises:
        TrainingError: a file that cannot be used.
    """
    set_seed(recipe.trainer.seed)
    handlers = [DistributedDataParallelKwargs(find_unused_parameters=True)] if recipe.gan else []
    accelerator = make_accelerator(recipe.trainer, handlers)
    objective = VocoderObjective(recipe, load_audio_vae(recipe.audio_vae) if recipe.audio_vae else None)
    if recipe.start:
        _, tensors = load_part(Path(recipe.start), "vocoder", VocoderConfig)
        objective.vocoder.load_state_dict(tensors)
    objective.prepare()
    size = recipe.trainer.samples_per_batch(accelerator.num_processes)
    clips = KeptSpeech(SyntheticClips(recipe.data))
    batches = WaveBatches(clips, recipe.waves, size, recipe.trainer.seed, 1, recipe.mel.hop)
    return Trainer(recipe.trainer, objective, batches, Path(recipe.folder), Samples(recipe), accelerator)


def load_audio_vae(path: str) -> AudioVAE:
    """An audio VAE as `training.audio_vae` leaves it.

    Raises:
        TrainingError: no such file, or another part.
    """
    config, tensors = load_part(Path(path), "audio_vae", audio_vae.AudioVAEConfig)
    vae = AudioVAE(config.mel.n_mels, config.latent_channels, config.hidden_dim)
    vae.load_state_dict(tensors)
    return vae


class Samples:
    """Held-out clips vocoded from their own frames and from decoded ones: mel error, sound, and the weights so far."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.folder = recipe, Path(recipe.folder)
        held_out = SyntheticClips(replace(recipe.data, split="held_out", clips=recipe.sample_clips))
        self.waves = first_waves(held_out, 2 * recipe.mel.sample_rate // recipe.mel.hop * recipe.mel.hop)
        self.measurements = Measurements(self.folder / "measurements.jsonl")

    def __call__(self, step: int, trainer: Trainer) -> None:
        """Measures, shows and saves the averaged weights."""
        objective: VocoderObjective = trainer.inner
        real = objective.mel(self.waves.to(trainer.accelerator.device))
        made = objective.vocoder(real)
        heard = objective.mel(made)
        numbers = {
            "mel_l1": float((heard - real).abs().mean()),
            "audible_mel_l1": float((objective.audible(heard) - objective.audible(real)).abs().mean()),
        }
        rate = self.recipe.mel.sample_rate
        if objective.vae is not None:
            decoded = objective.vae.decode(objective.vae.encode(real)[0])
            from_decoded = objective.vocoder(decoded)
            numbers["mel_l1_decoded"] = float((objective.mel(from_decoded) - decoded).abs().mean())
            save_wave(self.folder / "samples" / f"{step:07d}_decoded.wav", from_decoded, rate)
        self.measurements.add(trainer, **numbers)
        save_spectrograms(self.folder / "samples" / f"{step:07d}.png", real, heard)
        save_wave(self.folder / "samples" / f"{step:07d}.wav", made, rate)
        save_part(self.folder / PART_FILE, "vocoder", self.recipe.vocoder, objective.export(), step)
