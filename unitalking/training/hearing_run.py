"""Training of what listens to audio latents: which phoneme is said when, and which clips have one voice.

B clips of this process, C channels, L latents. Ours, see `hearing`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate.utils import send_to_device, set_seed
from torch import Tensor, nn
from torch.nn import functional

from ..synthetic.phonemes import phoneme_number
from ..synthetic.speech import pronounced
from ..synthetic.voices import RATE_WPM, Voice
from .dataset import DataError, check_model, encoder_info
from .draws import DropSettings, ReferenceSettings, SigmaSettings, SpanSettings, TaskMix, TaskShare, generator
from .flow_batches import Draws, FlowBatches
from .hearing import PART, PAUSE, Hearing, HearingConfig
from .objective import Losses, Objective
from .part_files import Measurements, save_part
from .processes import make_accelerator
from .settings import TrainerSettings, TrainingError, require
from .shards import CachedClip, Shards
from .start import ModelSettings, Start, load_start
from .trainer import Trainer

PART_FILE = "hearing.safetensors"
# When a phoneme is said, as a share of the sentence, hardly depends on the voice.
SPEAKER = Voice("m1", "man", 50, 50, RATE_WPM)
UNKNOWN = -100
FIRST_SCALE = 15.0
MOST_SCALE = 100.0


@dataclass(frozen=True)
class Recipe:
    """A run that trains phoneme recogniser and speaker encoder.

    Attributes:
        data: folder of a data set with sound, what is said and, where it is known, when.
        folder: where checkpoints, curves and the result go.
        model: the model file that is to be trained with it, for the statistics of its latents.
        trainer: the loop.
        phoneme_dim, voice_dim, voice_size: sizes (`HearingConfig`).
        noise: largest standard deviation of the noise on the latents: estimates are never as clean as clips.
        references: how the voice's other recordings are cut up.
        held_out: folder of another data set, which is measured; "": the trained one itself.
        sample_batches: how many batches are measured.
    """

    data: str
    folder: str
    model: str
    trainer: TrainerSettings
    phoneme_dim: int = 256
    voice_dim: int = 192
    voice_size: int = 128
    noise: float = 0.6
    references: ReferenceSettings = field(default_factory=ReferenceSettings)
    held_out: str = ""
    sample_batches: int = 4

    def __post_init__(self) -> None:
        require(self.noise >= 0, "noise", self.noise, "at least 0")
        require(self.sample_batches >= 1, "sample_batches", self.sample_batches, "at least 1")


class HearingBatch(NamedTuple):
    """Clips, and others of the same voices.

    Attributes:
        keys: names of the clips.
        clips: normalised and noisy, (B, C, L).
        said: class of the phoneme of each latent, (B, L); UNKNOWN where it is not known.
        others: (B, C, reference tokens).
        has_other: whether there is one, (B,).
        speakers: numbers of the voices, (B,).
    """

    keys: tuple[str, ...]
    clips: Tensor
    said: Tensor
    others: Tensor
    has_other: Tensor
    speakers: Tensor


class HearingBatches:
    """What `FlowBatches` gives of speech with a reference, and what is said in it (`objective.Batches`).

    Args:
        flow: batches of speech alone.
        noise: largest standard deviation of the noise.
    """

    def __init__(self, flow: FlowBatches, noise: float) -> None:
        self.flow, self.noise = flow, noise
        self.positions = {key: position for position, key in enumerate(flow.shards.keys)}
        self.rate = flow.config.sample_rate / flow.config.samples_per_latent

    def batch(self, index: int, rank: int, ranks: int) -> HearingBatch:
        """The share of process `rank` of `ranks` in micro-batch `index`."""
        given = self.flow.batch(index, rank, ranks)
        positions = [self.positions[key] for key in given.keys]
        said = [spoken_phonemes(self.flow.shards.read(position), self.rate) for position in positions]
        first = rank * self.flow.samples // ranks
        randoms = [generator(self.flow.seed + 1, index, first + row) for row in range(len(said))]
        deviation = self.noise * torch.stack([torch.rand(1, 1, generator=random) for random in randoms])
        other_noise = torch.stack([torch.randn(given.reference.shape[1:], generator=random) for random in randoms])
        return HearingBatch(
            keys=given.keys,
            clips=given.audio.data + deviation * given.audio.noise,
            said=torch.stack(said),
            others=given.reference + deviation * other_noise,
            has_other=given.voice_present > 0,
            speakers=torch.from_numpy(self.flow.shards.table.speaker[positions]),
        )


def spoken_phonemes(clip: CachedClip, latents_per_s: float) -> Tensor:
    """The class of each latent of a clip, (L,): PAUSE, or the number of the phoneme that espeak-ng's own times have
    there, stretched to when the speech begins and ends; UNKNOWN without speech or times."""
    length = clip.audio.shape[1]
    if not clip.speech or clip.spoken is None:
        return torch.full((length,), UNKNOWN)
    said = torch.full((length,), PAUSE)
    begin, end = clip.spoken
    phonemes = _timed(clip.speech)
    stretch = (end - begin) / phonemes[-1][2]
    for number, *bounds in phonemes:
        first, after = (round((begin + stretch * bound) * latents_per_s) for bound in bounds)
        said[max(first, 0) : max(after, first + 1)] = number
    return said


@lru_cache(maxsize=100_000)
def _timed(text: str) -> tuple[tuple[int, float, float], ...]:
    found = ((phoneme_number(symbol), begin, end) for symbol, begin, end in pronounced(text, SPEAKER))
    return tuple((number, begin, end) for number, begin, end in found if number is not None)


class HearingObjective(Objective):
    """Cross-entropy of each latent's phoneme, and of which of the batch's other clips has the voice of this one."""

    def __init__(self, hearing: Hearing) -> None:
        super().__init__()
        self.hearing = hearing
        self.log_scale = nn.Parameter(torch.tensor(math.log(FIRST_SCALE)))

    def is_matrix(self, name: str, parameter: nn.Parameter) -> bool:
        """None: filters of three taps are few."""
        return False

    def forward(self, batch: HearingBatch, party: str = "model") -> Losses:
        """Losses of clips, (B,)."""
        scores = self.hearing.phonemes(batch.clips)
        known = (batch.said != UNKNOWN).sum(1).clamp(min=1)
        misheard = functional.cross_entropy(scores, batch.said, ignore_index=UNKNOWN, reduction="none").sum(1) / known
        parts = {"phonemes": misheard, "voice": self._mistaken(batch)}
        return Losses(sum(parts.values()), parts)

    def _mistaken(self, batch: HearingBatch) -> Tensor:
        """Cross-entropy of finding a clip's other recording among the batch's, both ways (Radford et al. 2021)."""
        cosines = self.hearing.voice(batch.clips) @ self.hearing.voice(batch.others).T
        scores = cosines * self.log_scale.exp().clamp(max=MOST_SCALE)
        itself = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
        no_answer = (batch.speakers[:, None] == batch.speakers) & ~itself | ~batch.has_other[None] & ~itself
        scores = scores.masked_fill(no_answer, -1e4)
        right = torch.arange(len(scores), device=scores.device)
        both = [functional.cross_entropy(each, right, reduction="none") for each in (scores, scores.T)]
        return sum(both) / 2 * batch.has_other

    @torch.no_grad()
    def measure(self, batch: HearingBatch) -> dict[str, float]:
        """Share of the latents taken for what they are, share of the voices found again, mean cosine of one voice."""
        heard = self.hearing.phonemes(batch.clips).argmax(1)
        known = batch.said != UNKNOWN
        cosines = self.hearing.voice(batch.clips) @ self.hearing.voice(batch.others).T
        cosines = cosines.masked_fill(~batch.has_other, -1.0)
        found = (batch.speakers[cosines.argmax(1)] == batch.speakers)[batch.has_other]
        return {
            "phonemes_right": float((heard == batch.said)[known].float().mean()),
            "voices_right": float(found.float().mean()),
            "cosine": float(cosines.diag()[batch.has_other].mean()),
        }


def run(recipe: Recipe) -> Path:
    """Trains; the file is in the run's folder, and is renewed with every sample.

    Raises:
        TrainingError: files or settings that cannot be used, NaN, a full disk, a folder that holds another run.
    """
    build(recipe).run()
    return Path(recipe.folder) / PART_FILE


def build(recipe: Recipe) -> Trainer:
    """Everything of a run, ready to start.

    Raises:
        TrainingError: files or settings that cannot be used.
    """
    accelerator = make_accelerator(recipe.trainer)
    set_seed(recipe.trainer.seed)
    samples = recipe.trainer.samples_per_batch(accelerator.num_processes)
    try:
        shards = Shards(recipe.data)
        start = load_start(ModelSettings(start=recipe.model), shards.info)
        trained = _batches(recipe, shards, start, samples)
        measured = _batches(recipe, Shards(recipe.held_out) if recipe.held_out else shards, start, samples)
    except (DataError, ValueError) as error:
        raise TrainingError(str(error)) from error
    config = HearingConfig(start.config.audio_channels, recipe.phoneme_dim, recipe.voice_dim, recipe.voice_size)
    hearing = Hearing(config)
    hearing.mean.copy_(start.statistics[1].mean)
    hearing.std.copy_(start.statistics[1].std)
    on_sample = Samples(recipe, measured)
    return Trainer(recipe.trainer, HearingObjective(hearing), trained, Path(recipe.folder), on_sample, accelerator)


def _batches(recipe: Recipe, shards: Shards, start: Start, samples: int) -> HearingBatches:
    """Batches of a data set, normalised as the model's sound is.

    Raises:
        DataError, ValueError: it belongs to another model, or the model takes no voice.
    """
    require(start.config.reference_tokens > 0, "model", recipe.model, "one that takes a voice reference")
    codec = start.codecs.get("audio_vae")
    made = None if codec is None else encoder_info("audio_vae", start.config, codec)
    check_model(shards.folder, shards.info, start.config, audio=made)
    speech = TaskMix(tts=TaskShare(1.0, 1.0))
    draws = Draws(speech, SigmaSettings(), DropSettings(0, 0, 0), SpanSettings(), recipe.references)
    flow = FlowBatches(shards, start.config, start.statistics, draws, samples, recipe.trainer.seed)
    return HearingBatches(flow, recipe.noise)


class Samples:
    """Measures, and saves the averaged weights."""

    def __init__(self, recipe: Recipe, batches: HearingBatches) -> None:
        self.folder, self.batches, self.count = Path(recipe.folder), batches, recipe.sample_batches
        self.measurements = Measurements(self.folder / "measurements.jsonl")

    def __call__(self, step: int, trainer: Trainer) -> None:
        """At step `step`."""
        device = trainer.accelerator.device
        objective: HearingObjective = trainer.inner
        rows = [objective.measure(send_to_device(self.batches.batch(i, 0, 1), device)) for i in range(self.count)]
        self.measurements.add(trainer, **{name: sum(row[name] for row in rows) / len(rows) for name in rows[0]})
        hearing = objective.hearing
        save_part(self.folder / PART_FILE, PART, hearing.config, hearing.state_dict(), step)
