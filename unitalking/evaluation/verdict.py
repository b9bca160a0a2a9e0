"""Whether one clip is good enough, and which of several is the best.

Source: ours, the paper does not say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .table import ClipScores

NOT_JUDGED = math.nan
# Sync-C of a real talking face is about 7 to 10.
SYNC_C_OF_GOOD_CLIPS = 10.0


@dataclass(frozen=True)
class Limits:
    """What a clip has to reach.

    Attributes:
        word_error: largest share of words that are wrong.
        sync: least correlation of mouth and sound, or a tenth of Sync-C.
        speaker: least cosine with the voice that was asked for.
    """

    word_error: float = 0.25
    sync: float = 0.4
    speaker: float = 0.5


@dataclass(frozen=True)
class Verdict:
    """What was found; NaN where there was nothing to judge, or no judge.

    Attributes:
        word_error: share of words that are wrong.
        sync: correlation of mouth and sound, or a tenth of Sync-C.
        lag_s: seconds by which the mouth moves after the sound.
        speaker: cosine with the voice that was asked for.
        loudness: LUFS.
        heard: the words or phonemes that were heard.
    """

    word_error: float = NOT_JUDGED
    sync: float = NOT_JUDGED
    lag_s: float = NOT_JUDGED
    speaker: float = NOT_JUDGED
    loudness: float = NOT_JUDGED
    heard: str = ""

    @property
    def score(self) -> float:
        """The mean of words right, sync and voice, as far as they are judged: higher is better."""
        parts = [1 - self.word_error, self.sync, self.speaker]
        judged = [part for part in parts if not math.isnan(part)]
        return sum(judged) / len(judged) if judged else NOT_JUDGED

    def failures(self, limits: Limits, asked: Mapping[str, str]) -> tuple[str, ...]:
        """Why a clip does not pass, one sentence each; also where nothing at all was judged.

        Args:
            limits: what has to be reached.
            asked: attributes that had to be judged, and what to say of each where it is not: a clip passes by what
                was found in it, never by what could not be looked for.
        """
        found = [why for name, why in asked.items() if math.isnan(getattr(self, name))]
        if self.word_error > limits.word_error:
            found.append(f"{self.word_error:.0%} of the words are wrong, at most {limits.word_error:.0%}")
        if self.sync < limits.sync:
            found.append(f"lip sync is {self.sync:.2f}, at least {limits.sync:.2f}")
        if self.speaker < limits.speaker:
            found.append(f"the voice is {self.speaker:.2f} alike, at least {limits.speaker:.2f}")
        return tuple(found or ["nothing could be judged"] * math.isnan(self.score))


def verdict(scores: ClipScores) -> Verdict:
    """The verdict from the judges' scores; the paper's judges count where both were asked."""
    words = scores.words if scores.whisper is None else scores.whisper
    speaker = scores.speaker if scores.wavlm is None else scores.wavlm
    sync = scores.sync if scores.sync_c is None else scores.sync_c / SYNC_C_OF_GOOD_CLIPS
    return Verdict(
        word_error=NOT_JUDGED if words is None or not words.total else words.wrong / words.total,
        sync=NOT_JUDGED if sync is None else sync,
        lag_s=NOT_JUDGED if scores.lag is None else scores.lag / scores.fps,
        speaker=NOT_JUDGED if speaker is None else speaker,
        loudness=NOT_JUDGED if scores.loudness is None else scores.loudness,
        heard=scores.heard,
    )


def best_of(scores: Sequence[float]) -> int:
    """The place of the highest score, the first of several; what was not judged is worse than anything.

    Raises:
        ValueError: no score.
    """
    if not scores:
        raise ValueError("scores: got none, expected at least one.")
    judged = [-math.inf if math.isnan(score) else score for score in scores]
    return judged.index(max(judged))
