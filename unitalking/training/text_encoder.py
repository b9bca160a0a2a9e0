"""Pretraining of the byte-level text encoder: to tell how a text is pronounced, and when.

B texts, N bytes, D width, S phonemes. A small network that hears speech alone learns slowly which sounds letters stand
for; text and espeak's phonemes teach it in minutes, made-up words too. Ours, the paper's text encoder is UMT5-xxl.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import send_to_device, set_seed
from torch import Tensor, nn
from torch.nn import functional
from torchaudio.functional import edit_distance, forced_align

from ..codec.text_encoder import END_ID, PAD_ID, ByteTextEncoder, TextEncoderConfig
from ..synthetic.phonemes import PHONEMES
from .captions import CaptionReader
from .objective import Losses, Objective
from .part_files import Measurements, load_part, save_part
from .processes import make_accelerator
from .pronounced import PhonemeBatch, SentenceBatches, Sentences, collate
from .settings import TrainerSettings, require
from .trainer import Trainer

PART_FILE = "text_encoder.safetensors"
# A letter can stand for two phonemes ("x", "u"); blanks are between them.
FRAMES_PER_BYTE = 3
BLANK = 0


@dataclass(frozen=True)
class Recipe:
    """A run that trains a text encoder.

    Attributes:
        folder: where checkpoints, curves and the result go.
        trainer: the loop.
        text_encoder: its size.
        vocabularies: share of the sentences of each vocabulary of the synthetic data.
        sentences: how many there are.
        time_weight: of the squared error of the times that are read off the context, which the network needs beside
            the phonemes.
        clock_weight: of the error of the times themselves, in seconds.
        caption_weight: of naming what a caption says, one caption for every sentence.
        start: file of an encoder to go on from; "": a fresh one.
        keep_weight: of the difference from what the encoder of `start` says of spoken bytes, as a share of their
            variance, for a network that reads it already.
        sample_sentences: how many of every held-out kind are measured.
    """

    folder: str
    trainer: TrainerSettings
    text_encoder: TextEncoderConfig
    vocabularies: Mapping[str, float] = field(default_factory=lambda: {"open": 0.6, "made_up": 0.4})
    sentences: int = 40_000
    time_weight: float = 1.0
    clock_weight: float = 10.0
    caption_weight: float = 1.0
    start: str = ""
    keep_weight: float = 0.0
    sample_sentences: int = 100

    def __post_init__(self) -> None:
        require(sum(self.vocabularies.values()) > 0, "vocabularies", dict(self.vocabularies), "shares above 0")
        for name in ("sentences", "sample_sentences"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(bool(self.start) or not self.keep_weight, "keep_weight", self.keep_weight, "0 without a start")

    @property
    def weights(self) -> dict[str, float]:
        """Of the objective's losses, by their names."""
        return {name: getattr(self, f"{name}_weight") for name in ("time", "clock", "caption", "keep")}


class TextEncoderObjective(Objective):
    """CTC of the phonemes and squared error of the times, both read off each byte by one linear map; the error of the
    times themselves, where a byte is spoken when the phoneme is that CTC finds in it; and the naming of what captions
    say. With weights of "keep" also the difference from what the encoder, as it is now, says of spoken bytes."""

    def __init__(self, encoder: ByteTextEncoder, weights: Mapping[str, float]) -> None:
        super().__init__()
        config = encoder.config
        self.encoder, self.weights = encoder, weights
        self.kept = copy.deepcopy(encoder).requires_grad_(False) if weights.get("keep") else None
        self.captions = CaptionReader(config.dim)
        self.phonemes = nn.Linear(config.dim, FRAMES_PER_BYTE * (len(PHONEMES) + 1))
        self.time = nn.Linear(config.dim, 1)

    def is_matrix(self, name: str, parameter: nn.Parameter) -> bool:
        """Matrices of the encoder's layers."""
        return parameter.ndim == 2 and ".layers." in name

    def log_probabilities(self, context: Tensor) -> Tensor:
        """(B, N, D) -> (B, FRAMES_PER_BYTE N, S + 1), number 0 the blank."""
        return self.phonemes(context).float().unflatten(2, (FRAMES_PER_BYTE, -1)).flatten(1, 2).log_softmax(2)

    def forward(self, batch: PhonemeBatch, party: str = "model") -> Losses:
        """Losses of prompts, each (B,)."""
        context = self.encoder(batch.ids, batch.times)
        is_byte = batch.ids != PAD_ID
        frames = FRAMES_PER_BYTE * is_byte.sum(1)
        log_probabilities = self.log_probabilities(context)
        ctc = functional.ctc_loss(
            log_probabilities.transpose(0, 1),
            batch.phonemes,
            frames,
            batch.counts,
            blank=BLANK,
            reduction="none",
            zero_infinity=True,
        )
        clock = self.encoder.clock(batch.ids, batch.times)
        late = (self.time(context).float()[..., 0] - clock.detach()).square() * is_byte
        wrong = (clock - byte_times(batch, log_probabilities.detach())).abs() * (batch.times > 0)
        captions = batch.captions
        parts = {
            "ctc": ctc / batch.counts,
            "time": late.sum(1) / is_byte.sum(1),
            "clock": wrong.sum(1) / (batch.times > 0).sum(1),
            "caption": self.captions.loss(self.encoder(captions.ids, captions.times), captions),
        }
        if self.kept is not None:
            parts["keep"] = self._moved(context, batch)
        return Losses(sum(self.weights.get(name, 1.0) * part for name, part in parts.items()), parts)

    def _moved(self, context: Tensor, batch: PhonemeBatch) -> Tensor:
        """How far the context of spoken bytes is from what it was, as a share of its variance, (B,)."""
        with torch.no_grad():
            before = self.kept(batch.ids, batch.times)
        spoken = (batch.times > 0) & (batch.ids != END_ID)
        moved = (context - before).float().square().mean(2) * spoken
        return moved.sum(1) / spoken.sum(1) / before[spoken].float().var()

    @torch.no_grad()
    def caption_error(self, batch: PhonemeBatch) -> float:
        """Share of what the captions say that is named wrong."""
        captions = batch.captions
        return 1 - self.captions.right(self.encoder(captions.ids, captions.times), captions)

    @torch.no_grad()
    def phoneme_error(self, batch: PhonemeBatch) -> float:
        """Errors of the most likely phonemes of every frame, over the phonemes there are."""
        best = self.log_probabilities(self.encoder(batch.ids, batch.times)).argmax(2)
        lengths = FRAMES_PER_BYTE * (batch.ids != PAD_ID).sum(1)
        errors = 0
        for heard, length, said in zip(best, lengths, batch.phonemes.split(batch.counts.tolist()), strict=True):
            merged = heard[:length].unique_consecutive()
            errors += edit_distance(merged[merged != BLANK].tolist(), said.tolist())
        return errors / len(batch.phonemes)

    @torch.no_grad()
    def clock_error(self, batch: PhonemeBatch) -> float:
        """Mean error of the times of spoken bytes, seconds."""
        context = self.encoder(batch.ids, batch.times)
        wrong = self.encoder.clock(batch.ids, batch.times) - byte_times(batch, self.log_probabilities(context))
        return float(wrong[batch.times > 0].abs().mean())


