"""Pretraining of the byte-level text encoder: to tell how a text is pronounced, and when.

B texts, N bytes, D width, S phonemes. A small network that hears speech alone learns slowly which sounds letters stand
for; text and espeak's phonemes teach it in minutes, made-up words too. Ours, the paper's text encoder is UMT5-xxl.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from torchaudio.functional import edit_distance

from ..codec.text_encoder import PAD_ID, ByteTextEncoder, TextEncoderConfig, expected_times, tokenize
from ..prompt import compose_prompt
from ..synthetic.draws import draw
from ..synthetic.phonemes import PHONEMES, phoneme_numbers
from ..synthetic.sentences import sentence
from ..synthetic.speech import pronounced
from ..synthetic.voices import voices
from .draws import generator, uniform
from .objective import Losses, Objective
from .part_files import Measurements, save_part
from .processes import make_accelerator
from .settings import TrainerSettings, require
from .trainer import Trainer

PART_FILE = "text_encoder.safetensors"
# A letter can stand for two phonemes ("x", "u"); blanks are between them.
FRAMES_PER_BYTE = 3
WORDS = (1, 8)
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
        time_weight: of the loss on expected times, which the network needs beside the phonemes.
        sample_sentences: how many of every held-out kind are measured.
    """

    folder: str
    trainer: TrainerSettings
    text_encoder: TextEncoderConfig
    vocabularies: Mapping[str, float] = field(default_factory=lambda: {"open": 0.6, "made_up": 0.4})
    sentences: int = 40_000
    time_weight: float = 1.0
    sample_sentences: int = 100

    def __post_init__(self) -> None:
        require(sum(self.vocabularies.values()) > 0, "vocabularies", dict(self.vocabularies), "shares above 0")
        for name in ("sentences", "sample_sentences"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")


class Pronounced(NamedTuple):
    """A prompt and the numbers of its phonemes."""

    prompt: str
    phonemes: tuple[int, ...]


class PhonemeBatch(NamedTuple):
    """Prompts and their phonemes.

    Attributes:
        keys: the prompts.
        ids: (B, N), `PAD_ID` where a prompt is shorter.
        times: (B, N) seconds.
        phonemes: numbers of all prompts one after the other, (sum of counts,).
        counts: phonemes of each, (B,).
    """

    keys: tuple[str, ...]
    ids: Tensor
    times: Tensor
    phonemes: Tensor
    counts: Tensor


class Sentences:
    """Sentences by number, each made when it is first asked for."""

    def __init__(self, vocabularies: Mapping[str, float], split: str, seed: int) -> None:
        self.kinds, self.shares = zip(*vocabularies.items(), strict=True)
        self.split, self.seed = split, seed
        self.voice = voices("train")["man"][0]
        self._kept: dict[int, Pronounced] = {}

    def __call__(self, number: int) -> Pronounced:
        """Sentence `number`."""
        if number not in self._kept:
            random = draw("sentence", self.seed, self.split, number)
            (kind,) = random.choices(self.kinds, self.shares)
            text = sentence(random, kind, self.split, random.randint(*WORDS))
            self._kept[number] = Pronounced(compose_prompt(text), tuple(phoneme_numbers(pronounced(text, self.voice))))
        return self._kept[number]


class SentenceBatches:
    """Random sentences, a function of seed, batch number and place in the whole batch."""

    def __init__(self, sentences: Sentences, count: int, size: int, seed: int, max_bytes: int) -> None:
        self.sentences, self.count, self.size, self.seed, self.max_bytes = sentences, count, size, seed, max_bytes

    def batch(self, index: int, rank: int, ranks: int) -> PhonemeBatch:
        """The share of process `rank` of `ranks` in micro-batch `index`."""
        share = self.size // ranks
        places = range(rank * share, (rank + 1) * share)
        numbers = [int(uniform(generator(self.seed, index, place)) * self.count) for place in places]
        return collate([self.sentences(number) for number in numbers], self.max_bytes)


def collate(said: list[Pronounced], max_bytes: int) -> PhonemeBatch:
    """Prompts of any lengths as one batch."""
    ids = [torch.tensor(tokenize(each.prompt, max_bytes)[0]) for each in said]
    times = [torch.tensor(expected_times(each.prompt, max_bytes)) for each in said]
    return PhonemeBatch(
        keys=tuple(each.prompt for each in said),
        ids=pad_sequence(ids, batch_first=True, padding_value=PAD_ID),
        times=pad_sequence(times, batch_first=True),
        phonemes=torch.tensor([number for each in said for number in each.phonemes]),
        counts=torch.tensor([len(each.phonemes) for each in said]),
    )


class TextEncoderObjective(Objective):
    """CTC of the phonemes, and squared error of the expected times, both read off each byte by one linear map."""

    def __init__(self, config: TextEncoderConfig, time_weight: float) -> None:
        super().__init__()
        self.config, self.time_weight = config, time_weight
        self.encoder = ByteTextEncoder(config)
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
        ctc = functional.ctc_loss(
            self.log_probabilities(context).transpose(0, 1),
            batch.phonemes,
            frames,
            batch.counts,
            blank=BLANK,
            reduction="none",
            zero_infinity=True,
        )
        late = (self.time(context).float()[..., 0] - batch.times).square() * is_byte
        parts = {"ctc": ctc / batch.counts, "time": late.sum(1) / is_byte.sum(1)}
        return Losses(parts["ctc"] + self.time_weight * parts["time"], parts)

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
    objective = TextEncoderObjective(recipe.text_encoder, recipe.time_weight)
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
        errors = {
            f"phoneme_error_{kind}": objective.phoneme_error(
                PhonemeBatch(batch.keys, *(value.to(device) for value in batch[1:]))
            )
            for kind, batch in self.held_out.items()
        }
        self.measurements.add(trainer, **errors)
        state = {name: value.float() for name, value in objective.encoder.state_dict().items()}
        save_part(self.folder / PART_FILE, "text_encoder", self.recipe.text_encoder, state, step)
