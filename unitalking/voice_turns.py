"""Several voices in one clip, one after the other: who speaks when. No ComfyUI.

Source: ours, the paper has one voice for a clip.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from .config import UniTalkingConfig
from .speech_timing import LEAD_S, character_times
from .types import Turns


def speakers_at(starts_s: Sequence[float], latents: int, config: UniTalkingConfig) -> tuple[int, ...]:
    """The number of the voice that speaks at every audio latent.

    Args:
        starts_s: when each voice begins, in seconds, ascending; the first speaks from the clip's beginning on.
        latents: of the clip's sound.
        config: its rates.
    """
    latent_s = config.samples_per_latent / config.sample_rate
    middles = ((index + 0.5) * latent_s for index in range(latents))
    return tuple(max(0, sum(start <= middle for start in starts_s) - 1) for middle in middles)


def runs_of(speakers: Sequence[int] | None) -> Turns:
    """Runs of one voice: (its number, tokens); empty where one voice speaks all through."""
    return tuple((number, len(list(run))) for number, run in groupby(speakers or ()))


def start_of_words(speech: str, words: str, lasts_s: float, after: int = 0) -> tuple[float, int]:
    """When words of a speech are expected to begin, in seconds, and where they stand in it.

    Args:
        speech: all that is said.
        words: as they are written in it, whole ones.
        lasts_s: when the whole speech is expected to end.
        after: characters of the speech that belong to earlier voices.

    Returns:
        Seconds of the clip, and the place of the first character.

    Raises:
        ValueError: the speech does not say these words there.
    """
    found = re.compile(rf"(?<!\w){re.escape(words)}(?!\w)", re.IGNORECASE).search(speech, after)
    if found is None:
        raise ValueError(
            f'a voice begins with "{words}", which the speech does not say'
            + (" after the voice before it" if after else "")
            + ": write the words as they stand in speech."
        )
    place = found.start()
    times, end = character_times(speech)
    # Half of what the pauses before the words last belongs to them.
    before = max((time for time in times[:place] if time), default=LEAD_S)
    expected = (before + times[place]) / 2
    return LEAD_S + (expected - LEAD_S) * (lasts_s - LEAD_S) / max(end - LEAD_S, 1e-6), place