def byte_times(batch: PhonemeBatch, log_probabilities: Tensor) -> Tensor:
    """When each byte is spoken, (B, N) seconds: phonemes are laid on the bytes by CTC's best path, bytes between them
    are in between, the end token is at the end; what is not spoken is at 0."""
    found = torch.zeros(batch.ids.shape)
    sizes = batch.counts.tolist()
    rows = zip(batch.ids.cpu(), batch.phonemes.cpu().split(sizes), batch.middles.cpu().split(sizes), strict=True)
    for row, (ids, phonemes, middles) in enumerate(rows):
        length = int((ids != PAD_ID).sum())
        path = forced_align(log_probabilities[row : row + 1, : FRAMES_PER_BYTE * length].cpu(), phonemes[None].int())
        labels, counts = path[0][0].unique_consecutive(return_counts=True)
        centres = (counts.cumsum(0) - counts / 2 - 0.5)[labels != BLANK]
        at_bytes = (centres.numpy() + 0.5) / FRAMES_PER_BYTE - 0.5
        found[row, :length] = torch.from_numpy(np.interp(np.arange(length), at_bytes, middles.numpy())).float()
    found = found.to(batch.times) * (batch.times > 0)
    return torch.where(batch.ids == END_ID, batch.ends[:, None], found)


def run(recipe: Recipe) -> Path:
    """Trains; the encoder's file is in the run's folder, and is renewed with every sample.

    Raises:
        TrainingError: NaN, a full disk, a folder that holds another run.
    """
    build(recipe).run()
    return Path(recipe.folder) / PART_FILE


def build(recipe: Recipe) -> Trainer:
    """Everything of a run, ready to start."""
    set_seed(recipe.trainer.seed)
    accelerator = make_accelerator(recipe.trainer)
    encoder = ByteTextEncoder(recipe.text_encoder)
    if recipe.start:
        encoder.load_state_dict(load_part(Path(recipe.start), "text_encoder", TextEncoderConfig)[1])
    objective = TextEncoderObjective(encoder, recipe.weights)
    batches = SentenceBatches(
        Sentences(recipe.vocabularies, "train", recipe.trainer.seed),
        recipe.sentences,
        recipe.trainer.samples_per_batch(accelerator.num_processes),
        recipe.trainer.seed,
        recipe.text_encoder.max_bytes,
    )
    return Trainer(recipe.trainer, objective, batches, Path(recipe.folder), Samples(recipe), accelerator)


class Samples:
    """Phoneme errors of held-out sentences, of words that training says and that it never says, and the weights."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.folder = recipe, Path(recipe.folder)
        self.held_out = {
            kind: collate(
                [Sentences({kind: 1.0}, "held_out", 0)(number) for number in range(recipe.sample_sentences)],
                recipe.text_encoder.max_bytes,
            )
            for kind in ("open", "unseen")
        }
        self.measurements = Measurements(self.folder / "measurements.jsonl")

    def __call__(self, step: int, trainer: Trainer) -> None:
        """Measures and saves the averaged weights."""
        objective: TextEncoderObjective = trainer.inner
        device = trainer.accelerator.device
        errors = {}
        for kind, batch in self.held_out.items():
            here = send_to_device(batch, device)
            errors[f"phoneme_error_{kind}"] = objective.phoneme_error(here)
            errors[f"clock_error_{kind}"] = objective.clock_error(here)
        errors["caption_error"] = objective.caption_error(here)
        self.measurements.add(trainer, **errors)
        state = {name: value.float() for name, value in objective.encoder.state_dict().items()}
        save_part(self.folder / PART_FILE, "text_encoder", self.recipe.text_encoder, state, step)
