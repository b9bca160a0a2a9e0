"""The clips by number: what is said, by whom, and what is heard and seen; every number has its own random draws."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from .. import timeline
from ..speech_timing import LEAD_S, speech_duration_s
from . import captions, sentences, vocabulary
from .draws import between, draw, number
from .face import Face, Pose, zoomed
from .look import identity_of, look_of
from .motion import ANYBODY, Manner, drawn_manner, poses
from .speech import Speech, espeak, speak, spoken_s
from .visemes import mouth_track
from .voices import RATE_WPM, Voice, voices

# The lead is drawn about the one that speech_timing expects.
LEAD_SPREAD_S = 0.05
TAIL_LIMITS_S = (0.2, 0.4)
REFERENCE_LIMITS_S = (2.0, 4.0)
SIDE_MULTIPLE = 32
WORD_SHARE_S = 0.38
_MOUTH_BOX = (0.355, 0.560, 0.645, 0.760)


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
        vocabulary: "open" (all words that training may see), "common" (the 1,000 most usual), "few" (63 of those),
            "made_up" (words that nobody says), or, only in the held-out split, "unseen" (words that training never
            speaks). Several joined by "+": every clip's is drawn.
        timbres: share of the clips whose voice has a timbre of its own, which no other clip's has.
        manners: share of the clips whose person has a manner of their own: how far, how fast they move, how often they
            blink.
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
    timbres: float = 0.0
    manners: float = 0.0

    def __post_init__(self) -> None:
        if self.split not in sentences.SPLITS:
            raise ValueError(f"split: got {self.split!r}, expected one of {', '.join(sentences.SPLITS)}.")
        if not set(self.vocabularies) <= set(vocabulary.KINDS):
            raise ValueError(
                f"vocabulary: got {self.vocabulary!r}, expected one of {', '.join(vocabulary.KINDS)}, or several "
                'joined by "+".'
            )
        if "unseen" in self.vocabularies and self.split == "train":
            raise ValueError('vocabulary: "unseen" words are only spoken in the split "held_out", got "train".')
        if self.size < SIDE_MULTIPLE or self.size % SIDE_MULTIPLE:
            raise ValueError(f"size: got {self.size}, expected a positive multiple of {SIDE_MULTIPLE} pixels.")
        if self.clips < 1:
            raise ValueError(f"clips: got {self.clips}, expected at least 1.")
        if self.fps < 1 or self.sample_rate < 8000:
            raise ValueError(
                f"fps, sample_rate: got {self.fps} and {self.sample_rate}, expected at least 1 and 8000 per second."
            )
        for name in ("timbres", "manners"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected a share of the clips, 0 to 1.")
        if not 1.0 <= self.shortest_s <= self.longest_s - 0.5:
            raise ValueError(
                f"shortest_s, longest_s: got {self.shortest_s} and {self.longest_s}, expected at least 1 s, and "
                "half a second between them."
            )

    @property
    def vocabularies(self) -> tuple[str, ...]:
        """The kinds that `vocabulary` names."""
        return tuple(self.vocabulary.split("+"))


@dataclass(frozen=True)
class ClipSpec:
    """What a clip will be, before anything is drawn.

    Attributes:
        index: its number.
        speech: what is said.
        voice: who says it.
        lead_s: silence before the speech.
        frames: 4n+1.
        identity: who is seen; see `look.look_of`.
        scene, sound: captions of what is seen and heard.
        attributes: what `scene` says, by name.
    """

    index: int
    speech: str
    voice: Voice
    lead_s: float
    frames: int
    identity: int
    scene: str
    sound: str
    attributes: dict[str, str]

    @property
    def speaker(self) -> str:
        """The voice's id."""
        return self.voice.name


@dataclass(frozen=True)
class Clip(Speech):
    """A finished clip: its sound with the times of phonemes and words, its pictures, and what both are.

    Attributes:
        frames: (F, H, W, 3) uint8; frame k is seen at k / fps seconds.
        openness: (F,) float32, how far the mouth is open, 0 to 1.
        mouth_box: where the mouth lies in every frame, (left, top, right, bottom) pixels.
        speech, scene, sound: what is said, and captions of what is seen and heard.
        speaker: id of the voice.
        identity: who is seen.
        attributes: what `scene` says, by name.
    """

    frames: Tensor
    openness: Tensor
    mouth_box: tuple[int, int, int, int]
    speech: str
    scene: str
    sound: str
    speaker: str
    identity: int
    attributes: dict[str, str]


