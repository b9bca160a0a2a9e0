"""The clips by number: what is said, by whom, and what is heard; every number has its own random draws."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from torch import Tensor

from .. import timeline
from ..speech_timing import LEAD_S, speech_duration_s
from . import sentences, vocabulary
from .draws import between, draw
from .speech import Speech, espeak, speak, spoken_s
from .voices import RATE_WPM, Voice, voices

# The lead is drawn about the one that speech_timing expects.
LEAD_SPREAD_S = 0.05
TAIL_LIMITS_S = (0.2, 0.4)
REFERENCE_LIMITS_S = (2.0, 4.0)
SIDE_MULTIPLE = 32
WORD_SHARE_S = 0.35


@dataclass(frozen=True)
class SyntheticConfig:
    """What a set of clips is.

    Attributes:
        clips: how many there are.
        seed: of everything.
        split: "train" or "held_out": other sentences, words, voice variants and faces.
        size: side of the pictures in pixels, a multiple of 32.
        fps: frames per second.
        sample_rate: of the sound, in Hz.
        shortest_s, longest_s: bounds of a clip's length.
        vocabulary: "open" (all words that training may see), "common" (the 1,000 most usual), or, only in the
            held-out split, "unseen" (words that training never speaks).
    """

    clips: int
    seed: int = 0
    split: str = "train"
    size: int = 128
    fps: int = 24
    sample_rate: int = 16000
    shortest_s: float = 1.0
    longest_s: float = 4.1
    vocabulary: str = "open"

    def __post_init__(self) -> None:
        if self.split not in sentences.SPLITS:
            raise ValueError(f"split: got {self.split!r}, expected one of {', '.join(sentences.SPLITS)}.")
        if self.vocabulary not in vocabulary.KINDS:
            raise ValueError(f"vocabulary: got {self.vocabulary!r}, expected one of {', '.join(vocabulary.KINDS)}.")
        if self.vocabulary == "unseen" and self.split == "train":
            raise ValueError('vocabulary: "unseen" words are only spoken in the split "held_out", got "train".')
        if self.size < SIDE_MULTIPLE or self.size % SIDE_MULTIPLE:
            raise ValueError(f"size: got {self.size}, expected a positive multiple of {SIDE_MULTIPLE} pixels.")
        if self.clips < 1:
            raise ValueError(f"clips: got {self.clips}, expected at least 1.")
        if self.fps < 1 or self.sample_rate < 8000:
            raise ValueError(
                f"fps, sample_rate: got {self.fps} and {self.sample_rate}, expected at least 1 and 8000 per second."
            )
        if not 1.0 <= self.shortest_s <= self.longest_s - 0.5:
            raise ValueError(
                f"shortest_s, longest_s: got {self.shortest_s} and {self.longest_s}, expected at least 1 s, and "
                "half a second between them."
            )


@dataclass(frozen=True)
class ClipSpec:
    """What a clip will be, before anything is drawn.

    Attributes:
        index: its number.
        speech: what is said.
        voice: who says it.
        lead_s: silence before the speech.
        frames: 4n+1.
    """

    index: int
    speech: str
    voice: Voice
    lead_s: float
    frames: int

    @property
    def speaker(self) -> str:
        """The voice's id."""
        return self.voice.name


class SyntheticClips:
    """A set of clips, each made from its number alone.

    Raises:
        MissingEspeakError: espeak-ng is not installed.
    """

    def __init__(self, config: SyntheticConfig) -> None:
        espeak()
        self.config = config
        self._voices = voices(config.split)
        self._spec = lru_cache(maxsize=64)(self._made_spec)

    def __len__(self) -> int:
        return self.config.clips

    def spec(self, index: int) -> ClipSpec:
        """What clip `index` is; it speaks the sentence once, to know its length.

        Raises:
            IndexError: there is no such clip.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"clip {index}: there are {len(self)}, numbered from 0.")
        return self._spec(index)

    def speech(self, index: int) -> Speech:
        """The sound of clip `index`: as many samples as its frames last."""
        spec = self.spec(index)
        speech = speak(spec.speech, spec.voice, self.config.sample_rate, spec.lead_s)
        return speech.lasting(timeline.samples_kept(spec.frames, self.config.fps, self.config.sample_rate))

    def reference(self, index: int, number: int = 0) -> Tensor:
        """Another utterance of the voice of clip `index`, (S,); each `number` is another one."""
        config = self.config
        voice = self.spec(index).voice
        generator = draw("reference", config.seed, config.split, index, number)
        while True:
            wanted_s = between(generator, *REFERENCE_LIMITS_S)
            text = sentences.sentence(generator, "open", config.split, round(wanted_s / WORD_SHARE_S))
            if REFERENCE_LIMITS_S[0] <= spoken_s(text, voice) <= REFERENCE_LIMITS_S[1]:
                return speak(text, voice, config.sample_rate, LEAD_S).samples

    def _made_spec(self, index: int) -> ClipSpec:
        config = self.config
        generator = draw("clip", config.seed, config.split, config.vocabulary, index)
        voice = generator.choice(self._voices[generator.choice(("man", "woman"))])
        while True:
            wanted_s = between(generator, config.shortest_s, config.longest_s)
            length = max(1, round((wanted_s - 0.4) / WORD_SHARE_S))
            text = sentences.sentence(generator, config.vocabulary, config.split, length)
            lead_s = between(generator, LEAD_S - LEAD_SPREAD_S, LEAD_S + LEAD_SPREAD_S)
            tail_s = between(generator, *TAIL_LIMITS_S)
            if speech_duration_s(text) * RATE_WPM / voice.rate > 1.4 * config.longest_s:
                continue
            wanted = max(lead_s + spoken_s(text, voice) + tail_s, config.shortest_s)
            frames = timeline.frames_for(wanted, config.fps)
            if frames / config.fps <= config.longest_s:
                return ClipSpec(index, text, voice, lead_s, frames)
