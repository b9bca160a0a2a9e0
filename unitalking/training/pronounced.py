"""Sentences with espeak's phonemes, a caption beside each, for the text encoder's pretraining. B texts, N bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..codec.text_encoder import PAD_ID, expected_times, tokenize
from ..prompt import compose_prompt
from ..speech_timing import LEAD_S
from ..synthetic.draws import draw
from ..synthetic.phonemes import phoneme_number
from ..synthetic.sentences import sentence
from ..synthetic.speech import pronounced
from ..synthetic.voices import RATE_WPM, voices
from .captions import Caption, CaptionBatch, caption, collate_captions
from .draws import generator, uniform

WORDS = (1, 8)


class Pronounced(NamedTuple):
    """A prompt, the numbers of its phonemes, their middles in seconds, when the speech ends, and a caption besides."""

    prompt: str
    phonemes: tuple[int, ...]
    middles: tuple[float, ...]
    end_s: float
    caption: Caption


class PhonemeBatch(NamedTuple):
    """Prompts and their phonemes.

    Attributes:
        keys: the prompts.
        ids: (B, N), `PAD_ID` where a prompt is shorter.
        times: (B, N) seconds.
        phonemes: numbers of all prompts one after the other, (sum of counts,).
        counts: phonemes of each, (B,).
        middles: of the phonemes, seconds.
        ends: of the speeches, (B,) seconds.
        captions: another prompt for each.
    """

    keys: tuple[str, ...]
    ids: Tensor
    times: Tensor
    phonemes: Tensor
    counts: Tensor
    middles: Tensor
    ends: Tensor
    captions: CaptionBatch


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
            self._kept[number] = self._pronounced(text, caption(self.seed, self.split, number))
        return self._kept[number]

    def _pronounced(self, text: str, besides: Caption) -> Pronounced:
        said = pronounced(text, self.voice)
        stretch = self.voice.rate / RATE_WPM
        heard = [(phoneme_number(symbol), LEAD_S + stretch * (begin + end) / 2) for symbol, begin, end in said]
        numbers, middles = zip(*((number, middle) for number, middle in heard if number is not None), strict=True)
        return Pronounced(compose_prompt(text), numbers, middles, LEAD_S + stretch * said[-1][2], besides)


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
        middles=torch.tensor([middle for each in said for middle in each.middles]),
        ends=torch.tensor([each.end_s for each in said]),
        captions=collate_captions([each.caption for each in said], max_bytes),
    )