def mouth_box(size: int) -> tuple[int, int, int, int]:
    """Where every mouth lies in pictures of a size, however the head moves: (left, top, right, bottom) pixels."""
    return tuple(round(zoomed(place) * size) for place in _MOUTH_BOX)


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

    def clip(self, index: int) -> Clip:
        """Clip `index` with sound and pictures."""
        spec, sound = self.spec(index), self.speech(index)
        openness, width = mouth_track(sound.phonemes, np.arange(spec.frames) / self.config.fps)
        purpose = (self.config.seed, self.config.split, index)
        moves = poses(openness, width, self.config.fps, *purpose, manner=self.manner(index))
        frames = Face(look_of(spec.identity), self.config.size).frames(moves)
        return Clip(
            **vars(sound),
            frames=torch.from_numpy(frames),
            openness=torch.from_numpy(openness.astype(np.float32)),
            mouth_box=mouth_box(self.config.size),
            speech=spec.speech,
            scene=spec.scene,
            sound=spec.sound,
            speaker=spec.speaker,
            identity=spec.identity,
            attributes=spec.attributes,
        )

    def manner(self, index: int) -> Manner:
        """How the person of clip `index` moves."""
        generator = draw("manner", self.config.seed, self.config.split, index)
        return drawn_manner(generator) if generator.random() < self.config.manners else ANYBODY

    def portrait(self, index: int) -> Tensor:
        """The person of clip `index`, silent and looking ahead, (H, W, 3) uint8."""
        return torch.from_numpy(Face(look_of(self.spec(index).identity), self.config.size).frames([Pose()])[0])

    def reference(self, index: int, k: int = 0) -> Tensor:
        """Another utterance of the voice of clip `index`, (S,); each `k` is another one."""
        config = self.config
        voice = self.spec(index).voice
        generator = draw("reference", config.seed, config.split, index, k)
        while True:
            wanted_s = between(generator, *REFERENCE_LIMITS_S)
            text = sentences.sentence(generator, "open", config.split, round(wanted_s / WORD_SHARE_S))
            if REFERENCE_LIMITS_S[0] <= spoken_s(text, voice) <= REFERENCE_LIMITS_S[1]:
                return speak(text, voice, config.sample_rate, LEAD_S).samples

    def _made_spec(self, index: int) -> ClipSpec:
        config = self.config
        generator = draw("clip", config.seed, config.split, config.vocabulary, index)
        voice = self._voice(index, generator.choice(self._voices[generator.choice(("man", "woman"))]))
        kinds = config.vocabularies
        kind = generator.choice(kinds) if len(kinds) > 1 else kinds[0]
        while True:
            wanted_s = between(generator, config.shortest_s, config.longest_s)
            length = max(1, round((wanted_s - 0.4) / WORD_SHARE_S))
            text = sentences.sentence(generator, kind, config.split, length)
            lead_s = between(generator, LEAD_S - LEAD_SPREAD_S, LEAD_S + LEAD_SPREAD_S)
            tail_s = between(generator, *TAIL_LIMITS_S)
            if speech_duration_s(text) * RATE_WPM / voice.rate > 1.4 * config.longest_s:
                continue
            wanted = max(lead_s + spoken_s(text, voice) + tail_s, config.shortest_s)
            frames = timeline.frames_for(wanted, config.fps)
            if frames / config.fps <= config.longest_s:
                return self._finished(index, text, voice, lead_s, frames)

    def _voice(self, index: int, listed: Voice) -> Voice:
        """The voice of clip `index`: the listed one, or that with a timbre of its own."""
        generator = draw("timbre", self.config.seed, self.config.split, index)
        is_own = generator.random() < self.config.timbres
        return replace(listed, timbre=generator.getrandbits(32)) if is_own else listed

    def _finished(self, index: int, text: str, voice: Voice, lead_s: float, frames: int) -> ClipSpec:
        config = self.config
        purpose = (config.seed, config.split, index)
        identity = identity_of(number("identity", *purpose), config.split, voice.gender)
        said = captions.attributes(look_of(identity), *purpose)
        return ClipSpec(
            index=index,
            speech=text,
            voice=voice,
            lead_s=lead_s,
            frames=frames,
            identity=identity,
            scene=captions.scene_caption(said, *purpose),
            sound=captions.sound_caption(voice, *purpose),
            attributes=said,
        )
