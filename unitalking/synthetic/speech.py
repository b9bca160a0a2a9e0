"""One utterance as training takes it: at its rate and level, with a lead, and the times of phonemes and words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torchaudio.transforms import Resample

from .espeak import SAMPLE_RATE, Espeak, Utterance
from .voices import ACCENT, Voice

# Root mean square of the speech itself, lead and tail not counted.
LEVEL = 0.1
# What may sound on after the last phoneme (echo, release), and the fade at its end.
RELEASE_S = 0.08
FADE_S = 0.02
PAUSE = "_"


@dataclass(frozen=True)
class Speech:
    """One utterance.

    Attributes:
        samples: (S,) float32, a whole number of 1/32768 each, so that 16-bit files keep it exactly.
        sample_rate: in Hz.
        phonemes: (start in seconds, espeak's symbol without stress marks), pauses as "_"; the last one is the pause
            at the end of the speech.
        words: (start, end, word) in seconds. espeak announces some neighbours as one; they share its time by letters.
        start_s, end_s: of the speech in the samples.
    """

    samples: Tensor
    sample_rate: int
    phonemes: tuple[tuple[float, str], ...]
    words: tuple[tuple[float, float, str], ...]
    start_s: float
    end_s: float

    def lasting(self, samples: int) -> Speech:
        """The same speech in `samples` samples: silence is added or cut at the end."""
        missing = max(samples - self.samples.numel(), 0)
        return replace(self, samples=torch.nn.functional.pad(self.samples[:samples], (0, missing)))


@lru_cache(maxsize=1)
def espeak() -> Espeak:
    """The process's one espeak-ng.

    Raises:
        MissingEspeakError: it is not installed.
    """
    return Espeak()


@lru_cache(maxsize=8)
def utterance(text: str, voice: Voice) -> Utterance:
    """What a voice says, as espeak-ng gives it."""
    return espeak().speak(
        text,
        ACCENT,
        voice.variant,
        pitch=voice.pitch,
        pitch_range=voice.pitch_range,
        rate=voice.setting,
        timbre=voice.timbre,
    )


def pronounced(text: str, voice: Voice) -> tuple[tuple[str, float, float], ...]:
    """The phonemes of a text in order: espeak's symbol without stress marks, and its begin and end in seconds.

    Pauses are left out; the first phoneme begins at 0.
    """
    said = utterance(text, voice)
    start, end = _bounds(said)
    marks = [(sample, symbol) for sample, mark in said.phonemes if (symbol := _symbol(mark)) and sample >= start]
    stops = [min(sample, end) for sample, _ in marks[1:]] + [end]
    return tuple(
        (symbol, (sample - start) / SAMPLE_RATE, (stop - start) / SAMPLE_RATE)
        for (sample, symbol), stop in zip(marks, stops, strict=True)
        if symbol != PAUSE
    )


def spoken_s(text: str, voice: Voice) -> float:
    """How long a voice speaks a text, in seconds, silence before and after not counted."""
    start, end = _bounds(utterance(text, voice))
    return (end - start) / SAMPLE_RATE


def speak(text: str, voice: Voice, sample_rate: int, lead_s: float) -> Speech:
    """A text as a voice says it, after a lead of `lead_s` seconds of silence."""
    said = utterance(text, voice)
    start, end = _bounds(said)
    offset = lead_s - start / SAMPLE_RATE
    phonemes: list[tuple[float, str]] = []
    for sample, mark in said.phonemes:
        symbol = _symbol(mark)
        repeated = symbol == PAUSE and phonemes and phonemes[-1][1] == PAUSE
        if symbol and start <= sample <= end and not repeated:
            phonemes.append((sample / SAMPLE_RATE + offset, symbol))
    return Speech(
        samples=_samples(said.samples[start : end + round(RELEASE_S * SAMPLE_RATE)], end - start, sample_rate, lead_s),
        sample_rate=sample_rate,
        phonemes=tuple(phonemes),
        words=_word_times(text, said, (start, end), offset),
        start_s=lead_s,
        end_s=end / SAMPLE_RATE + offset,
    )


def _bounds(said: Utterance) -> tuple[int, int]:
    """First sample of the first phoneme, and of the pause after the last one."""
    voiced = [index for index, (_, symbol) in enumerate(said.phonemes) if _symbol(symbol) not in ("", PAUSE)]
    if not voiced:
        raise ValueError("espeak-ng said nothing: is there a word in the text?")
    after = voiced[-1] + 1
    while after < len(said.phonemes) and _symbol(said.phonemes[after][1]) != PAUSE:
        after += 1
    end = said.phonemes[after][0] if after < len(said.phonemes) else said.samples.size
    return said.phonemes[voiced[0]][0], end


def _symbol(symbol: str) -> str:
    """Without stress and other marks; every pause is "_", and "" is no sound of its own."""
    bare = symbol.lstrip("',%=").rstrip(";")
    return PAUSE if bare.startswith(PAUSE) or bare == "|" else bare


def _samples(wave: np.ndarray, speech: int, sample_rate: int, lead_s: float) -> Tensor:
    """A wave at its rate and level, with fades and the lead, in steps of 1/32768."""
    sound = torch.from_numpy(wave.astype(np.float32)) / 32768
    fade = round(FADE_S * SAMPLE_RATE)
    sound[-fade:] *= torch.linspace(1, 0, fade)
    sound = _resampler(sample_rate)(sound)
    # The level is that of the frequencies which are left.
    sound = sound * (LEVEL / sound[: round(speech * sample_rate / SAMPLE_RATE)].square().mean().sqrt())
    peak = sound.abs().max()
    sound = sound * (0.99 / peak) if peak > 0.99 else sound
    sound = torch.cat([torch.zeros(round(lead_s * sample_rate)), sound])
    return (sound * 32768).round() / 32768


@lru_cache(maxsize=4)
def _resampler(sample_rate: int) -> Resample:
    return Resample(SAMPLE_RATE, sample_rate)


def _word_times(
    text: str, said: Utterance, bounds: tuple[int, int], offset: float
) -> tuple[tuple[float, float, str], ...]:
    start, end = bounds
    pauses = [sample for sample, symbol in said.phonemes if _symbol(symbol) == PAUSE]
    found = []
    for index, (announced, first, _) in enumerate(said.words):
        next_sample, stop = said.words[index + 1][:2] if index + 1 < len(said.words) else (end, len(text))
        sample = max(announced, start)
        next_sample = min([pause for pause in pauses if sample < pause < next_sample] or [next_sample])
        names = [name for word in text[first:stop].split() if (name := word.strip(".,!?;:"))]
        clock = sample / SAMPLE_RATE + offset
        per_letter = (next_sample - sample) / SAMPLE_RATE / max(sum(map(len, names)), 1)
        for name in names:
            found.append((clock, clock + per_letter * len(name), name))
            clock += per_letter * len(name)
    return tuple(found)
