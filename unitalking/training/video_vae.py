"""Training of the small video VAE of a bundle. Ours, the paper's video VAE is Wan2.2's.

B clips, C latent channels, F frames, L latent frames, H W pixels, h w latent cells.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from accelerate.utils import set_seed
from torch import Tensor, nn

from ..codec.video_vae import VideoVAE, VideoVAEConfig
from ..synthetic import SyntheticClips, SyntheticConfig
from .codec_samples import save_contact_sheet
from .frames import FrameBatch, FrameBatches, FrameSettings, KeptPictures, first_frames
from .matrices import is_inner_matrix, keep_as_matrices, plain_tensors
from .objective import Losses, Objective
from .part_files import Measurements, load_part, save_part
from .processes import make_accelerator
from .settings import TrainerSettings, require
from .trainer import Trainer

PART_FILE = "video_vae.safetensors"
SAMPLE_FRAMES = 17
TRAINED = ("all", "decoder")
FIRST_LOGVAR = -6.0
FIRST_BRANCH = 0.1


@dataclass(frozen=True)
class VideoVAELoss:
    """Weights of the loss, on pictures in [-1, 1] and on latents.

    Attributes:
        l1: mean absolute error.
        mse: mean squared error.
        gradient: mean absolute error of the differences between neighbouring pixels, which keeps edges sharp.
        mouth: mean absolute error at the mouth alone.
        kl: Kullback-Leibler divergence from the standard normal distribution, mean over latents and channels.
    """

    l1: float = 1.0
    mse: float = 2.0
    gradient: float = 0.5
    mouth: float = 0.5
    kl: float = 1e-3


@dataclass(frozen=True)
class Recipe:
    """A run that trains a video VAE on synthetic faces.

    Attributes:
        folder: where checkpoints, curves, samples and the result go.
        data: the clips; held-out clips of the same kind are what samples are made of.
        trainer: the loop.
        vae: its size.
        frames: the stretches of the clips.
        loss: its loss.
        start: file of a video VAE, or a model that carries one, to start from; empty: random weights.
        trained: "all", or "decoder": latents stay what they are, and so do data sets made of them.
        sample_clips: how many held-out clips are measured and shown.
    """

    folder: str
    data: SyntheticConfig
    trainer: TrainerSettings
    vae: VideoVAEConfig = field(default_factory=VideoVAEConfig)
    frames: FrameSettings = field(default_factory=FrameSettings)
    loss: VideoVAELoss = field(default_factory=VideoVAELoss)
    start: str = ""
    trained: str = "all"
    sample_clips: int = 12

    def __post_init__(self) -> None:
        require(self.trained in TRAINED, "trained", self.trained, " or ".join(TRAINED))
        require(self.sample_clips >= 1, "sample_clips", self.sample_clips, "at least 1")


class VideoVAEObjective(Objective):
    """Errors of the decoded pictures, with more weight on edges and the mouth, and the KL of the latents.

    Args:
        config: of the VAE.
        loss: its weights.
        start: tensors to start from, under the codec's names.
    """

    def __init__(self, config: VideoVAEConfig, loss: VideoVAELoss, start: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        self.loss = loss
        self.vae = VideoVAE(config)
        if start is None:
            initialise(self.vae)
        else:
            self.vae.load_state_dict(start)
        keep_as_matrices(self.vae)

    def is_matrix(self, name: str, parameter: nn.Parameter) -> bool:
        """All filters but those of the first and last convolutions."""
        return is_inner_matrix(name, parameter)

    def forward(self, batch: FrameBatch, party: str = "model") -> Losses:
        """Losses of clips, each (B,)."""
        frames = pictures(batch.frames)
        mean, logvar = (each.float() for each in self.vae.encode_distribution(frames))
        decoded = self.vae.decode(mean + (0.5 * logvar).exp() * batch.noise).float()
        error = decoded - frames
        at_mouth = (error.abs() * batch.mouth).flatten(1).sum(1) / (
            batch.mouth.flatten(1).sum(1).clamp_min(1) * frames.shape[1] * frames.shape[2]
        )
        parts = {
            "l1": error.abs().flatten(1).mean(1),
            "mse": error.square().flatten(1).mean(1),
            "gradient": _gradient(error, -1) + _gradient(error, -2),
            "mouth": at_mouth,
            "kl": 0.5 * (mean.square() + logvar.exp() - 1 - logvar).flatten(1).mean(1),
        }
        total = sum(getattr(self.loss, name) * value for name, value in parts.items())
        return Losses(total, parts)

    def export(self) -> dict[str, Tensor]:
        """The VAE's tensors under the codec's names; fp32 on the CPU."""
        return plain_tensors(self.vae)


@torch.no_grad()
def initialise(vae: VideoVAE) -> None:
    """Branches that are small at first, changes of size that keep the magnitude, and latents almost without noise.

    After 60 steps this is worth 1.3 dB.
    """
    for name, value in vae.named_parameters():
        if name.endswith(("conv2.weight", "time.conv.weight")):
            value.mul_(FIRST_BRANCH)
        elif name.endswith(".weight") and (".downs." in name or ".ups." in name):
            value.mul_(math.sqrt(3))  # PyTorch's own start has variance 1 / (3 inputs)
    nn.init.constant_(vae.encoder.conv_out.bias[vae.config.latent_channels :], FIRST_LOGVAR)


def pictures(frames: Tensor) -> Tensor:
    """uint8 pictures to [-1, 1]."""
    return frames.float() / 127.5 - 1


def psnr(decoded: Tensor, frames: Tensor, mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio of clips in [-1, 1], in dB, (B,); only where `mask` is 1, if there is one."""
    error = (decoded.clamp(-1, 1) - frames).square()
    if mask is None:
        mse = error.flatten(1).mean(1)
    else:
        mask = mask.expand_as(error)
        mse = (error * mask).flatten(1).sum(1) / mask.flatten(1).sum(1)
    return 10 * torch.log10(4 / mse)


