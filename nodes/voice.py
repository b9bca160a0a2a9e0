"""What the VOICE socket carries: one voice, or several that speak one after the other."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..unitalking.checkpoint.codec_id import understands
from ..unitalking.voice_turns import start_of_words


@dataclass(frozen=True)
class Voice:
    """An encoded voice clip.

    Attributes:
        latents: (1, C, n), in VAE space, not normalised, at most 10 s.
        codec: which codec made them; models on the same codec share voices.
        sample_rate: of that codec, Hz.
        report: what was found in the clip, for people.
        frames: mel frames in which somebody speaks, (M, F) in fp16, as `codec.tone` keeps them; None: the voice is of a
            file from before there were any.
    """

    latents: Tensor
    codec: str
    sample_rate: int
    report: str
    frames: Tensor | None = None


@dataclass(frozen=True)
class Turn:
    """One voice of several.

    Attributes:
        voice: who speaks.
        words: the first words of the turn, as they stand in the speech; empty: it begins at `from_s`.
        from_s: when it begins, in seconds of the clip; 0 for the first one.
    """

    voice: Voice
    words: str = ""
    from_s: float = 0.0


@dataclass(frozen=True)
class VoiceTurns:
    """Several voices in one clip, one after the other; what the VOICE socket carries of Voice Turn."""

    turns: tuple[Turn, ...]

    def starts_s(self, speech: str, lasts_s: float, starts_at: float = 0.0) -> tuple[float, ...]:
        """When each voice begins, in seconds of the clip.

        Args:
            speech: all that is said.
            lasts_s: when it is expected to end, before it is put off by `starts_at`.
            starts_at: seconds of the clip that are given before this speech.

        Raises:
            ValueError: words that are not said, or voices that do not begin one after the other.
        """
        starts, place = [], 0
        for turn in self.turns:
            start = turn.from_s
            if turn.words:
                start, place = start_of_words(speech, turn.words, lasts_s, place)
                start, place = start + starts_at, place + len(turn.words)
            if starts and start <= starts[-1]:
                raise ValueError(
                    f"Text Prompt: voice {len(starts) + 1} begins at {start:.2f} s, the one before it at "
                    f"{starts[-1]:.2f} s: chain Voice Turn in the order in which they speak."
                )
            starts.append(start)
        return tuple(starts)


def turns_of(voice: Voice | VoiceTurns) -> tuple[Turn, ...]:
    """The turns of a VOICE; a single voice has one."""
    return voice.turns if isinstance(voice, VoiceTurns) else (Turn(voice),)


def single_voice(voice: Voice | VoiceTurns, node: str) -> Voice:
    """The VOICE of a node that takes one.

    Raises:
        ValueError: several voices.
    """
    if isinstance(voice, VoiceTurns):
        raise ValueError(
            f"{node}: the VOICE has {len(voice.turns)} voices, expected one: wire it without Voice Turn, which belongs "
            "between the voices and Text Prompt."
        )
    return voice


def check_voice(voice: Voice | VoiceTurns, expected: str, node: str) -> None:
    """Refuses a voice of another codec than the model's, which is `expected`.

    Raises:
        ValueError: names both codecs.
    """
    for turn in turns_of(voice):
        if not understands(turn.voice.codec, expected):
            raise ValueError(
                f"{node}: the VOICE was encoded by another audio codec (sample rate-channels-samples-digest "
                f"{turn.voice.codec}, this model has {expected}): encode the clip again with this model's audio_vae."
            )