def _gradient(error: Tensor, axis: int) -> Tensor:
    return error.diff(dim=axis).abs().flatten(1).mean(1)


def run(recipe: Recipe) -> Path:
    """Trains; the VAE's file is in the run's folder, and is renewed with every sample.

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
    accelerator = make_accelerator(recipe.trainer)
    start = load_part(Path(recipe.start), "video_vae", VideoVAEConfig)[1] if recipe.start else None
    objective = VideoVAEObjective(recipe.vae, recipe.loss, start)
    objective.vae.encoder.requires_grad_(recipe.trained == "all")
    clips = KeptPictures(SyntheticClips(recipe.data), recipe.frames.kept)
    size = recipe.trainer.samples_per_batch(accelerator.num_processes)
    batches = FrameBatches(clips, recipe.frames, size, recipe.trainer.seed, recipe.vae.latent_channels)
    return Trainer(recipe.trainer, objective, batches, Path(recipe.folder), Samples(recipe), accelerator)


class Samples:
    """Held-out clips through the VAE: PSNR, a contact sheet, and the weights so far."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.folder = recipe, Path(recipe.folder)
        held_out = SyntheticClips(replace(recipe.data, split="held_out", clips=recipe.sample_clips))
        self.frames, self.mouths = first_frames(held_out, SAMPLE_FRAMES)
        self.measurements = Measurements(self.folder / "measurements.jsonl")

    def __call__(self, step: int, trainer: Trainer) -> None:
        """Measures, shows and saves the averaged weights."""
        vae = trainer.inner.vae
        device = trainer.accelerator.device
        frames, mouths = pictures(self.frames.to(device)), self.mouths.to(device)
        decoded = torch.cat([vae.decode(vae.encode(clip[None])) for clip in frames])
        numbers = {"psnr": psnr(decoded, frames), "psnr_mouth": psnr(decoded, frames, mouths)}
        self.measurements.add(trainer, **{name: float(value.mean()) for name, value in numbers.items()})
        shown = slice(None, None, 4)
        save_contact_sheet(self.folder / "samples" / f"{step:07d}.png", frames[:, :, shown], decoded[:, :, shown])
        save_part(self.folder / PART_FILE, "video_vae", self.recipe.vae, trainer.inner.export(), step)
